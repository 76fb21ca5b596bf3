"""elasticsearch://[USER:PASSWORD@]HOST[:PORT]: a node whose cluster has a master and is at least yellow.

Elasticsearch API, and OpenSearch API: Cluster health. Both open their port before they have a master, and turn away
who is not known before they have looked how they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from gatekeeper.model import Outcome, Reason, failed, ready, waiting
from gatekeeper.probes._dsn import Dsn, asked_for_tls
from gatekeeper.probes._httpserver import LOCKED, Get, HttpServer, Said
from gatekeeper.probes._options import option
from gatekeeper.values import one_of

_COLOURS = ("red", "yellow", "green")
_OK, _TIMED_OUT, _UNAUTHORIZED = 200, 408, 401
# The time for which a node looks for a master, and for a task in a queue: by itself it would take half a minute.
_HEALTH = "/_cluster/health?timeout=1s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Elasticsearch(HttpServer):
    """An Elasticsearch or OpenSearch whose cluster is at least yellow."""

    EXAMPLE: ClassVar[str] = "search=elasticsearch://elasticsearch:9200 health=yellow"
    PORTS: ClassVar[Mapping[str, int]] = {"elasticsearch": 9200, "opensearch": 9200}

    health: str | None = option(
        one_of("yellow", "green"), "colour that the cluster must have at least", unset="yellow, to who may ask"
    )

    @classmethod
    def of_dsn(cls, dsn: Dsn) -> Mapping[str, Any]:
        """Return the fields that a target gives; the index of an application's URL is its own to make."""
        return {"dsn": dsn, **asked_for_tls(dsn)}

    async def look(self, get: Get) -> Outcome:
        """Ask for the health of the cluster."""
        said = await get(_HEALTH)
        if said.status in LOCKED:
            return self._locked_out(said)
        if said.status not in (_OK, _TIMED_OUT):
            return said.outcome
        colour = said.json().get("status")
        if colour not in _COLOURS:
            return waiting(Reason.WRONG_PROTOCOL, f"{said.where} (it answers, but not as Elasticsearch does)")
        if _COLOURS.index(colour) < _COLOURS.index(self.health or "yellow"):
            return waiting(Reason.STARTING, f"{said.where} (its cluster is {colour})")
        return ready(said.where)

    def _locked_out(self, said: Said) -> Outcome:
        if not self.logs_in:
            if self.health is None:
                return ready(said.where, reason=Reason.READY_AUTH_REQUIRED)
            return failed(Reason.FORBIDDEN, f"{said.where} (it tells its health to users only)")
        if said.status == _UNAUTHORIZED:
            # As long as the index with the users is not there, the right password is refused as well.
            return waiting(Reason.FORBIDDEN, f"{said.where} (user or password is refused)")
        return waiting(Reason.FORBIDDEN, f"{said.where} (the user may not ask for its health)")
