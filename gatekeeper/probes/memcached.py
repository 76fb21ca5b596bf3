"""memcached://HOST[:PORT]: a memcached that answers (doc/protocol.txt).

It listens when it can serve: its start has no state of its own. Which version it is, anybody may ask in the text
protocol; one that wants a login (the first key of -Y) says so, and has started as well. One that speaks the binary
protocol alone (-B binary, and with SASL, -S) is silent until it has as much as a header of that, and then hangs up: it
is asked again in that (doc/protocol-binary.txt).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from gatekeeper.model import Outcome, Reason, ready
from gatekeeper.probes._connect import connect
from gatekeeper.probes._dialog import Dialog
from gatekeeper.probes._dsn import Place
from gatekeeper.probes._miss import MissError
from gatekeeper.probes._server import Server
from gatekeeper.probes._socketfile import connect_file
from gatekeeper.probes._stream import SocketStream
from gatekeeper.resolve import Peer

_QUESTION = b"version\r\n" * 3  # more than the 24 bytes of a header
# Magic, opcode, no key, no body; the answer says the same with a magic of its own.
_BINARY, _ANSWER, _NO_BODY = b"\x80\x0b", b"\x81\x0b", bytes(22)
_QUIT = b"\x80\x07" + _NO_BODY
_HUNG_UP = (Reason.CLOSED, Reason.RESET)
_MOST = 2048  # bytes of a line: a version, or an error
_UNAUTHENTICATED = (b"CLIENT_ERROR unauthenticated", b"ERROR unauthenticated")


@dataclass(frozen=True, slots=True, kw_only=True)
class Memcached(Server):
    """A memcached that answers."""

    EXAMPLE: ClassVar[str] = "sessions=memcached://cache"
    PORTS: ClassVar[Mapping[str, int]] = {"memcached": 11211}

    async def attempt_at(self, place: Place, peer: Peer) -> Outcome:
        """Ask at one address; may raise `MissError`."""
        try:
            return await Server.attempt_at(self, place, peer)
        except MissError as miss:
            if miss.outcome.reason not in _HUNG_UP:
                raise
            return await self._in_binary(SocketStream(await connect(peer), str(peer)), place.host, miss)

    async def attempt_at_file(self, path: str) -> Outcome:
        """Ask over a socket file; may raise `MissError`."""
        try:
            return await Server.attempt_at_file(self, path)
        except MissError as miss:
            if miss.outcome.reason not in _HUNG_UP:
                raise
            return await self._in_binary(SocketStream(connect_file(path), path), "localhost", miss)

    async def speak(self, dialog: Dialog, name: str) -> Outcome:
        """Ask which version it is."""
        del name
        dialog.at_the_end(b"quit\r\n")
        await dialog.write(_QUESTION)
        answer = await dialog.line(_MOST)
        if answer.startswith(b"VERSION "):
            return ready(dialog.where)
        if answer in _UNAUTHENTICATED:
            return ready(dialog.where, reason=Reason.READY_AUTH_REQUIRED)
        return dialog.wrong()

    async def _in_binary(self, stream: SocketStream, name: str, before: MissError) -> Outcome:
        """Ask once more, in the binary protocol, what it has hung up on; who does so again is as it was ``before``."""
        with Dialog(stream) as dialog:
            try:
                if self.wants_tls:
                    await self.secure(dialog, name)
                await dialog.write(_BINARY + _NO_BODY)
                answer = await dialog.exactly(len(_ANSWER))
            except MissError as miss:
                raise (before if miss.outcome.reason in _HUNG_UP else miss) from None
            if answer != _ANSWER:
                return dialog.wrong()
            dialog.at_the_end(_QUIT)
            return ready(dialog.where)
