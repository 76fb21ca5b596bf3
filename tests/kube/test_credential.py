"""What shows who asks, over time: tokens that are replaced, plugins that hang or expire, certificates that end."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kinds.certificates import authority, leaf
from kinds.webservers import OK, answering, serving, tls_server
from kube.apiserver import ADMIN, ApiServer, wait_for
from kube.asking import PODS, listed, run, way_of

from gatekeeper.kube import credential
from gatekeeper.kube.access import in_cluster
from gatekeeper.kube.answers import ApiError
from gatekeeper.kube.client import Client
from gatekeeper.model import Reason, State
from gatekeeper.probes._miss import MissError

FOR_EVER = 1e6  # seconds of a loop whose clock is moved on
VERSION = "client.authentication.k8s.io/v1"


def plugin(folder: Path, script: str) -> dict[str, Any]:
    """Return a user of a plugin that counts its runs and then does this."""
    path = folder / "plugin"
    path.write_text(f"#!/bin/sh\necho run >> {folder}/runs\n{script}\n")
    path.chmod(0o755)
    return {"exec": {"apiVersion": VERSION, "command": "./plugin", "interactiveMode": "Never"}}


def giving(folder: Path, ends: timedelta | None = None) -> dict[str, Any]:
    """Return a user of a plugin that gives the token in a file, with an end."""
    status = {"token": "TOKEN"} | ({"expirationTimestamp": (datetime.now(UTC) + ends).isoformat()} if ends else {})
    (folder / "given").write_text(ADMIN)
    said = json.dumps({"kind": "ExecCredential", "apiVersion": VERSION, "status": status})
    return plugin(folder, f"echo '{said}' | sed s/TOKEN/$(cat {folder}/given)/")


def runs(folder: Path) -> int:
    """Return how often the plugin ran."""
    return len((folder / "runs").read_text().splitlines())


def test_a_token_is_read_again_each_minute(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a minute has passed the file is left alone; after it, the new token is shown without a refusal."""
    mounted = tmp_path / "mounted"
    way = in_cluster(server.in_cluster_files(mounted), str(mounted))
    server.users["second"] = "second"
    server.rules["second"] = server.rules["kubernetes-admin"]

    async def work() -> None:
        loop = asyncio.get_running_loop()
        client = Client(way)
        await client.list(PODS)
        (mounted / "token").write_text("second")
        running = loop.time
        for later in (0.0, 45.0, 61.0):
            monkeypatch.setattr(loop, "time", lambda later=later: running() + later)
            await client.list(PODS)

    run(work(), FOR_EVER)
    assert [each.user for each in server.requests] == ["kubernetes-admin"] * 3 + ["second"]


