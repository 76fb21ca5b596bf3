"""etcd://HOST[:PORT]: an etcd whose cluster has a leader (etcd's Operations guide, Monitoring etcd: /health).

A member that has not yet found its cluster listens and answers nobody; one that has lost it says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from gatekeeper.model import Outcome, Reason, ready, waiting
from gatekeeper.probes._dsn import Dsn
from gatekeeper.probes._httpserver import Get, HttpServer
from gatekeeper.probes._server import Server

_OK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Etcd(HttpServer):
    """An etcd whose cluster has a leader."""

    EXAMPLE: ClassVar[str] = "config=etcd://etcd:2379"
    PORTS: ClassVar[Mapping[str, int]] = {"etcd": 2379}

    # No options here: there is nobody to log in as.
    password_file: str | None = None
    login: bool | None = None

    @classmethod
    def of_dsn(cls, dsn: Dsn) -> Mapping[str, Any]:
        """Return the fields that a target gives: health is told without a user."""
        return Server.of_dsn.__func__(cls, dsn)  # type: ignore[attr-defined,no-any-return]  # slots: no super() here

    async def look(self, get: Get) -> Outcome:
        """Ask for its health, which a read by quorum proves."""
        said = await get("/health")
        if said.status != _OK and not said.json():
            return said.outcome
        health = said.json().get("health")
        if health not in ("true", "false", True, False):
            return waiting(Reason.WRONG_PROTOCOL, f"{said.where} (it answers, but not as etcd does)")
        if said.status != _OK or health not in ("true", True):
            return waiting(Reason.STARTING, f"{said.where} (it has no leader, or an alarm)")
        return ready(said.where)
