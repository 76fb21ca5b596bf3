"""HTTP/1.1 over one stream: one request, the head of its answer, and as much of the body as is asked for.

The one home of h11, which knows the protocol; here is when to read, how much, and what a broken answer means.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import h11

from gatekeeper.model import Reason, failed, waiting
from gatekeeper.probes._connect import outcome_of
from gatekeeper.probes._miss import MissError, during
from gatekeeper.probes._stream import Fields, Manners, Stream

MOST_HEAD = 64 * 1024
_START = b"HTTP/1."
_TLS_ALERT = b"\x15\x03"


class Http1:
    """One exchange over a stream, which stays its owner's. Every failure is raised as `MissError`."""

    def __init__(self, stream: Stream) -> None:
        """Speak over a fresh stream."""
        self._stream = stream
        self._where = stream.where
        self._protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=4 * MOST_HEAD)
        self._first = b""
        self._ended = False
        self._read = 0
        self._manners = Manners()

    async def ask(self, method: str, target: bytes, fields: Fields, body: bytes) -> tuple[int, Fields]:
        """Send a request; return the status and the header of the final answer, names in lower case."""
        await self._send(h11.Request(method=method, target=target, headers=list(fields)), body)
        with during(f"waiting for an answer from {self._where}"), self._telling():
            return await self._head()

    async def more(self) -> bytes:
        """Return some more bytes of the body of the answer, or none at its end."""
        with during(f"reading the body from {self._where} ({self._read} bytes so far)"), self._telling():
            event = await self._next()
        data = bytes(event.data) if isinstance(event, h11.Data) else b""
        self._read += len(data)
        return data

    async def _send(self, start: h11.Request, body: bytes) -> None:
        protocol = self._protocol
        message = protocol.send(start) or b""
        if body:
            message += protocol.send(h11.Data(data=body)) or b""
        message += protocol.send(h11.EndOfMessage()) or b""
        try:
            with during(f"sending to {self._where}"):
                await self._stream.write(message)
        except OSError:
            # A server may answer and hang up before it has read the whole body; its answer says more than the error.
            return

    async def _head(self) -> tuple[int, Fields]:
        read = 0
        while True:
            event = self._protocol.next_event()
            if isinstance(event, h11.Response):
                return event.status_code, tuple(event.headers)
            if event is h11.NEED_DATA:
                if read >= MOST_HEAD:
                    why = f"{self._where} (header longer than {MOST_HEAD} bytes)"
                    raise MissError(waiting(Reason.UNWANTED_ANSWER, why))
                data = await self._stream.read()
                read += len(data)
                self._look_at(data)
                self._protocol.receive_data(data)
            await self._manners.step(progress=True)  # interim answers (RFC 9110, 15.2) may come by the thousand

    def _look_at(self, data: bytes) -> None:
        """Judge the bytes before the head is whole: a server of another protocol may never send one."""
        if not data:
            raise MissError(waiting(Reason.CLOSED, self._where, cheap=not self._first))
        self._first = (self._first + data)[: len(_START)]
        if self._first.startswith(_TLS_ALERT):
            raise MissError(failed(Reason.WRONG_PROTOCOL, f"{self._where} (it speaks TLS: write https://)"))
        if not _START.startswith(self._first):
            raise MissError(failed(Reason.WRONG_PROTOCOL, f"{self._where} (it answers, but not in HTTP)"))

    async def _next(self) -> object:
        while (event := self._protocol.next_event()) is h11.NEED_DATA:
            data = await self._stream.read()
            if not data and self._protocol.their_state is h11.SEND_BODY:
                self._ended = True
            self._protocol.receive_data(data)
            await self._manners.step(progress=True)
        await self._manners.step(progress=True)
        return event

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except h11.RemoteProtocolError:
            if self._ended:
                raise MissError(waiting(Reason.CLOSED, f"{self._where} (in the middle of the body)")) from None
            raise MissError(waiting(Reason.UNWANTED_ANSWER, f"{self._where} (malformed answer)")) from None
        except OSError as error:
            raise MissError(outcome_of(error, self._where)) from None
