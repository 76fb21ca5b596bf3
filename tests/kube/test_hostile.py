"""Servers and objects as they should not be: whatever is answered, no gate opens for it, hangs on it or tells of it."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kinds import badness
from kube.apiserver import ADMIN, ApiServer, api_server, wait_for
from kube.asking import pod, run

from gatekeeper.declaration import Source
from gatekeeper.declare.line import parse_line
from gatekeeper.gate import hold
from gatekeeper.model import Outcome, Plan, Reason, State
from gatekeeper.plan import make_plan
from gatekeeper.verdict import Cause, Verdict

Object = dict[str, Any]
PATIENCE = 30.0
READY = {"conditions": [{"type": "Ready", "status": "True"}], "phase": "Running"}
SECRET = "aHVudGVyMg=="


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """Give an API server that a kubeconfig in the environment leads to."""
    (tmp_path / "server").mkdir()
    with api_server(tmp_path / "server") as running:
        monkeypatch.setenv("KUBECONFIG", str(running.kubeconfig(tmp_path)))
        yield running


def planned(line: str) -> Plan:
    """Return the plan of one declaration."""
    declared = parse_line(line, "here", [], {})
    assert declared
    return make_plan([Source(dependencies=(declared,))])


def once(line: str) -> Outcome:
    """Make one attempt."""
    found: Outcome = run(planned(line).dependencies[0].alternatives[0].probe.attempt())
    return found


def held(line: str) -> Verdict:
    """Hold for one dependency to whatever end."""
    return run(hold(planned(line)), PATIENCE)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"metadata": {}},
        {"metadata": {"resourceVersion": "7"}, "items": []},
        {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"},
        {"kind": "PodList", "apiVersion": "v1", "items": []},
        {"kind": "PodList", "metadata": {}, "items": []},
        {"kind": "PodList", "apiVersion": "v1", "metadata": {}},
        {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": {}},
        {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [None]},
        {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [{"metadata": [1]}]},
        {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [{"metadata": {"name": 7}}]},
        [],
        "ok",
    ],
)
def test_what_is_no_list_is_no_empty_one(server: ApiServer, said: object) -> None:
    """A proxy that answers 200 to everything must not stand for an object that is absent."""
    server.misbehave("says", body=json.dumps(said).encode())
    for option in ("absent=ready", "absent=fail"):
        outcome = once(f"k8s://pod/db {option}")
        assert (outcome.state, outcome.reason) == (State.WAITING, Reason.UNWANTED_ANSWER)


@pytest.mark.parametrize("items", [[], [pod("one")]])
def test_a_list_without_an_end_is_none(server: ApiServer, items: list[Object]) -> None:
    """Who has the same more for ever is not asked for it for ever."""
    said = {"kind": "PodList", "apiVersion": "v1", "metadata": {"continue": "more"}, "items": items}
    server.misbehave("says", body=json.dumps(said).encode())
    outcome = once("k8s://pods?selector=a=b absent=ready")
    assert (outcome.state, outcome.reason) == (State.WAITING, Reason.UNWANTED_ANSWER)
    assert len(server.requests) == 2


def test_a_list_of_none_may_be_null(server: ApiServer) -> None:
    """An empty slice of Go is null, and a definition may call its list as it likes."""
    said = {"kind": "Pods", "apiVersion": "v1", "metadata": {"resourceVersion": ""}, "items": None}
    server.misbehave("says", body=json.dumps(said).encode())
    assert once("k8s://pod/db absent=ready").state is State.READY


@pytest.mark.parametrize(
    "said",
    [
        {"groups": 7},
        {"groups": [7, {"name": "a", "versions": 7, "preferredVersion": 7}, {"name": ["a"]}]},
        {"groups": {"a": 1}},
        {"kind": "APIGroupDiscoveryList", "items": [7, {"metadata": 7}, {"metadata": {"name": "a"}, "versions": [7]}]},
        {"kind": "APIGroupDiscoveryList", "items": {"metadata": {}}},
    ],
)
def test_odd_words_of_what_there_is_are_none(server: ApiServer, said: object) -> None:
    """What is no record of the API names no resource."""
    server.misbehave("says", body=json.dumps(said).encode(), path="/apis")
    outcome = once("k8s://anvils.a/one condition=Ready")
    assert (outcome.state, outcome.reason) == (State.WAITING, Reason.NOT_FOUND)


@pytest.mark.parametrize(
    "event",
    [
        ("MODIFIED", pod("other", status=READY)),
        ("ADDED", pod("db", status=READY) | {"metadata": {"name": "db", "namespace": "other"}}),
        ("ADDED", {"metadata": None}),
        ("ADDED", {"metadata": {"name": ["db"]}}),
        ("ADDED", [1]),
        ("BOOKMARK", {}),
        (7, {}),
        ("SURPRISE", pod("db", status=READY) | {"metadata": {"name": "db", "namespace": "default"}}),
        ("DELETED", {"metadata": {"name": "db", "namespace": "default", "uid": "of one before"}}),
    ],
)
def test_an_event_of_something_else_changes_nothing(server: ApiServer, event: tuple[Any, Any]) -> None:
    """Of another object, another namespace, another type: the gate opens with the object that is meant."""
    server.put(pod("db", status={}))
    server.misbehave("says_event", verb="watch", times=1, type=event[0], object=event[1])

    async def work() -> Verdict:
        holding = asyncio.create_task(hold(planned("k8s://pod/db")))
        await asyncio.to_thread(wait_for, lambda: server.asked("watch"))
        await asyncio.sleep(0.2)
        assert not holding.done()
        await asyncio.to_thread(server.put, pod("db", status=READY))
        return await holding

    assert run(work())


def test_an_event_too_large_to_be_read_is_learned_by_a_list(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken up where it was, the watch would tell it for ever."""
    monkeypatch.setattr("gatekeeper.kube.answers.MOST_EVENT", 100_000)
    server.put(pod("db", status={}))

    async def work() -> Verdict:
        holding = asyncio.create_task(hold(planned("k8s://pod/db")))
        await asyncio.to_thread(wait_for, lambda: server.asked("watch"))
        await asyncio.to_thread(server.put, pod("db", status=READY, data="ä" * 200_000))
        return await holding

    assert run(work())
    assert len(server.asked("list")) == 2


