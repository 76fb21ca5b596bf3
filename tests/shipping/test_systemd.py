"""The example units under a real systemd: one long wait, many things to be seen of it."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from .machine import Machine
from .podman import until

pytestmark = [pytest.mark.root, pytest.mark.needs("systemd-nspawn", "unshare", "nsenter"), pytest.mark.timeout(300)]

START_LIMIT, WAIT = 4, 6  # seconds: TimeoutStartSec, and how long the dependencies are not there
LIMIT = f"[Service]\nTimeoutStartSec={START_LIMIT}\n"
SHOP = """\
#!/bin/sh
echo "NOTIFY_SOCKET=$NOTIFY_SOCKET" >"/run/$$.environment"
exec sleep infinity
"""
# Says READY itself, a moment after its start, and notes when.
SPEAKING_SHOP = """\
#!/usr/bin/python3
import os, signal, socket, time
time.sleep(0.5)
with open("/run/said", "w") as file:
    file.write(str(time.monotonic()))
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
    sock.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
signal.pause()
"""
# Notes what it was given, says READY, pings the watchdog while it may, and says what a reload is.
TENDED_SHOP = """\
#!/usr/bin/python3
import os, signal, socket, time
def say(*lines):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(os.environ["NOTIFY_SOCKET"].replace("@", chr(0), 1))
        sock.send("\\n".join(lines).encode())
