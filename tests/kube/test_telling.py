"""What the API server is told of our pod: by the real command, over real TLS, to one that says yes, no or nothing."""

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from kube.apiserver import ApiServer, Rule, wait_for

from gatekeeper.announce import progress
from gatekeeper.announce.pod import PodVoice
from gatekeeper.announce.sdnotify import Notifier
from gatekeeper.declaration import Source
from gatekeeper.declare.line import parse_line
from gatekeeper.gate import hold
from gatekeeper.log import Lines, Log
from gatekeeper.plan import make_plan
from gatekeeper.verdict import Verdict

TYPE = "example.com/gate-open"
ACCOUNT = "system:serviceaccount:shop:web"
STATUS = "/api/v1/namespaces/shop/pods/web-0/status"
PATCH = Rule(("patch",), ("",), ("pods/status",), "shop")
CREATE = Rule(("create",), ("",), ("events",), "shop")
GET = Rule(("get",), ("",), ("pods",), "shop")
PATIENCE = 60.0


@pytest.fixture
def environ(server: ApiServer, tmp_path: Path) -> dict[str, str]:
    """Have our pod on the server; give the variables of its container."""
    server.put({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "web-0", "namespace": "shop"}, "status": {}})
    config = server.kubeconfig(tmp_path, user={"token": "of-web"}, namespace="shop")
    return {"PATH": os.environ["PATH"], "KUBECONFIG": str(config), "POD_NAME": "web-0"}


def gatekeeper(environ: dict[str, str], *argv: str) -> "subprocess.CompletedProcess[str]":
    """Run the command to its end."""
    command = [sys.executable, "-m", "gatekeeper", *argv]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False)


def condition(server: ApiServer) -> dict[str, Any]:
    """Return the condition of our pod, or an empty one."""
    pod = server.get("Pod", "shop", "web-0") or {}
    found = [each for each in pod["status"].get("conditions", []) if each["type"] == TYPE]
    return found[0] if found else {}


def events(server: ApiServer) -> list[dict[str, Any]]:
    """Return the Events that the server was asked to make."""
    return [json.loads(each.body) for each in server.asked("create", "/namespaces/shop/events")]


def told(run: "subprocess.CompletedProcess[str]") -> list[str]:
    """Return the warnings of a run."""
    lines = [json.loads(line) for line in run.stderr.splitlines()]
    return [line.get("detail", "") for line in lines if line["level"] == "warning"]


def test_the_condition_is_true_before_the_command_starts(server: ApiServer, environ: dict[str, str]) -> None:
    """What a readiness gate refers to says why it is open, and needs one right alone."""
    server.allow(ACCOUNT, PATCH, token="of-web")
    run = gatekeeper(environ, "wait", f"--pod-condition={TYPE}", "file:///", "--", "echo", "started")
    assert (run.returncode, run.stdout, told(run)) == (0, "started\n", [])
    found = condition(server)
    assert (found["status"], found["reason"]) == ("True", "DependenciesReady")
    assert found["message"].startswith("open ")
    assert found["lastTransitionTime"].endswith("Z")
    assert [each.path for each in server.asked("patch")] == [STATUS]
    assert not events(server)


def test_a_gate_that_stays_shut_is_told_once(server: ApiServer, environ: dict[str, str], tmp_path: Path) -> None:
    """One Event by which kubectl describe finds it, and a condition that is False."""
    server.allow(ACCOUNT, PATCH, CREATE, GET, token="of-web")
    target = f"file://{tmp_path}/none"
    run = gatekeeper(environ, "wait", f"--pod-condition={TYPE}", "--event", "-t", "100ms", target)
    assert run.returncode not in (0, 70)
    assert (condition(server)["status"], condition(server)["reason"]) == ("False", "GateClosed")
    (event,) = events(server)
    pod = server.get("Pod", "shop", "web-0")
    assert pod
    about = {"apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": "web-0", "uid": pod["metadata"]["uid"]}
    assert event["involvedObject"] == about
    assert (event["type"], event["reason"], event["count"]) == ("Warning", "GateClosed", 1)
    assert "the time is up" in event["message"]
    assert len(event["message"].encode()) <= 1024