def test_a_redirect_is_followed_nowhere(server: ApiServer, tmp_path: Path) -> None:
    """The token is for the server that was named; where it points is nobody's business."""
    (tmp_path / "other").mkdir()
    with api_server(tmp_path / "other") as other:
        server.misbehave("redirect", to=f"{other.url}/api/v1/namespaces/default/pods")
        outcome = once("k8s://pod/db absent=ready")
        assert (outcome.state, outcome.reason) == (State.WAITING, Reason.UNWANTED_ANSWER)
        assert "status 307" in outcome.detail
        assert other.requests == []
        server.misbehave("redirect", to=f"{server.url}/elsewhere")
        once("k8s://pod/db")
    assert not server.asked("", "/elsewhere")


@pytest.mark.parametrize(
    ("trick", "options", "line"),
    [
        ("stall", {}, "k8s://pod/db"),
        ("stall", {"verb": "watch"}, "k8s://pod/db"),
        ("deaf", {"verb": "watch"}, "k8s://pod/db"),
        ("stall", {}, "k8s://service/db"),
        ("stall", {"path": "/apis"}, "k8s://anvils.acme.example/one condition=Ready"),
        ("slow", {"seconds": 600}, "k8s://pod/db"),
        ("status", {"code": 429, "retry_after": 600}, "k8s://pod/db"),
    ],
)
def test_whatever_hangs_ends_with_the_time_of_the_dependency(
    server: ApiServer, trick: str, options: dict[str, Any], line: str
) -> None:
    """And with a reason that is not 'ready'."""
    server.misbehave(trick, **options)
    began = time.monotonic()
    verdict = held(f"{line} timeout=700ms attempt_timeout=300ms")
    assert not verdict
    assert verdict.cause is Cause.TIMEOUT
    assert time.monotonic() - began < PATIENCE / 2


@pytest.mark.parametrize("manners", [badness.silent, badness.endless, badness.slow, badness.garbage, badness.hung_up])
def test_what_is_no_api_server_opens_nothing(
    tmp_path: Path, server: ApiServer, monkeypatch: pytest.MonkeyPatch, manners: badness.Manners
) -> None:
    """Whoever listens there, the wait ends in its time."""
    with badness.serving(manners) as port:
        config = server.kubeconfig(tmp_path, cluster={"server": f"https://127.0.0.1:{port}"})
        monkeypatch.setenv("KUBECONFIG", str(config))
        assert not held("k8s://pod/db absent=ready timeout=1s attempt_timeout=300ms")


@pytest.mark.parametrize("line", ["key=none", "json='$.data.password == \"x\"'", "condition=Ready", "need=2"])
def test_the_content_of_a_secret_is_nowhere(server: ApiServer, tmp_path: Path, line: str) -> None:
    """Not in the report, the log, the termination message or the table, and neither is the token."""
    about = {"name": "db", "namespace": "default", "labels": {"app": "db"}, "annotations": {"last-applied": SECRET}}
    server.put({"apiVersion": "v1", "kind": "Secret", "metadata": about, "data": {"password": SECRET, SECRET: ""}})
    target = "k8s://secrets?selector=app=db" if "need" in line else "k8s://secret/db"
    outs = [f"--report={tmp_path}/report", f"--termination-log={tmp_path}/log"]
    texts = []
    for command in (["wait", "-v", "-t", "2s", *outs], ["check", "--output=json"], ["check"]):
        done = subprocess.run(
            [sys.executable, "-m", "gatekeeper", *command, f"{target} {line}"],
            env=dict(os.environ),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode not in (0, 2, 70), done.stderr
        texts += [done.stdout, done.stderr]
    texts += [(tmp_path / "report").read_text(), (tmp_path / "log").read_text()]
    assert server.asked("list", "/secrets")
    assert all(SECRET not in text and ADMIN not in text for text in texts)


def test_names_of_others_stay_on_their_line(server: ApiServer) -> None:
    """What a server calls an object is shown only where it can be a name."""
    server.put(pod("db\nREADY=1\x1b[31m", status={}) | {"metadata": {"name": "a\nREADY=1", "labels": {"app": "db"}}})
    detail = once("k8s://pods?selector=app=db").detail
    assert detail.isprintable()
    assert "READY=1" not in detail


def test_five_thousand_pods_are_looked_at_page_by_page(server: ApiServer) -> None:
    """Labels select many: all are seen, in ten requests."""
    for number in range(5000):
        server.put(pod(f"web-{number}", status=READY) | {"metadata": {"name": f"web-{number}", "labels": {"a": "b"}}})
    outcome = once("k8s://pods?selector=a=b attempt_timeout=60s")
    assert outcome.state is State.READY
    assert "5000 of 5000" in outcome.detail
    assert len(server.asked("list")) == 10
