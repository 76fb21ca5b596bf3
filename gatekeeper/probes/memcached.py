"""memcached://HOST[:PORT]: a memcached that answers (doc/protocol.txt).

It listens when it can serve: its start has no state of its own. Which version it is, anybody may ask in the text
protocol; one that wants a login (SASL, or the first key of -Y) says so, and has started as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from gatekeeper.model import Outcome, Reason, ready
from gatekeeper.probes._dialog import Dialog
from gatekeeper.probes._server import Server

_MOST = 2048  # bytes of a line: a version, or an error
_UNAUTHENTICATED = (b"CLIENT_ERROR unauthenticated", b"ERROR unauthenticated")


@dataclass(frozen=True, slots=True, kw_only=True)
class Memcached(Server):
    """A memcached that answers."""

    EXAMPLE: ClassVar[str] = "sessions=memcached://cache"
    PORTS: ClassVar[Mapping[str, int]] = {"memcached": 11211}

    async def speak(self, dialog: Dialog, name: str) -> Outcome:
        """Ask which version it is."""
        del name
        dialog.at_the_end(b"quit\r\n")
        await dialog.write(b"version\r\n")
        answer = await dialog.line(_MOST)
        if answer.startswith(b"VERSION "):
            return ready(dialog.where)
        if answer in _UNAUTHENTICATED:
            return ready(dialog.where, reason=Reason.READY_AUTH_REQUIRED)
        return dialog.wrong()
