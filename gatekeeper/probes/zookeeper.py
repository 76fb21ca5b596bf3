"""zookeeper://HOST[:PORT]: a ZooKeeper that serves, which without a quorum it does not.

ZooKeeper Administrator's Guide, The Four Letter Words: of these, srvr is answered whatever 4lw.commands.whitelist says
(seen in 3.8), and tells of the quorum; ruok says imok without one too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from gatekeeper.model import Outcome, Reason, ready, waiting
from gatekeeper.probes._dialog import Dialog
from gatekeeper.probes._dsn import Dsn
from gatekeeper.probes._server import Server

_MOST, _LINES = 2048, 32  # bytes of a line, and lines: it says nine
_SERVES = (b"leader", b"follower", b"observer", b"standalone")


@dataclass(frozen=True, slots=True, kw_only=True)
class Zookeeper(Server):
    """A ZooKeeper that serves."""

    EXAMPLE: ClassVar[str] = "coordination=zookeeper://zookeeper:2181"
    PORTS: ClassVar[Mapping[str, int]] = {"zookeeper": 2181}

    @classmethod
    def of_dsn(cls, dsn: Dsn) -> Mapping[str, Any]:
        """Return the fields that a target gives; the path of an application's own is its own to make."""
        return Server.of_dsn.__func__(cls, dsn._replace(path=""))  # type: ignore[attr-defined,no-any-return]

    async def speak(self, dialog: Dialog, name: str) -> Outcome:
        """Ask in what mode it serves; the server hangs up when it has said so."""
        del name
        await dialog.write(b"srvr")
        said = await dialog.line(_MOST)
        if said.startswith(b"This ZooKeeper instance is not currently serving requests"):
            return waiting(Reason.STARTING, f"{dialog.where} (it has no quorum)")
        if not said.lower().startswith(b"zookeeper version:"):
            return dialog.wrong()
        for _ in range(_LINES):
            key, _, mode = (await dialog.line(_MOST)).partition(b": ")
            if key == b"Mode":
                return ready(dialog.where) if mode in _SERVES else _reads_only(dialog.where)
        return dialog.wrong()


def _reads_only(where: str) -> Outcome:
    return waiting(Reason.STARTING, f"{where} (it takes no writes)")
