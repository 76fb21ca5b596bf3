"""ssh://HOST[:PORT]: a server of SSH that has exchanged versions and begins to agree on keys (RFC 4253, 4.2 and 7.1).

Nobody logs in: whoever comes so far is ready. With a whole identification of ours, which names gatekeeper, the server
logs the one line of a connection that was closed; hanging up without one would be an error in its log.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from gatekeeper import __version__
from gatekeeper.model import Outcome, Reason, ready, waiting
from gatekeeper.probes._dialog import Dialog
from gatekeeper.probes._dsn import Dsn
from gatekeeper.probes._miss import MissError
from gatekeeper.probes._server import Server
from gatekeeper.values import BadValueError

_OURS = f"SSH-2.0-gatekeeper_{__version__.replace('-', '_')}\r\n".encode()
_VERSIONS = (b"SSH-2.0-", b"SSH-1.99-")  # the latter speaks the former as well (5.1)
_MOST, _MOST_LINES = 8192, 50  # bytes of a line, and lines that may come before the identification
_MOST_PACKET = 35_000  # bytes that every implementation takes (6.1)
_KEXINIT = 20
_FULL = b"Exceeded MaxStartups"  # OpenSSH, sshd_config(5)
_TURNED_AWAY = b"Not allowed at this time"  # OpenSSH 9.8, PerSourcePenalties


@dataclass(frozen=True, slots=True, kw_only=True)
class Ssh(Server):
    """A server of SSH that begins to agree on keys."""

    EXAMPLE: ClassVar[str] = "jump=ssh://bastion"
    PORTS: ClassVar[Mapping[str, int]] = {"ssh": 22}

    @classmethod
    def of_dsn(cls, dsn: Dsn) -> Mapping[str, Any]:
        """Take a user, who is not needed."""
        if dsn.password is not None or dsn.path or dsn.query:
            message = "takes no password, and nothing behind the port: write ssh://HOST:PORT"
            raise BadValueError(message)
        return {"dsn": dsn}

    async def speak(self, dialog: Dialog, name: str) -> Outcome:
        """Exchange versions, and look whether the server goes on."""
        del name
        await dialog.write(_OURS)
        said = 0
        try:
            while not (line := await dialog.line(_MOST)).startswith(b"SSH-"):
                if line in (_FULL, _TURNED_AWAY):
                    return _full(dialog.where) if line == _FULL else _turned_away(dialog.where)
                said += 1
                if said > _MOST_LINES:
                    return dialog.wrong()
        except MissError as miss:
            # A greeting may come before (4.2); who says one and then hangs up did not understand us.
            return dialog.wrong() if said and miss.outcome.reason in (Reason.CLOSED, Reason.RESET) else miss.outcome
        if not line.startswith(_VERSIONS):
            return dialog.wrong("it speaks another version of SSH")
        length, kind = (packet := await dialog.exactly(6))[:4], packet[5]
        if int.from_bytes(length) > _MOST_PACKET or kind != _KEXINIT:
            return dialog.wrong()
        return ready(dialog.where)


def _full(where: str) -> Outcome:
    return waiting(Reason.STARTING, f"{where} (it takes no more connections now: MaxStartups)")


def _turned_away(where: str) -> Outcome:
    return waiting(Reason.FORBIDDEN, f"{where} (it turns this address away for now: PerSourcePenalties)")
