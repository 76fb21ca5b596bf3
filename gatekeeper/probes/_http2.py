"""HTTP/2 over one stream (RFC 9113): one request, the head of its answer, as much of the body as is wanted, trailers.

The one home of h2, which knows the protocol and is loaded only where HTTP/2 is declared. Has the face of `Http1`.
"""

import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError

from gatekeeper.model import Reason, failed, waiting
from gatekeeper.probes._connect import outcome_of
from gatekeeper.probes._miss import MissError, during
from gatekeeper.probes._stream import Fields, Manners, Stream

_ID = 1  # the first stream of a client
_SLICE = 512  # bytes that h2 is given at once: some fifty of the smallest frames
_MOST_IDLE = 10_000  # events on end that bring the answer no further
GOODBYE = bytes.fromhex("0000080700 00000000 00000000 00000000")  # GOAWAY, no error (6.8)


class Http2:
    """One exchange over a stream, which stays its owner's. Every failure is raised as `MissError`.

    ``trailers`` are the fields behind the body, once `more` has come to its end.
    """

    def __init__(self, stream: Stream, scheme: str) -> None:
        """Speak over a fresh stream; ``scheme`` is what the request says of itself."""
        self._stream = stream
        self._where = stream.where
        self._scheme = scheme
        self.trailers: Fields = ()
        self._protocol = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._events: deque[events.Event] = deque()
        self._heard = False
        self._read = 0
        self._manners = Manners()
        self._unread = memoryview(b"")

    async def ask(self, method: str, target: bytes, fields: Fields, body: bytes) -> tuple[int, Fields]:
        """Send a request; return the status and the header of the final answer, names in lower case."""
        lower = tuple((name.lower(), value) for name, value in fields)
        head = (
            (b":method", method.encode()),
            (b":scheme", self._scheme.encode()),
            (b":authority", dict(lower)[b"host"]),
            (b":path", target),
            *((name, value) for name, value in lower if name not in (b"host", b"connection")),
        )
        with self._telling():
            with during(f"sending to {self._where}"):
                await self._send(head, body)
            with during(f"waiting for an answer from {self._where}"):
                return await self._head()

    async def more(self) -> bytes:
        """Return some more bytes of the body of the answer, or none at its end."""
        with during(f"reading the body from {self._where} ({self._read} bytes so far)"), self._telling():
            while not isinstance(event := await self._next(), events.StreamEnded):
                if isinstance(event, events.TrailersReceived):
                    self.trailers = _fields(event)
                if isinstance(event, events.DataReceived):
                    self._protocol.acknowledge_received_data(event.flow_controlled_length, _ID)
                    await self._flush()
                    self._read += len(event.data)
                    if event.data:
                        return event.data
        return b""

    async def _send(self, head: Fields, body: bytes) -> None:
        self._protocol.initiate_connection()
        self._protocol.send_headers(_ID, head, end_stream=not body)
        await self._flush()
        left = memoryview(body)
        while left:
            room = min(self._protocol.local_flow_control_window(_ID), self._protocol.max_outbound_frame_size, len(left))
            if room:
                self._protocol.send_data(_ID, bytes(left[:room]), end_stream=room == len(left))
                await self._flush()
                left = left[room:]
            elif any(isinstance(event, events.ResponseReceived) for event in self._events):
                return  # answered without reading the rest
            else:
                await self._receive()

    async def _head(self) -> tuple[int, Fields]:
        while True:
            event = await self._next()
            if isinstance(event, events.ResponseReceived):
                fields = _fields(event)
                status = dict(fields)[b":status"]
                if not re.fullmatch(rb"[1-9][0-9]{2}", status):
                    message = "no status"
                    raise ProtocolError(message)
                return int(status), tuple(field for field in fields if field[0] != b":status")

    async def _next(self) -> events.Event:
        while not self._events:
            await self._receive()
        event = self._events.popleft()
        progress = isinstance(event, events.ResponseReceived) or bool(getattr(event, "data", b""))
        await self._manners.step(progress=progress)
        if self._manners.idle > _MOST_IDLE:
            why = f"{self._where} (over {_MOST_IDLE} frames, and none of them of the answer)"
            raise MissError(waiting(Reason.UNWANTED_ANSWER, why))
        if isinstance(event, events.StreamReset):
            raise MissError(waiting(Reason.RESET, f"{self._where} (the stream was reset)"))
        # Even where the goodbye leaves our stream its answer (RFC 9113, 6.8), h2 takes no more frames after it.
        if isinstance(event, events.ConnectionTerminated):
            raise MissError(waiting(Reason.CLOSED, f"{self._where} (said goodbye)"))
        return event

    async def _receive(self) -> None:
        if not self._unread:
            self._unread = memoryview(await self._stream.read())
        data, self._unread = bytes(self._unread[:_SLICE]), self._unread[_SLICE:]
        if not data:
            raise MissError(waiting(Reason.CLOSED, self._where, cheap=not self._heard))
        # The first frame of a server is SETTINGS (RFC 9113, 3.4), whose length has a zero in front.
        if not self._heard and data[0] != 0:
            raise MissError(failed(Reason.WRONG_PROTOCOL, f"{self._where} (it answers, but not in HTTP/2)"))
        self._heard = True
        self._events.extend(self._protocol.receive_data(data))
        await self._manners.step(progress=False)
        await self._flush()

    async def _flush(self) -> None:
        if data := self._protocol.data_to_send():
            await self._stream.write(data)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except ProtocolError:
            raise MissError(waiting(Reason.UNWANTED_ANSWER, f"{self._where} (malformed answer)")) from None
        except OSError as error:
            raise MissError(outcome_of(error, self._where)) from None


def _fields(event: events.ResponseReceived | events.TrailersReceived) -> Fields:
    return tuple((bytes(name), bytes(value)) for name, value in event.headers or ())