def test_the_role_of_the_page_is_enough(server: ApiServer, environ: dict[str, str]) -> None:
    """What docs/kubernetes.md gives is what both options need, and no less."""
    page = (Path(__file__).parents[2] / "docs/kubernetes.md").read_text()
    texts = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (role,) = [each for text in texts for each in yaml.safe_load_all(text) if "rules" in each]
    rules = [Rule((*r["verbs"],), (*r["apiGroups"],), (*r["resources"],), "shop") for r in role["rules"]]
    server.allow(ACCOUNT, *rules, token="of-web")
    run = gatekeeper(environ, "wait", f"--pod-condition={TYPE}", "--event", "-t", "100ms", "file:///none-at-all")
    assert (told(run), condition(server)["status"], len(events(server))) == ([], "False", 1)


def test_who_is_told_its_uid_needs_no_right_to_get_pods(server: ApiServer, environ: dict[str, str]) -> None:
    """POD_UID spares a request and a right."""
    server.allow(ACCOUNT, CREATE, token="of-web")
    run = gatekeeper(environ | {"POD_UID": "u-1"}, "wait", "--event", "-t", "100ms", "file:///none-at-all")
    assert (events(server)[0]["involvedObject"]["uid"], told(run), server.asked("get")) == ("u-1", [], [])


def test_a_missing_right_is_told_with_the_commands_that_give_it(server: ApiServer, environ: dict[str, str]) -> None:
    """The gate opens all the same, and one line says what to run, for the account that we have."""
    server.allow(ACCOUNT, token="of-web")
    run = gatekeeper(environ, "wait", f"--pod-condition={TYPE}", "file:///", "--", "echo", "started")
    assert (run.returncode, run.stdout) == (0, "started\n")
    (line,) = told(run)
    assert "kubectl create role gatekeeper-pods-status --verb=patch --resource=pods/status -n shop" in line
    assert "kubectl create rolebinding gatekeeper-pods-status --role=gatekeeper-pods-status" in line
    assert line.endswith("--serviceaccount=shop:web -n shop")
    assert "of-web" not in run.stderr


def test_a_server_that_hangs_holds_nobody_up(server: ApiServer, environ: dict[str, str]) -> None:
    """Two seconds, a line, and the command starts."""
    server.misbehave("stall")
    run = gatekeeper(environ, "wait", f"--pod-condition={TYPE}", "file:///", "--", "echo", "started")
    assert (run.returncode, run.stdout) == (0, "started\n")
    assert told(run) == [f"the condition {TYPE} was not told: the API server has not answered within 2s"]


def test_no_cluster_and_another_name_are_told_plainly(server: ApiServer, environ: dict[str, str]) -> None:
    """Neither is a fault: who has no API, and who has a host name that is no pod's, reads what would be right."""
    here = {"PATH": environ["PATH"], "HOME": "/nonexistent"}
    run = gatekeeper(here, "wait", f"--pod-condition={TYPE}", "file:///")
    assert run.returncode == 0
    assert "KUBERNETES_SERVICE_HOST is not set" in told(run)[0]
    server.allow(ACCOUNT, PATCH, token="of-web")
    run = gatekeeper(environ | {"POD_NAME": "node-7"}, "wait", f"--pod-condition={TYPE}", "file:///")
    assert run.returncode == 0
    assert "pass POD_NAME and POD_NAMESPACE" in told(run)[0]