def test_what_expires_is_asked_for_again_before(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten seconds before its end a credential counts no more; a whole hour before, it does."""
    way = way_of(server, tmp_path, giving(tmp_path, timedelta(hours=1)))

    async def work() -> None:
        loop = asyncio.get_running_loop()
        running = loop.time
        counted = []
        for later in (0.0, 1800.0, 3580.0, 3595.0):
            monkeypatch.setattr(loop, "time", lambda later=later: running() + later)
            await Client(way).list(PODS)
            counted.append(runs(tmp_path))
        assert counted == [1, 1, 1, 2]

    run(work(), FOR_EVER)


def test_a_clock_that_is_wrong_makes_no_flood(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has expired by our clock may be good by the server's: it is used, and renewed each second at most."""
    way = way_of(server, tmp_path, giving(tmp_path, timedelta(hours=-1)))

    async def work() -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        monkeypatch.setattr(loop, "time", lambda: now)
        for _ in range(5):
            await Client(way).list(PODS)
        monkeypatch.setattr(loop, "time", lambda: now + 1.1)
        await Client(way).list(PODS)

    run(work(), FOR_EVER)
    assert runs(tmp_path) == 2


def test_a_refused_token_asks_the_plugin_once_more(server: ApiServer, tmp_path: Path) -> None:
    """Upon 401 there is one more run and one more request, and of the same token none."""
    way = way_of(server, tmp_path, giving(tmp_path))

    async def work() -> None:
        await Client(way).list(PODS)
        server.users["second"] = server.users.pop(ADMIN)
        (tmp_path / "given").write_text("second")
        await Client(way).list(PODS)
        assert (runs(tmp_path), len(server.requests)) == (2, 3)
        server.users.clear()
        with pytest.raises(ApiError) as raised:
            await Client(way).list(PODS)
        assert (raised.value.status, raised.value.outcome.state) == (401, State.WAITING)
        assert (runs(tmp_path), len(server.requests)) == (3, 4)

    run(work())


def test_many_who_are_refused_at_once_ask_once(server: ApiServer, tmp_path: Path) -> None:
    """Ten requests with a token that is no longer taken cost one run of the plugin."""
    way = way_of(server, tmp_path, giving(tmp_path))

    async def work() -> None:
        await Client(way).list(PODS)
        server.users["second"] = server.users.pop(ADMIN)
        (tmp_path / "given").write_text("second")
        await asyncio.gather(*(Client(way).list(PODS) for _ in range(10)))

    run(work())
    assert runs(tmp_path) == 2


def test_a_plugin_that_hangs_has_an_end(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is killed with all that it started, and named."""
    monkeypatch.setattr(credential, "LONGEST_RUN", 0.5)
    way = way_of(server, tmp_path, plugin(tmp_path, f"sleep 600 & echo $! > {tmp_path}/pid; wait"))
    with pytest.raises(MissError) as raised:
        listed(way)
    outcome = raised.value.outcome
    assert (outcome.state, outcome.reason) == (State.WAITING, Reason.TIMED_OUT)
    assert outcome.detail == "credential plugin plugin took over 0.5s"
    wait_for(lambda: is_gone(int((tmp_path / "pid").read_text())))


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended, be it reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize("command", ["wait", "check"])
@pytest.mark.parametrize("how", ["the time is up", "SIGTERM"])
def test_no_plugin_outlives_the_gate(server: ApiServer, tmp_path: Path, command: str, how: str) -> None:
    """However the wait ends while a plugin hangs, it ends in time and leaves no process behind."""
    path = server.kubeconfig(tmp_path, user=plugin(tmp_path, f"sleep 600 & echo $! > {tmp_path}/pid; wait"))
    limit = "2s" if how == "the time is up" else "60s"
    environ = {"KUBECONFIG": str(path), "PATH": os.environ["PATH"]}
    argv = [sys.executable, "-m", "gatekeeper", command, f"--timeout={limit}", f"--attempt-timeout={limit}"]
    with subprocess.Popen([*argv, "k8s://job/migrate"], env=environ, stderr=subprocess.PIPE, text=True) as running:
        pid = tmp_path / "pid"
        wait_for(lambda: running.poll() is not None or (pid.exists() and pid.read_text().strip()))
        if how == "SIGTERM":
            running.send_signal(signal.SIGTERM)
        began = time.monotonic()
        running.communicate(timeout=30)
        assert time.monotonic() - began < 10
    assert running.returncode not in (0, 70)
    if pid.exists():  # a machine that is too busy may not have come so far before the time was up
        wait_for(lambda: is_gone(int(pid.read_text())))


def test_an_expired_certificate_is_refused(server: ApiServer, tmp_path: Path) -> None:
    """An API server judges it after the handshake, and answers 401: another may come."""
    pair = leaf(tmp_path, server.authority, "kubernetes-admin", starts=-2, ends=-1)
    with pytest.raises(ApiError) as refused:
        listed(way_of(server, tmp_path, {"client-certificate": str(pair.cert), "client-key": str(pair.key)}))
    assert (refused.value.status, refused.value.outcome.state) == (401, State.WAITING)


@pytest.mark.parametrize(("days", "said"), [(-1, "certificate expired"), (90, "unknown ca")])
def test_what_stands_before_a_server_may_refuse_in_the_handshake(
    server: ApiServer, tmp_path: Path, days: float, said: str
) -> None:
    """Its alert is what is shown, though it comes after the client's own part of the handshake (RFC 8446, 2)."""
    (tmp_path / "other").mkdir()
    stranger = authority(tmp_path / "other")
    pair = leaf(tmp_path, server.authority if days < 0 else stranger, "me", starts=-2, ends=days)
    user = {"client-certificate": str(pair.cert), "client-key": str(pair.key)}
    front = leaf(tmp_path, server.authority, "127.0.0.1")
    context = tls_server(front.cert, front.key, ca=server.authority.cert)
    with serving(answering(OK), context=context) as proxy, pytest.raises(MissError) as raised:
        listed(way_of(server, tmp_path, user, {"server": f"https://127.0.0.1:{proxy.port}"}))
    outcome = raised.value.outcome
    assert (outcome.state, outcome.reason) == (State.WAITING, Reason.TLS_FAILED)
    assert f"the other side says: {said}" in outcome.detail


def test_a_certificate_that_is_renewed_is_shown(server: ApiServer, tmp_path: Path) -> None:
    """Its file is looked at for every connection."""
    old = leaf(tmp_path, server.authority, "kubernetes-admin", starts=-2, ends=-1)
    new = leaf(tmp_path, server.authority, "kubernetes-admin")
    way = way_of(server, tmp_path, {"client-certificate": str(old.cert), "client-key": str(old.key)})

    async def work() -> None:
        with pytest.raises(ApiError):
            await Client(way).list(PODS)
        old.cert.write_bytes(new.cert.read_bytes())
        old.key.write_bytes(new.key.read_bytes())
        await Client(way).list(PODS)

    run(work())