def reload(*_):
    say("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
    with open("/run/reloads", "a") as file:
        file.write("reloaded\\n")
    say("READY=1", "STATUS=reloaded")
signal.signal(signal.SIGHUP, reload)
ours = [os.environ.get(name) == str(os.getpid()) for name in ("LISTEN_PID", "WATCHDOG_PID")]
port = socket.socket(fileno=3).getsockname()[1]
with open("/run/given", "w") as file:
    file.write(f"{ours} {os.environ.get('LISTEN_FDS')} {port}")
say("READY=1", "STATUS=open for business")
while True:
    if not os.path.exists("/run/silent"):
        say("WATCHDOG=1")
    time.sleep(0.2)
"""
SERVER = """\
[Service]
Type=simple
ExecStart=/usr/bin/python3 {program}
"""
PRICES = "-m http.server --bind 127.0.0.1 --directory /srv/www 8080"
DEPENDENT = """\
[Unit]
Requires={unit}
After={unit}
[Service]
ExecStart=sleep infinity
"""
HELD = ("shop.service", "shop-all.service", "shop-notify.service", "shop-speaks.service", "shop-tended.service")


class Story(NamedTuple):
    """What was seen of the units: while they waited, and at the end."""

    machine: Machine
    waiting: dict[str, dict[str, str]]
    status: dict[str, str]
    dependents: dict[str, str]
    after: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def machine(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Return a machine with the example units as a user installs them, and a few of their kind."""
    machine = Machine(tmp_path_factory.mktemp("machine"), root)
    machine.link("/usr/local/bin/gatekeeper", Path(sys.executable).with_name("gatekeeper"))
    machine.add("/usr/local/bin/shop", SHOP, 0o755)
    machine.add("/usr/local/bin/speaking-shop", SPEAKING_SHOP, 0o755)
    machine.add("/usr/local/bin/tended-shop", TENDED_SHOP, 0o755)
    machine.add("/srv/www/healthz", "")
    machine.add("/srv/database.py", Path(__file__).with_name("database.py").read_text())
    machine.add("/etc/systemd/system/shop.socket", (root / "examples/systemd/shop.socket").read_text())
    tended = (root / "examples/systemd/shop-tended.service").read_text()
    tended = tended.replace("/usr/local/bin/shop", "/usr/local/bin/tended-shop")
    step, wrapper = ((root / "examples/systemd" / name).read_text() for name in ("shop.service", "shop-notify.service"))
    speaks = wrapper.replace("--notify=ready ", "").replace("/usr/local/bin/shop", "/usr/local/bin/speaking-shop")
    gives_up = "Environment=GATEKEEPER_TIMEOUT=700ms\nRestart=no\n"
    for name, text, limits in (
        ("shop", step, LIMIT),
        ("shop-all", step, LIMIT + "NotifyAccess=all\n"),
        ("shop-notify", wrapper, LIMIT),
        ("shop-speaks", speaks, LIMIT),
        ("shop-tended", tended, LIMIT + "WatchdogSec=5\n"),
        ("silent", wrapper.replace("--notify=ready", "--notify=off"), LIMIT + "Restart=no\n"),
        ("step-gives-up", step, LIMIT + gives_up),
        ("gives-up", wrapper, LIMIT + gives_up),
    ):
        machine.add(f"/etc/systemd/system/{name}.service", text)
        machine.add(f"/etc/systemd/system/{name}.service.d/limits.conf", limits)
        machine.add(f"/etc/systemd/system/after-{name}.service", DEPENDENT.format(unit=f"{name}.service"))
    machine.add("/etc/systemd/system/db.service", SERVER.format(program="/srv/database.py now"))
    machine.add("/etc/systemd/system/prices.service", SERVER.format(program=PRICES))
    with machine:
        yield machine


@pytest.fixture(scope="module")
def story(machine: Machine) -> Story:
    """Start the units, let them wait for longer than their start may take, then give them what they wait for."""
    after = [f"after-{unit}" for unit in HELD]
    begun = time.monotonic()
    machine.systemctl("start", "shop.socket")
    machine.systemctl("start", "--no-block", *after)
    until(lambda: all("not ready" in machine.show(unit).get("StatusText", "") for unit in HELD), "they say why")
    time.sleep(max(0.0, begun + WAIT - time.monotonic()))
    waiting = {unit: machine.show(unit) for unit in HELD}
    status = {unit: machine.systemctl("status", unit, check=False) for unit in HELD}
    dependents = {unit: machine.systemctl("is-active", f"after-{unit}", check=False) for unit in HELD}
    machine.systemctl("start", "db.service", "prices.service")
    until(lambda: machine.systemctl("is-active", *after, check=False).split() == ["active"] * len(after), "all is up")
    units = [*HELD, "db.service", "prices.service", *after]
    return Story(machine, waiting, status, dependents, {unit: machine.show(unit) for unit in units})


def seconds(properties: dict[str, str], event: str) -> float:
    """Return when something happened to a unit, on the monotonic clock."""
    return int(properties[f"{event}TimestampMonotonic"]) / 1_000_000


@pytest.mark.parametrize("unit", ["shop.service", "shop-notify.service", "shop-tended.service", "shop.socket"])
def test_systemd_finds_no_fault_in_an_example(machine: Machine, unit: str) -> None:
    """Every line of the unit is known to systemd, and every program is there."""
    assert machine.run("systemd-analyze", "verify", "--man=no", unit) == ""


@pytest.mark.parametrize("unit", HELD)
def test_the_wait_may_be_longer_than_the_start_limit(story: Story, unit: str) -> None:
    """It asks for more time, in a step before the service and as its main process."""
    assert story.waiting[unit]["ActiveState"] == "activating"
    after = story.after[unit]
    assert (after["ActiveState"], after["Result"], after["NRestarts"]) == ("active", "success", "0")
    assert after["TimeoutStartUSec"] == f"{START_LIMIT}s"
    assert seconds(after, "ActiveEnter") - seconds(after, "InactiveExit") >= WAIT


def test_without_notifications_the_start_limit_ends_the_wait(machine: Machine) -> None:
    """The same unit, told to keep quiet, is ended by systemd: it is gatekeeper's asking that makes the difference."""
    machine.systemctl("start", "silent.service", check=False)
    silent = machine.show("silent.service")
    assert (silent["ActiveState"], silent["Result"]) == ("failed", "timeout")


@pytest.mark.parametrize("unit", HELD)
def test_status_tells_what_is_missing(story: Story, unit: str) -> None:
    """While the gate is shut, `systemctl status` names each missing dependency and why."""
    assert 'Status: "2 of 2 not ready: ' in story.status[unit]
    assert "db (refused: 127.0.0.1:5432)" in story.status[unit]
    assert "prices (refused: 127.0.0.1:8080)" in story.status[unit]


def test_a_step_before_holds_the_main_process(story: Story) -> None:
    """ExecStartPre is where the wait happens; the main process starts after the dependencies."""
    assert story.waiting["shop.service"]["SubState"] == "start-pre"
    started = seconds(story.after["shop.service"], "ExecMainStart")
    assert started > seconds(story.after["prices.service"], "ExecMainStart")
    assert started > seconds(story.after["db.service"], "ExecMainStart")


def test_the_wrapper_becomes_the_main_process(story: Story) -> None:
    """The process that waited is the program in the end: same process id, no notification socket left."""
    pid = story.waiting["shop-notify.service"]["MainPID"]
    assert story.after["shop-notify.service"]["MainPID"] == pid
    until(lambda: story.machine.run("cat", f"/proc/{pid}/comm") == "sleep", "the program runs")
    assert story.machine.run("cat", f"/run/{pid}.environment") == "NOTIFY_SOCKET="


def test_ready_is_said_when_the_gate_opens(story: Story) -> None:
    """With --notify=ready the unit is active as soon as its dependencies are there, and not before."""
    ready = seconds(story.after["shop-notify.service"], "ActiveEnter")
    assert ready > seconds(story.after["prices.service"], "ExecMainStart")


def test_a_program_that_says_ready_is_believed(story: Story) -> None:
    """Without --notify=ready gatekeeper never says READY: the unit is active when the program itself said so."""
    said = float(story.machine.run("cat", "/run/said"))
    assert seconds(story.after["shop-speaks.service"], "ActiveEnter") >= said


@pytest.mark.parametrize("unit", HELD)
def test_dependents_start_after_the_gate(story: Story, unit: str) -> None:
    """What is ordered after the unit is not started while the gate is shut."""
    assert story.dependents[unit] == "inactive"
    dependent = story.after[f"after-{unit}"]
    assert seconds(dependent, "ExecMainStart") >= seconds(story.after[unit], "ActiveEnter")


def test_what_is_tended_is_given_its_sockets_and_its_watchdog(story: Story) -> None:
    """What systemd has meant for the process that it started reaches the one that gatekeeper started."""
    assert story.machine.run("cat", "/run/given") == "[True, True] 1 8000"
    assert story.after["shop-tended.service"]["StatusText"] == "open for business"


def test_a_reload_goes_through(story: Story) -> None:
    """SIGHUP reaches the shop, and that it reloads and is ready again reaches systemd."""
    story.machine.systemctl("reload", "shop-tended.service")
    until(lambda: story.machine.show("shop-tended.service")["StatusText"] == "reloaded", "it has reloaded")
    assert story.machine.run("cat", "/run/reloads") == "reloaded"
    assert story.machine.systemctl("is-active", "shop-tended.service") == "active"


def test_a_silent_shop_is_ended_by_its_watchdog(story: Story) -> None:
    """Its pings go through, and when they stop systemd ends the service."""
    unit = "shop-tended.service"
    assert story.machine.show(unit)["NRestarts"] == "0"
    story.machine.run("touch", "/run/silent")
    until(lambda: story.machine.show(unit)["Result"] == "watchdog", "the watchdog has bitten")
    story.machine.systemctl("stop", "shop.socket", unit, check=False)


@pytest.mark.parametrize("unit", ["gives-up.service", "step-gives-up.service"])
def test_a_failure_says_why(machine: Machine, unit: str) -> None:
    """When the deadline passes the unit fails with 124, ERRNO and a status that names what is missing."""
    machine.systemctl("stop", "db.service", "prices.service")
    machine.systemctl("start", unit, check=False)
    failed = machine.show(unit)
    assert (failed["ActiveState"], failed["Result"]) == ("failed", "exit-code")
    assert failed["StatusErrno"] == "110"
    assert "2 of 2 not ready: db (refused: 127.0.0.1:5432)" in failed["StatusText"]
    assert "status=124" in machine.systemctl("status", unit, check=False)
    assert machine.systemctl("is-active", f"after-{unit}", check=False) == "inactive"
