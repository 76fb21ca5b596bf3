"""Bytes to and from the other side of one connection, over a socket that `_connect` has connected.

Knows no protocol. Asyncio's own streams are not used, because their TLS waits for the other side when it is closed,
and because what is opened here must be closed at the moment of a cancellation, not at some later turn of the loop.
"""

import asyncio
import socket
from contextlib import suppress
from typing import Protocol

MOST_AT_ONCE = 64 * 1024
_STEPS = 32

Fields = tuple[tuple[bytes, bytes], ...]


class Stream(Protocol):
    """One connection; ``where`` is its other side as a detail may show it."""

    where: str

    @property
    def protocol(self) -> str | None:
        """The protocol that was agreed on while connecting, None where nothing was."""

    async def read(self) -> bytes:
        """Return some bytes, or none at the end; lets other tasks run however fast the other side sends."""

    async def write(self, data: bytes) -> None:
        """Send all of the bytes."""

    def close(self) -> None:
        """Close the connection at once, without waiting for the other side."""


class Talk(Protocol):
    """One exchange of HTTP over a stream, which stays its owner's. Every failure is raised as `MissError`."""

    async def ask(self, method: str, target: bytes, fields: Fields, body: bytes) -> tuple[int, Fields]:
        """Send a request; return the status and the header of the final answer, names in lower case."""

    async def more(self) -> bytes:
        """Return some more bytes of the body of the answer, or none at its end."""


class Manners:
    """Lets other tasks run every so many steps, however much the other side sends; counts steps without progress."""

    def __init__(self) -> None:
        """Start without a step."""
        self.idle = 0
        self._steps = 0

    async def step(self, *, progress: bool) -> None:
        """Note that something of what was sent has been dealt with, and whether it was of use."""
        self.idle = 0 if progress else self.idle + 1
        self._steps += 1
        if self._steps % _STEPS == 0:
            await asyncio.sleep(0)


class SocketStream:
    """A connected non-blocking socket as a stream; owns the socket. Reading and writing raise `OSError`."""

    protocol: str | None = None

    def __init__(self, sock: socket.socket, where: str) -> None:
        """Take over the socket."""
        self.where = where
        self._socket = sock

    async def read(self) -> bytes:
        """Return some bytes, or none at the end."""
        data = await asyncio.get_running_loop().sock_recv(self._socket, MOST_AT_ONCE)
        # A socket that always has more to give never suspends `sock_recv`, and would starve the clock that ends us.
        await asyncio.sleep(0)
        return data

    def read_now(self) -> bytes | None:
        """Return what has come, none at the end, and None where nothing has."""
        try:
            return self._socket.recv(MOST_AT_ONCE)
        except BlockingIOError:
            return None

    async def write(self, data: bytes) -> None:
        """Send all of the bytes."""
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    def close(self, last: bytes = b"") -> None:
        """Close the socket at once; ``last`` is sent before if the socket takes it without waiting."""
        with suppress(OSError):  # not writable now, nothing to read, or no longer connected
            if last:
                self._socket.send(last)
            # Closing over unread bytes resets the connection (RFC 2525, 2.17), and a server may log that.
            self._socket.recv(MOST_AT_ONCE)
        self._socket.close()
