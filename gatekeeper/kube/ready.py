"""What an object of Kubernetes says of itself: whether it is up, on its way, or can never be.

Pure: is given objects as the API returns them and looks at nothing else. Where an object allows two readings, the one
that does not open a gate too early counts: nothing of what should be running is not "all of it runs".
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from gatekeeper.model import Outcome, Reason, State, failed, ready, waiting

Object = Mapping[str, Any]
_TRUE = "True"


def standing(resource: str, thing: Object) -> Outcome:
    """Return how an object stands by what its resource (``deployments.apps``) means by ready; see `TELLS`."""
    return TELLS[resource](thing)


def is_going(thing: Object) -> bool:
    """Tell whether the object is on its way out: what it says of itself holds no longer (meta/v1, ObjectMeta)."""
    return bool(_of(thing, "metadata").get("deletionTimestamp"))


def condition(thing: Object, kind: str, wanted: str = _TRUE) -> Outcome:
    """Return whether a condition of the object has the wanted status, as observed of what is declared now."""
    found = _condition(thing, kind)
    if found is None:
        return waiting(Reason.STARTING, f"has no condition {kind} yet")
    if _is_behind(thing, found):
        return waiting(Reason.STARTING, f"condition {kind} is of an earlier generation")
    if found.get("status") == wanted:
        return ready()
    return waiting(Reason.STARTING, f"condition {kind} is {_word(found.get('status'))}{_why(found)}")


def _pod(pod: Object) -> Outcome:
    phase = _of(pod, "status").get("phase")
    if phase in ("Failed", "Succeeded"):
        # Never ready again itself; but one of the same name may follow it, as those of a StatefulSet do.
        return waiting(Reason.STARTING, f"has ended ({_word(phase)})")
    return condition(pod, "Ready")


def _deployment(thing: Object) -> Outcome:
    status = _of(thing, "status")
    wanted = _number(_of(thing, "spec"), "replicas", 1)
    updated, there = _number(status, "updatedReplicas"), _number(status, "replicas")
    if (early := _early(thing, wanted)) is not None:
        return early
    if updated < wanted:
        return _progress(thing, f"{updated} of {wanted} updated")
    if there > updated:
        return _progress(thing, f"{there - updated} of an earlier generation left")
    return _available(thing, _number(status, "availableReplicas"), wanted)


def _stateful_set(thing: Object) -> Outcome:
    spec, status = _of(thing, "spec"), _of(thing, "status")
    wanted = _number(spec, "replicas", 1)
    if (early := _early(thing, wanted)) is not None:
        return early
    strategy = _of(spec, "updateStrategy")
    if strategy.get("type") != "OnDelete":
        due = wanted - _number(_of(strategy, "rollingUpdate"), "partition")
        updated = _number(status, "updatedReplicas")
        if status.get("currentRevision") == status.get("updateRevision"):
            updated = max(updated, _number(status, "currentReplicas"))
        if updated < due:
            return waiting(Reason.STARTING, f"{updated} of {due} updated")
    there = _number(status, "readyReplicas")
    if _number(spec, "minReadySeconds"):
        there = min(there, _number(status, "availableReplicas"))
    return _available(thing, there, wanted)


def _daemon_set(thing: Object) -> Outcome:
    status = _of(thing, "status")
    wanted = _number(status, "desiredNumberScheduled")
    if (behind := _unobserved(thing)) is not None:
        return behind
    if not wanted:
        return waiting(Reason.STARTING, "no node is to run it")
    updated = _number(status, "updatedNumberScheduled")
    if _of(_of(thing, "spec"), "updateStrategy").get("type") != "OnDelete" and updated < wanted:
        return waiting(Reason.STARTING, f"{updated} of {wanted} updated")
    return _available(thing, _number(status, "numberAvailable"), wanted)


def _replica_set(thing: Object) -> Outcome:
    wanted = _number(_of(thing, "spec"), "replicas", 1)
    early = _early(thing, wanted)
    return _available(thing, _number(_of(thing, "status"), "availableReplicas"), wanted) if early is None else early


def _job(job: Object) -> Outcome:
    for kind in ("Complete", "Failed"):
        found = _condition(job, kind)
        if found and found.get("status") == _TRUE:
            # Both are final (batch/v1, JobStatus): it needs no second look.
            return ready("complete") if kind == "Complete" else _job_failed(found)
    if _of(job, "spec").get("suspend"):
        return waiting(Reason.STARTING, "is suspended")
    status = _of(job, "status")
    counts = {word: _number(status, word) for word in ("active", "succeeded", "failed")}
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    return waiting(Reason.STARTING, f"is not complete{f' ({told})' if told else ''}")


def _job_failed(found: Object) -> Outcome:
    return failed(Reason.OBJECT_FAILED, f"has failed{_why(found)}")._replace(certain=True)


def _claim(claim: Object) -> Outcome:
    phase = _of(claim, "status").get("phase")
    return ready() if phase == "Bound" else waiting(Reason.STARTING, f"is {_word(phase) or 'not bound yet'}")


def _definition(definition: Object) -> Outcome:
    return condition(definition, "Established")


def _namespace(namespace: Object) -> Outcome:
    phase = _of(namespace, "status").get("phase")
    return ready() if phase == "Active" else waiting(Reason.STARTING, f"is {_word(phase) or 'not active yet'}")


def _ready_condition(thing: Object) -> Outcome:
    return condition(thing, "Ready")


def _exists(_: Object) -> Outcome:
    return ready()


TELLS: Mapping[str, Callable[[Object], Outcome]] = {
    "pods": _pod,
    "deployments.apps": _deployment,
    "statefulsets.apps": _stateful_set,
    "daemonsets.apps": _daemon_set,
    "replicasets.apps": _replica_set,
    "replicationcontrollers": _replica_set,
    "jobs.batch": _job,
    "persistentvolumeclaims": _claim,
    "customresourcedefinitions.apiextensions.k8s.io": _definition,
    "secrets": _exists,
    "configmaps": _exists,
    "namespaces": _namespace,
    "nodes": _ready_condition,
}


def has_key(thing: Object, key: str) -> bool:
    """Tell whether a Secret or a ConfigMap holds a key."""
    return any(key in _of(thing, part) for part in ("data", "binaryData"))


def all_of(outcomes: Mapping[str, Outcome], need: int | None) -> Outcome:
    """Return how several objects, by name, stand together; ``need`` is None for all of them, and one at least."""
    there = [name for name, outcome in outcomes.items() if outcome.state is State.READY]
    wanted = max(len(outcomes), 1) if need is None else need
    if len(there) >= wanted:
        return ready(f"{len(there)} of {len(outcomes)} ready")
    hopeless = [(name, each) for name, each in outcomes.items() if each.state is State.FAILED]
    if need is None and hopeless:
        name, outcome = hopeless[0]
        return outcome._replace(detail=f"{_name(name)} {outcome.detail}")
    why = next(
        (f": {_name(name)} {each.detail}" for name, each in outcomes.items() if each.state is not State.READY), ""
    )
    reason = Reason.STARTING if outcomes else Reason.NOT_FOUND
    return waiting(reason, f"{len(there)} of {wanted} ready{why}", gone=not outcomes)


def _early(thing: Object, wanted: int) -> Outcome | None:
    """Return why its numbers cannot count yet: they are of what was declared before, or nothing is to run."""
    if (behind := _unobserved(thing)) is not None:
        return behind
    return None if wanted else waiting(Reason.STARTING, "is scaled to 0")


def _unobserved(thing: Object) -> Outcome | None:
    declared, observed = (
        _number(_of(thing, "metadata"), "generation"),
        _number(_of(thing, "status"), "observedGeneration"),
    )
    return waiting(Reason.STARTING, "its controller has not seen its last change yet") if observed < declared else None


def _progress(thing: Object, detail: str) -> Outcome:
    stuck = _condition(thing, "Progressing")
    late = stuck is not None and stuck.get("reason") == "ProgressDeadlineExceeded"
    return waiting(Reason.STARTING, f"{detail}{' (ProgressDeadlineExceeded)' if late else ''}")


def _available(thing: Object, there: int, wanted: int) -> Outcome:
    return ready(f"{there} of {wanted}") if there >= wanted else _progress(thing, f"{there} of {wanted} available")


def _condition(thing: Object, kind: str) -> Object | None:
    conditions = _of(thing, "status").get("conditions")
    listed = conditions if isinstance(conditions, list) else []
    return next((each for each in listed if isinstance(each, Mapping) and each.get("type") == kind), None)


def _is_behind(thing: Object, found: Object) -> bool:
    declared = _number(_of(thing, "metadata"), "generation")
    observed = found.get("observedGeneration", _of(thing, "status").get("observedGeneration"))
    return isinstance(observed, int) and 0 < observed < declared


def _why(found: Object) -> str:
    word = _word(found.get("reason"))
    return f" ({word})" if word else ""


def _word(text: object) -> str:
    """Return a word of the API as it is; a message may hold anything, and is never shown."""
    return text if isinstance(text, str) and text.isascii() and text.isalnum() and len(text) < 64 else ""  # noqa: PLR2004 - a word


def _name(text: str) -> str:
    """Return a name as it is, where it can be one: others would break a line, or a terminal."""
    return text if re.fullmatch(r"[A-Za-z0-9._:-]{1,253}", text) else "one of an odd name"


def _of(thing: object, key: str) -> Mapping[str, Any]:
    value = thing.get(key) if isinstance(thing, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _number(thing: Object, key: str, default: int = 0) -> int:
    value = thing.get(key, default)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else default
