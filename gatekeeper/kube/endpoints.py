"""Who serves behind a Service, by its EndpointSlices (discovery.k8s.io/v1).

Pure: is given slices as the API returns them. ``ready`` is not looked at: with publishNotReadyAddresses it is always
true. What serves and is not on its way out is ready in fact; a condition that is null is what the API says it means.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from gatekeeper.model import Outcome, Reason, ready, waiting

Object = Mapping[str, Any]


class Endpoints(NamedTuple):
    """Those behind a service, each by what it is (the uid of its pod, else its addresses)."""

    serving: frozenset[str]
    others: frozenset[str]
    ports: frozenset[str]  # the names of the ports of those that serve
    pods: frozenset[str]  # the names of all pods among them


def endpoints(slices: Iterable[Object], port: str | None = None) -> Endpoints:
    """Return the endpoints of a service; of a port by its name (empty for one without a name), where one is given.

    A pod of two address families stands in two slices, and counts once: it serves where it serves in one of them.
    """
    serving: set[str] = set()
    others: set[str] = set()
    ports: set[str] = set()
    pods: set[str] = set()
    for each in slices:
        names = {str(one.get("name") or "") for one in _records(each.get("ports"))}
        has_port = port is None or port in names
        for endpoint in _records(each.get("endpoints")):
            conditions = _record(endpoint.get("conditions"))
            serves = conditions.get("serving")
            if serves is None:  # an older server, or slices made by hand: it is what `ready` is, and null is true
                serves = conditions.get("ready") in (None, True)
            up = serves is True and not conditions.get("terminating") and has_port
            whose = _record(endpoint.get("targetRef"))
            who = str(whose.get("uid") or endpoint.get("addresses"))
            (serving if up else others).add(who)
            ports |= names if up else set()
            if whose.get("kind") == "Pod":
                pods.add(str(whose.get("name")))
    return Endpoints(frozenset(serving), frozenset(others - serving), frozenset(ports), frozenset(pods))


def _record(value: object) -> Object:
    return value if isinstance(value, Mapping) else {}


def _records(value: object) -> list[Object]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def standing(found: Endpoints, need: int, own_pod: str = "") -> Outcome:
    """Return how a service stands of which ``need`` endpoints must serve; ``own_pod`` is the pod that waits."""
    there = len(found.serving)
    if there >= need:
        return ready(f"{there} serving")
    detail = f"{there} of {need} serving, {len(found.others)} not ready"
    if own_pod and own_pod in found.pods:
        detail += "; it selects this very pod, which cannot become ready before the gate opens: depend on another"
    return waiting(Reason.STARTING, detail)
