"""The examples for other supervisors: run by the real one where it can run here, else read as it would be read."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .database import answer
from .podman import until

LIMIT = 60
SHOP = f'#!{sys.executable}\nimport os, signal\nopen("started", "w").write(str(os.getpid()))\nsignal.pause()\n'


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a folder with a shop, and gatekeeper beside it."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "shop").write_text(SHOP)
    (tmp_path / "bin" / "shop").chmod(0o755)
    (tmp_path / "bin" / "gatekeeper").symlink_to(Path(sys.executable).with_name("gatekeeper"))
    return tmp_path


@pytest.fixture
def database() -> Iterator[socket.socket]:
    """Return a database that does not listen yet."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


def environment(place: Path) -> dict[str, str]:
    """Return an environment in which the shop and gatekeeper are found, and what is left behind stays in the place."""
    ours = {"PATH": f"{place}/bin:{os.environ['PATH']}", "TMPDIR": str(place)}
    return {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"} | ours


def moved(text: str, database: socket.socket) -> str:
    """Return an example whose database is the one of this test."""
    assert "127.0.0.1:5432" in text
    return text.replace("127.0.0.1:5432", f"127.0.0.1:{database.getsockname()[1]}")


@pytest.mark.needs("s6-supervise", "s6-svwait", "s6-svc")
def test_an_s6_service_is_ready_when_the_gate_opens(root: Path, place: Path, database: socket.socket) -> None:
    """s6 takes the service for up while it waits, and for ready when the gate has opened; then it is the shop."""
    service = place / "shop"
    service.mkdir()
    (service / "run").write_text(moved((root / "examples/s6/shop/run").read_text(), database))
    (service / "run").chmod(0o755)
    (service / "notification-fd").write_text((root / "examples/s6/shop/notification-fd").read_text())
    with subprocess.Popen(["s6-supervise", service], env=environment(place), stderr=subprocess.PIPE, text=True) as s6:
        assert s6.stderr
        while '"refused"' not in s6.stderr.readline():
            assert s6.poll() is None
        wait = ["s6-svwait", "-t", "100", "-U", service]
        assert subprocess.run(wait, check=False, capture_output=True).returncode != 0
        assert not (service / "started").exists()
        answer(database)
        assert subprocess.run(["s6-svwait", "-t", f"{LIMIT}000", "-U", service], check=False).returncode == 0
        until((service / "started").exists, "the shop runs")
        status = subprocess.run(["s6-svstat", service], stdout=subprocess.PIPE, text=True, check=True).stdout
        assert (service / "started").read_text() in status
        subprocess.run(["s6-svc", "-xd", service], check=True)
        s6.communicate(timeout=LIMIT)


@pytest.mark.needs("supervisord", "supervisorctl")
def test_supervisord_s_program_is_the_shop(root: Path, place: Path, database: socket.socket) -> None:
    """The process that supervisord has started waits, and becomes the shop."""
    program = moved((root / "examples/supervisord/shop.conf").read_text(), database)
    config = place / "supervisord.conf"
    config.write_text(
        f"[supervisord]\nnodaemon=true\nlogfile={place}/log\npidfile={place}/pid\n"
        f"[unix_http_server]\nfile={place}/ctl\n[supervisorctl]\nserverurl=unix://{place}/ctl\n"
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
        f"{program}\nstderr_logfile={place}/shop.log\n"
    )
    with subprocess.Popen(
        ["supervisord", "-c", config], cwd=place, env=environment(place), stdout=subprocess.DEVNULL
    ) as process:
        try:
            until(lambda: (place / "shop.log").exists() and '"refused"' in (place / "shop.log").read_text(), "it waits")
            told = subprocess.run(
                ["supervisorctl", "-c", config, "pid", "shop"], stdout=subprocess.PIPE, text=True, check=True
            )
            assert not (place / "started").exists()
            answer(database)
            until(lambda: (place / "started").exists() and (place / "started").read_text(), "the shop runs")
            assert (place / "started").read_text() == told.stdout.strip()
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(LIMIT)


def planned(words: list[str]) -> subprocess.CompletedProcess[str]:
    """Return what gatekeeper makes of the arguments of a container."""
    assert words[0] == "wait"
    return subprocess.run(
        [sys.executable, "-m", "gatekeeper", "plan", *words[1:]], capture_output=True, text=True, check=False
    )


def test_the_ecs_task_waits_for_success(root: Path) -> None:
    """The gate is not essential, the shop depends on its success, and its arguments are understood."""
    task = json.loads((root / "examples/ecs/task-definition.json").read_text())
    gate, shop = task["containerDefinitions"]
    assert gate["essential"] is False
    assert shop["dependsOn"] == [{"containerName": gate["name"], "condition": "SUCCESS"}]
    assert planned(gate["command"]).returncode == 0


def test_the_nomad_task_runs_before_the_shop(root: Path) -> None:
    """The gate is a prestart task that must complete, and its arguments are understood."""
    text = (root / "examples/nomad/shop.nomad.hcl").read_text()
    assert re.search(r'hook\s+= "prestart"\s+sidecar = false', text)
    found = re.search(r"args\s+= (\[.*\])", text)
    assert found
    assert planned(json.loads(found[1])).returncode == 0