def test_what_is_lost_behind_the_open_gate_is_told(server: ApiServer, environ: dict[str, str], tmp_path: Path) -> None:
    """With --keep-watching the condition follows, and comes back."""
    server.allow(ACCOUNT, PATCH, token="of-web")
    flag = tmp_path / "flag"
    flag.touch()
    argv = [f"--pod-condition={TYPE}", "--keep-watching", "--interval=50ms", "--max-interval=50ms", "--status=off"]
    command = [sys.executable, "-m", "gatekeeper", "run", *argv, f"flag=file://{flag}", "--", "sleep", "600"]
    with subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL) as running:
        try:
            wait_for(lambda: condition(server).get("status") == "True")
            flag.unlink()
            wait_for(lambda: condition(server).get("reason") == "DependencyLost")
            assert condition(server)["status"] == "False"
            assert "flag (" in condition(server)["message"]
            flag.touch()
            wait_for(lambda: condition(server).get("status") == "True")
        finally:
            running.terminate()


def test_a_sidecar_tells_too(server: ApiServer, environ: dict[str, str], tmp_path: Path) -> None:
    """The condition is set by whoever holds the pod, and stays when a signal ends it."""
    server.allow(ACCOUNT, PATCH, token="of-web")
    argv = [f"--pod-condition={TYPE}", "--status=off", f"--notify-socket={tmp_path}/n.sock", "file:///"]
    command = [sys.executable, "-m", "gatekeeper", "serve", *argv]
    with subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL) as running:
        try:
            wait_for(lambda: condition(server).get("status") == "True")
        finally:
            running.terminate()
    assert condition(server)["status"] == "True"


@pytest.fixture
def here(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Be in the container."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("here")
def test_a_long_hold_is_an_event(server: ApiServer, capfd: pytest.CaptureFixture[str]) -> None:
    """Its note is cut to what the API takes; without a uid to be had, a line says what describe needs."""
    server.allow(ACCOUNT, CREATE, token="of-web")
    voice = PodVoice(None, event=True, logger=Log(Lines(), json=True, colours=False))
    asyncio.run(voice.held("ä" * 2000))
    (event,) = events(server)
    assert (event["reason"], "uid" in event["involvedObject"]) == ("GateHeld", False)
    assert len(event["message"].encode()) <= 1024
    assert "pass POD_UID" in capfd.readouterr().err


@pytest.mark.usefixtures("here")
def test_who_is_held_long_is_told_of_while_the_gate_is_shut(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, with what is missing; then the gate opens as ever."""
    server.allow(ACCOUNT, CREATE, GET, token="of-web")
    monkeypatch.setattr(progress, "HELD_LONG", 0.0)
    logger = Log(Lines(), json=True, colours=False)
    voices = progress.Progress(logger, None, Notifier(None), PodVoice(None, event=True, logger=logger))
    flag = tmp_path / "flag"
    line = parse_line(f"flag=file://{flag} interval=50ms max_interval=50ms", "here", [], {})
    assert line
    plan = make_plan([Source(dependencies=(line,))])

    async def through() -> Verdict:
        holding = asyncio.ensure_future(hold(plan, voices))
        await asyncio.to_thread(wait_for, lambda: events(server))
        flag.touch()
        return await holding

    assert asyncio.run(through())
    (event,) = events(server)
    assert event["reason"] == "GateHeld"
    assert "1 of 1 not ready: flag" in event["message"]


@pytest.mark.parametrize("name", ["", "-a", "example.com/", "/x", "Example.com/x", "a/b/c", "a b", "x" * 64])
def test_what_is_no_qualified_name_is_refused(name: str, environ: dict[str, str]) -> None:
    """Before anything is probed, as every other bad value."""
    run = gatekeeper(environ, "wait", f"--pod-condition={name}", "file:///")
    assert run.returncode == 2
    assert "--pod-condition" in run.stderr


@pytest.mark.parametrize("option", [f"--pod-condition={TYPE}", "--event"])
def test_a_check_tells_nobody(option: str, environ: dict[str, str]) -> None:
    """An option that would mean nothing is an error."""
    run = gatekeeper(environ, "check", option, "file:///")
    assert run.returncode == 2
    assert "tells no API server" in run.stderr
