"""influxdb://[USER:PASSWORD@]HOST[:PORT]: an InfluxDB that takes queries and writes (InfluxDB API: /health and /ping).

Versions before 1.8 know /ping alone. Both answer anybody; that a user is known, only a query tells.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from gatekeeper.model import Outcome, Reason, failed, ready, waiting
from gatekeeper.probes._dsn import Dsn, asked_for_tls
from gatekeeper.probes._httpserver import LOCKED, Get, HttpServer, Said

_GOOD = (200, 204)
_NOT_FOUND, _UNAUTHORIZED, _FORBIDDEN = 404, 401, 403


@dataclass(frozen=True, slots=True, kw_only=True)
class Influxdb(HttpServer):
    """An InfluxDB that takes queries and writes."""

    EXAMPLE: ClassVar[str] = "metrics=influxdb://influxdb:8086"
    PORTS: ClassVar[Mapping[str, int]] = {"influxdb": 8086}

    @classmethod
    def of_dsn(cls, dsn: Dsn) -> Mapping[str, Any]:
        """Return the fields that a target gives; the database of an application's URL is its own to make."""
        return {"dsn": dsn, **asked_for_tls(dsn)}

    async def look(self, get: Get) -> Outcome:
        """Ask for its health, or whether it is there, and then for a user's sake a query."""
        said = await get("/health")
        if said.status == _NOT_FOUND and _is_influxdb(said) and self.logs_in:
            return await _known(get)  # a ping would be another line in its log
        if said.status == _NOT_FOUND or (said.status in _GOOD and not _is_influxdb(said)):
            said = await get("/ping")
        if said.status in LOCKED and not self.logs_in:
            return ready(said.where, reason=Reason.READY_AUTH_REQUIRED)
        if said.status in _GOOD and not _is_influxdb(said):
            return waiting(Reason.WRONG_PROTOCOL, f"{said.where} (it answers, but not as InfluxDB does)")
        if said.status not in (*_GOOD, *LOCKED) or said.json().get("status", "pass") != "pass":
            return said.outcome
        return await _known(get) if self.logs_in else ready(said.where)


async def _known(get: Get) -> Outcome:
    said = await get("/query?q=SHOW%20DATABASES")
    if said.status == _UNAUTHORIZED:
        return failed(Reason.FORBIDDEN, f"{said.where} (user or password is refused)")._replace(certain=True)
    if said.status in (*_GOOD, _FORBIDDEN):  # who may not see databases is known all the same
        return ready(said.where)
    return said.outcome


def _is_influxdb(said: Said) -> bool:
    return "x-influxdb-version" in said.fields or said.json().get("name") == "influxdb"
