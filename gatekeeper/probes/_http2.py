"""HTTP/2 over one stream (RFC 9113): one request, the head of its answer, and as much of the body as is wanted.

The one home of h2, which knows the protocol and is loaded only where HTTP/2 is declared. Has the face of `Http1`.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError

from gatekeeper.model import Reason, failed, waiting
from gatekeeper.probes._connect import MissError, during, outcome_of
from gatekeeper.probes._message import Head, Headers, Request
from gatekeeper.probes._stream import Stream

_ID = 1  # the first stream of a client


class Http2:
    """One exchange over a stream, which stays its owner's. Every failure is raised as `MissError`."""

    def __init__(self, stream: Stream, scheme: str) -> None:
        """Speak over a fresh stream; ``scheme`` is what the request says of itself."""
        self._stream = stream
        self._where = stream.where
        self._scheme = scheme
        self._protocol = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._events: deque[events.Event] = deque()
        self._heard = False

    async def ask(self, request: Request) -> Head:
        """Send a request and return the head of the final answer."""
        with self._telling():
            with during(f"sending to {self._where}"):
                await self._send(request)
            with during(f"waiting for an answer from {self._where}"):
                return await self._head()

    async def body(self, most: int) -> bytes:
        """Return the body of the answer, or its first ``most`` bytes."""
        body = b""
        with during(lambda: f"reading the body from {self._where} ({len(body)} bytes so far)"), self._telling():
            while len(body) < most:
                event = await self._next()
                if isinstance(event, events.DataReceived):
                    body += event.data
                    self._protocol.acknowledge_received_data(event.flow_controlled_length, _ID)
                    await self._flush()
                elif isinstance(event, events.StreamEnded):
                    break
        return body[:most]

    async def _send(self, request: Request) -> None:
        self._protocol.initiate_connection()
        self._protocol.send_headers(_ID, self._fields(request), end_stream=not request.body)
        await self._flush()
        left = memoryview(request.body or b"")
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

    def _fields(self, request: Request) -> Headers:
        fields = tuple((name.lower(), value) for name, value in request.headers)
        return (
            (b":method", request.method.encode()),
            (b":scheme", self._scheme.encode()),
            (b":authority", dict(fields)[b"host"]),
            (b":path", request.target.encode()),
            *((name, value) for name, value in fields if name not in (b"host", b"connection")),
        )

    async def _head(self) -> Head:
        while True:
            event = await self._next()
            if isinstance(event, events.ResponseReceived):
                headers = tuple((bytes(name), bytes(value)) for name, value in event.headers or ())
                return Head(int(dict(headers)[b":status"]), headers)

    async def _next(self) -> events.Event:
        while not self._events:
            await self._receive()
        event = self._events.popleft()
        if isinstance(event, events.StreamReset):
            raise MissError(waiting(Reason.RESET, f"{self._where} (the stream was reset)"))
        if isinstance(event, events.ConnectionTerminated) and (event.error_code or (event.last_stream_id or 0) < _ID):
            raise MissError(waiting(Reason.CLOSED, f"{self._where} (said goodbye)"))
        return event

    async def _receive(self) -> None:
        data = await self._stream.read()
        if not data:
            raise MissError(waiting(Reason.CLOSED, self._where, cheap=not self._heard))
        # The first frame of a server is SETTINGS (RFC 9113, 3.4), whose length has a zero in front.
        if not self._heard and data[0] != 0:
            raise MissError(failed(Reason.WRONG_PROTOCOL, f"{self._where} (it answers, but not in HTTP/2)"))
        self._heard = True
        self._events.extend(self._protocol.receive_data(data))
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
