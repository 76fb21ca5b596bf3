"""A conversation with a server in its own protocol: bytes counted or up to a mark, TLS when it is due, a goodbye.

Knows no protocol. Every failure is raised as `MissError`; nothing of what the other side said is in it.
"""

import ssl
from typing import Self

from gatekeeper.model import Outcome, Reason, State, waiting
from gatekeeper.probes._connect import outcome_of
from gatekeeper.probes._miss import MissError, during
from gatekeeper.probes._stream import SocketStream, Stream
from gatekeeper.probes._tls import TlsStream, secured

MOST = 64 * 1024  # bytes of one answer, where a protocol needs no more
# How a server of TLS alone answers in plain: an alert of two bytes (RFC 8446, 5.1 and 6), in whatever version.
_ALERTS = tuple(bytes((21, 3, minor, 0, 2)) for minor in range(1, 5))
_ALERT = 7  # bytes


class Dialog:
    """One connection, owned until it is closed; ``where`` is its other side as a detail may show it."""

    def __init__(self, stream: SocketStream) -> None:
        """Take over a stream."""
        self.where = stream.where
        self._stream: SocketStream | TlsStream = stream
        self._plain: SocketStream | None = stream
        self._come = b""
        self._goodbye = b""
        self._unheard = True

    def __enter__(self) -> Self:
        """Return the dialog, to be closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()

    @property
    def stream(self) -> Stream:
        """The stream itself, which stays the dialog's, for what reads all of a protocol by its own means."""
        return self._stream

    @property
    def is_secure(self) -> bool:
        """Whether TLS is spoken by now."""
        return self._plain is None

    @property
    def is_unheard(self) -> bool:
        """Whether the other side has said nothing yet."""
        return self._unheard

    async def secure(self, context: ssl.SSLContext, name: str) -> None:
        """Speak TLS from here on; ``name`` is what the certificate must be for."""
        if self._plain is None or self._come:  # what was sent in plain before the handshake is not to be believed
            raise MissError(self.wrong("it speaks before the TLS handshake"))
        plain, self._plain = self._plain, None
        try:
            self._stream = await secured(plain, context, name)
        except MissError as miss:
            # Another may take over the port one day, here as in plain.
            raise MissError(miss.outcome._replace(state=State.WAITING)) from None

    async def write(self, data: bytes) -> None:
        """Send all of the bytes."""
        try:
            with during(f"writing to {self.where}"):
                await self._stream.write(data)
        except EOFError:
            raise MissError(self._closed()) from None
        except OSError as error:
            raise MissError(outcome_of(error, self.where)) from None

    async def exactly(self, count: int) -> bytes:
        """Return so many bytes; the caller has seen to it that the number is a sane one."""
        while len(self._come) < count:
            await self._more()
        return self._take(count)

    async def until(self, mark: bytes, most: int = MOST) -> bytes:
        """Return the bytes up to a mark and with it; who says more than ``most`` without it speaks another protocol."""
        start = 0
        while (found := self._come.find(mark, start)) < 0:
            if len(self._come) > most:
                raise MissError(self.wrong())
            start = max(len(self._come) - len(mark) + 1, 0)
            await self._more()
        if found > most:
            raise MissError(self.wrong())
        return self._take(found + len(mark))

    async def line(self, most: int = MOST) -> bytes:
        """Return a line without its end, which is LF or CR LF."""
        return (await self.until(b"\n", most)).rstrip(b"\r\n")

    async def some(self, count: int = 1) -> bytes:
        """Return so many bytes at least, and leave them to be read again: a look at how an answer begins."""
        while len(self._come) < count:
            await self._more()
        return self._come

    def at_the_end(self, goodbye: bytes) -> None:
        """Say this last, however the conversation ends, as far as the other side takes it without waiting."""
        self._goodbye = goodbye

    def close(self) -> None:
        """Close the connection at once, without waiting for the other side."""
        self._stream.close(self._goodbye)

    def wrong(self, how: str = "it answers in another protocol") -> Outcome:
        """Return what is found where something else speaks at that port, which another may take over one day."""
        return waiting(Reason.WRONG_PROTOCOL, f"{self.where} ({how})")

    def _take(self, count: int) -> bytes:
        data, self._come = self._come[:count], self._come[count:]
        return data

    async def _more(self) -> None:
        try:
            with during(f"waiting for an answer of {self.where}"):
                data = await self._stream.read()
        except OSError as error:
            raise MissError(outcome_of(error, self.where)) from None
        if not data:
            raise MissError(self._closed())
        if self._unheard and not self.is_secure and len(data) >= _ALERT and data.startswith(_ALERTS):
            raise MissError(self.wrong("it answers in TLS, which tls=yes speaks"))
        self._unheard = False
        self._come += data

    def _closed(self) -> Outcome:
        return waiting(Reason.CLOSED, self.where, cheap=True)
