"""mongodb+srv: the hosts of a MongoDB, and two of its options, from DNS (MongoDB: Initial DNS Seedlist Discovery)."""

from typing import NamedTuple

from gatekeeper.model import Reason, waiting
from gatekeeper.probes._dns import Resolver, look_up, srv_targets
from gatekeeper.probes._dsn import Place
from gatekeeper.probes._miss import MissError

_LABELS = 3  # of a name whose parent is a domain that is somebody's
_NOTHING_THERE = (Reason.NO_DATA, Reason.UNRESOLVED)


class Seeds(NamedTuple):
    """What DNS tells: hosts, and the options that a string of the application's may override."""

    places: tuple[Place, ...]
    replica_set: str | None
    source: str | None


async def seeds_of(host: str, service: str) -> Seeds:
    """Return the hosts that a name stands for, ``service`` being that of its SRV records; raises `MissError`."""
    name = host.removesuffix(".")
    targets = srv_targets(await look_up(Resolver(), f"_{service}._tcp.{name}.", ("SRV",), bool))
    if not targets:
        raise MissError(waiting(Reason.NO_DATA, f"{name} (its SRV record says: no such service)", gone=True))
    labels = name.lower().split(".")
    parent = ".".join(labels[1:] if len(labels) >= _LABELS else labels)
    if not all(target.host.removesuffix(".").lower().endswith(f".{parent}") for target in targets):
        why = f"{name} (its SRV records point out of its domain, where no driver follows)"
        raise MissError(waiting(Reason.UNWANTED_ANSWER, why))
    said = await _options(name)
    return Seeds(tuple(Place(*target) for target in targets), said.get("replicaset"), said.get("authsource"))


async def _options(name: str) -> dict[str, str]:
    try:
        records = await look_up(Resolver(), f"{name}.", ("TXT",), bool)
    except MissError as miss:
        if miss.outcome.reason in _NOTHING_THERE:
            return {}
        raise
    if len(records) > 1:
        raise MissError(waiting(Reason.UNWANTED_ANSWER, f"{name} (has several TXT records, of which one is allowed)"))
    pairs = (part.partition("=") for record in records for part in record.split("&"))
    return {key.lower(): value for key, _, value in pairs}
