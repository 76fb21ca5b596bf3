"""What each resource means by ready, on objects as the API reference has them."""

from typing import Any

import pytest

from gatekeeper.kube import parts
from gatekeeper.kube.ready import TELLS, all_of, condition, has_key, standing
from gatekeeper.model import Outcome, Reason, State, failed, ready, waiting

Object = dict[str, Any]


def of(spec: Object, status: Object, generation: int = 2) -> Object:
    """Return an object whose controller has seen its last change, unless the status says otherwise."""
    seen = {"observedGeneration": generation}
    return {"metadata": {"name": "x", "generation": generation}, "spec": spec, "status": seen | status}


def conditions(**statuses: str) -> Object:
    """Return a status with conditions."""
    return {"conditions": [{"type": kind, "status": status} for kind, status in statuses.items()]}


ROLLED = {"replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3}
SET = ROLLED | {"currentRevision": "b", "updateRevision": "b", "currentReplicas": 3}
DAEMONS = {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}
LATE = {"conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]}


CASES: list[tuple[str, Object, str | None]] = [
    ("deployments.apps", of({"replicas": 3}, ROLLED), None),
    ("deployments.apps", of({}, {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}), None),
    ("deployments.apps", of({"replicas": 3}, ROLLED | {"observedGeneration": 1}), "has not seen its last change"),
    ("deployments.apps", {"metadata": {"generation": 1}, "spec": {}}, "has not seen its last change"),
    ("deployments.apps", of({"replicas": 3}, ROLLED | {"updatedReplicas": 2}), "2 of 3 updated"),
    ("deployments.apps", of({"replicas": 3}, ROLLED | {"replicas": 4}), "1 of an earlier generation left"),
    ("deployments.apps", of({"replicas": 3}, ROLLED | {"availableReplicas": 2}), "2 of 3 available"),
    ("deployments.apps", of({"replicas": 3}, ROLLED | {"availableReplicas": 2} | LATE), "ProgressDeadlineExceeded"),
    ("deployments.apps", of({"replicas": 0}, {}), "is scaled to 0"),
    ("statefulsets.apps", of({"replicas": 3}, SET), None),
    ("statefulsets.apps", of({"replicas": 3}, SET | {"updatedReplicas": 0}), None),
    ("statefulsets.apps", of({"replicas": 3}, SET | {"readyReplicas": 2}), "2 of 3 available"),
    (
        "statefulsets.apps",
        of({"replicas": 3}, SET | {"currentRevision": "a", "updatedReplicas": 1}),
        "1 of 3 updated",
    ),
    (
        "statefulsets.apps",
        of(
            {"replicas": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}},
            SET | {"currentRevision": "a", "updatedReplicas": 1},
        ),
        None,
    ),
    (
        "statefulsets.apps",
        of({"replicas": 3, "updateStrategy": {"type": "OnDelete"}}, SET | {"currentRevision": "a"}),
        None,
    ),
    (
        "statefulsets.apps",
        of({"replicas": 3, "minReadySeconds": 9}, SET | {"availableReplicas": 1}),
        "1 of 3 available",
    ),
    ("statefulsets.apps", of({"replicas": 3}, SET | {"observedGeneration": 1}), "has not seen its last change"),
    ("statefulsets.apps", of({"replicas": 0}, {}), "is scaled to 0"),
    ("daemonsets.apps", of({}, DAEMONS), None),
    ("daemonsets.apps", of({}, DAEMONS | {"updatedNumberScheduled": 1}), "1 of 2 updated"),
    ("daemonsets.apps", of({}, DAEMONS | {"numberAvailable": 1}), "1 of 2 available"),
    ("daemonsets.apps", of({}, DAEMONS | {"observedGeneration": 1}), "has not seen its last change"),
    ("daemonsets.apps", of({}, {}), "no node is to run it"),
    (
        "daemonsets.apps",
        of({"updateStrategy": {"type": "OnDelete"}}, DAEMONS | {"updatedNumberScheduled": 0}),
        None,
    ),
    ("replicasets.apps", of({"replicas": 2}, {"availableReplicas": 2}), None),
    ("replicasets.apps", of({"replicas": 2}, {"availableReplicas": 1}), "1 of 2 available"),
    ("replicationcontrollers", of({"replicas": 0}, {}), "is scaled to 0"),
    ("jobs.batch", of({"suspend": True}, {}), "is suspended"),
    ("jobs.batch", of({}, {"active": 1, "failed": 2}), "is not complete (1 active, 2 failed)"),
    ("jobs.batch", of({}, conditions(FailureTarget="True")), "is not complete"),
    ("jobs.batch", of({}, conditions(Complete="False")), "is not complete"),
    ("pods", of({}, {"phase": "Failed"} | conditions(Ready="False")), "has ended (Failed)"),
    ("pods", of({}, {"phase": "Pending"}), "has no condition Ready yet"),
    ("persistentvolumeclaims", of({}, {"phase": "Bound"}), None),
    ("persistentvolumeclaims", of({}, {"phase": "Pending"}), "is Pending"),
    ("persistentvolumeclaims", of({}, {}), "is not bound yet"),
    ("customresourcedefinitions.apiextensions.k8s.io", of({}, conditions(Established="True")), None),
    ("customresourcedefinitions.apiextensions.k8s.io", of({}, conditions(Established="False")), "is False"),
    ("namespaces", of({}, {"phase": "Active"}), None),
    ("namespaces", of({}, {"phase": "Terminating"}), "is Terminating"),
    ("nodes", of({}, conditions(Ready="True")), None),
    ("nodes", of({}, conditions(Ready="Unknown")), "is Unknown"),
]


@pytest.mark.parametrize(("resource", "thing", "detail"), CASES)
def test_a_resource_is_ready_when_all_of_it_is_up(resource: str, thing: Object, detail: str | None) -> None:
    """What is on its way, of an earlier generation or of nothing at all is not ready, and says why."""
    outcome = standing(resource, thing)
    assert (outcome.state is State.READY) is (detail is None), outcome
    if detail:
        assert detail in outcome.detail
        assert outcome.reason is Reason.STARTING


def test_no_message_of_an_object_is_shown() -> None:
    """A reason is a word, and only a word is shown: a controller may write anything."""
    thing = of({}, {"conditions": [{"type": "Ready", "status": "False", "reason": "a secret\nREADY=1"}]})
    assert condition(thing, "Ready").detail == "condition Ready is False"


def test_a_condition_of_an_earlier_generation_does_not_count() -> None:
    """What was true of the object before its last change may not be any more."""
    thing = of({}, conditions(Ready="True"))
    thing["status"]["observedGeneration"] = 1
    assert condition(thing, "Ready").state is State.WAITING
    thing["status"]["conditions"][0]["observedGeneration"] = 2
    assert condition(thing, "Ready").state is State.READY


def test_a_key_may_be_binary() -> None:
    """A ConfigMap keeps what is no text apart."""
    assert has_key({"binaryData": {"a": ""}}, "a")
    assert not has_key({"data": None}, "a")


@pytest.mark.parametrize(
    ("outcomes", "need", "state"),
    [
        ({}, None, State.WAITING),
        ({}, 1, State.WAITING),
        ({"a": ready()}, None, State.READY),
        ({"a": ready(), "b": waiting(Reason.STARTING)}, None, State.WAITING),
        ({"a": ready(), "b": waiting(Reason.STARTING)}, 1, State.READY),
        ({"a": ready(), "b": failed(Reason.OBJECT_FAILED)}, None, State.FAILED),
        ({"a": ready(), "b": failed(Reason.OBJECT_FAILED)}, 2, State.WAITING),
    ],
)
def test_several_stand_together(outcomes: dict[str, Outcome], need: int | None, state: State) -> None:
    """All of them, and one at least; or as many as are needed, which others may still come for."""
    assert all_of(outcomes, need).state is state


ODD: list[object] = [
    None,
    [],
    {},
    "",
    "x",
    7,
    -1,
    1e400,
    True,
    [None, 7, "x", [], {}],
    {"type": None},
    [{"type": ["x"]}],
]
KEYS = ("metadata", "spec", "status")
FIELDS = ("conditions", "replicas", "observedGeneration", "updateStrategy", "phase", "suspend", "generation")


@pytest.mark.parametrize("resource", TELLS)
def test_an_odd_object_is_neither_ready_for_it_nor_a_fault(resource: str) -> None:
    """Whatever stands where something else should is looked at as if nothing stood there."""
    empty = standing(resource, {"metadata": {"name": "x"}}).state
    for odd in ODD:
        for key in KEYS:
            assert standing(resource, {"metadata": {"name": "x"}, key: odd}).state is empty
            for field in FIELDS:
                outcome = standing(resource, {"metadata": {"name": "x"}, key: {field: odd}})
                assert outcome.state is empty, (key, field, odd)
                assert outcome.detail.isprintable()


@pytest.mark.parametrize(("resource", "thing"), [case[:2] for case in CASES])
def test_what_is_kept_of_many_stands_as_the_whole(resource: str, thing: Object) -> None:
    """Templates, containers and content tell nothing of how an object stands."""
    thing = {**thing, "metadata": {"name": "x", "managedFields": [1], **thing["metadata"]}}
    kept = parts.standing({**thing, "spec": {**thing["spec"], "template": {"spec": {"containers": [1]}}}})
    assert standing(resource, kept) == standing(resource, thing)
    assert "template" not in kept["spec"]
    assert "managedFields" not in kept["metadata"]
