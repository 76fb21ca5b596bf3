"""SIGTERM, SIGINT and SIGHUP end the wait, whatever is going on. What was measured is printed: ``pytest -s``."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from program import GATEKEEPER, PATIENCE, ended_after, notify_socket, refusing, running
from states import STATES, Way, gone, ran, resolving

PROMPT = 0.6  # seconds; 0.1 is promised, the rest is for a machine that has other things to do
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def waits(process: "subprocess.Popen[str]", event: str = "gate.waiting") -> None:
    """Wait until an event has been logged."""
    assert process.stderr
    for line in process.stderr:
        if event in line:
            return
    pytest.fail("it ended")


def ended(way: Way, folder: Path, number: signal.Signals, *words: str) -> int:
    """Send a signal to a gate that waits, and return the exit status; it must come promptly."""
    command = ("--", "touch", str(folder / "ran"))
    with running("wait", *words, *way.words, *command, program=way.program) as process:
        waits(process)
        if any(word.startswith("exec:") for word in way.words):
            end = time.monotonic() + PATIENCE
            while not (folder / "pid").exists() and time.monotonic() < end:
                time.sleep(0.01)
        took = ended_after(process, number)
    print(f"{number.name}: {took * 1000:.0f} ms")  # noqa: T201 - for who measures
    assert took < PROMPT
    assert not (folder / "ran").exists()
    return process.returncode


@pytest.mark.parametrize("state", STATES)
def test_a_signal_ends_every_state(state: str, tmp_path: Path) -> None:
    """Whatever is going on, SIGTERM ends it with 143, also where there is no deadline."""
    with STATES[state](tmp_path) as way:
        assert ended(way, tmp_path, signal.SIGTERM, "--timeout=0") == 143
    if state == "command":
        assert gone(int((tmp_path / "pid").read_text()))


@pytest.mark.root
@pytest.mark.needs("unshare", "ip")
def test_a_signal_ends_a_hanging_look_up(tmp_path: Path) -> None:
    """A thread that hangs in getaddrinfo(3) does not keep the signal, nor the process."""
    with resolving(tmp_path) as way:
        assert ended(way, tmp_path, signal.SIGTERM) == 143


@pytest.mark.parametrize("number", ENDING)
def test_whoever_listens_hears_of_the_signal(number: signal.Signals, tmp_path: Path) -> None:
    """Exit status, log, report, termination message and STATUS say that a signal ended the wait."""
    report, message = tmp_path / "report", tmp_path / "termination"
    with refusing() as port, notify_socket(tmp_path) as manager:
        words = ("wait", f"--report={report}", f"--termination-log={message}", f"db=tcp://127.0.0.1:{port}")
        with running(*words, env={"NOTIFY_SOCKET": manager.path}) as process:
            waits(process, "dependency.changed")
            process.send_signal(number)
            assert process.stderr
            last = json.loads(process.stderr.read().splitlines()[-1])
            assert process.wait(PATIENCE) == 128 + number
        said = manager.messages()
    assert (last["event"], last["cause"]) == ("gate.closed", "signal")
    told = json.loads(report.read_text())
    assert (told["gate"], told["cause"]) == ("closed", "signal")
    assert told["dependencies"][0]["reason"] == "refused"
    assert "by a signal" in message.read_text().splitlines()[0]
    assert any("by a signal" in each and "ERRNO=" in each for each in said)
    assert not any("READY=1" in each for each in said)


@pytest.mark.root
@pytest.mark.needs("unshare")
@pytest.mark.parametrize("number", ENDING)
def test_a_signal_ends_the_wait_as_process_1(number: signal.Signals) -> None:
    """As PID 1, to which the kernel gives no signal without a handler, the wait ends likewise."""
    alone = ("unshare", "--pid", "--fork", "--mount-proc", *GATEKEEPER)
    with refusing() as port, running("wait", f"tcp://127.0.0.1:{port}", program=alone) as process:
        waits(process)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        began = time.monotonic()
        os.kill(int(children[0]), number)
        assert process.wait(PATIENCE) == 128 + number
        took = time.monotonic() - began
    print(f"{number.name} as process 1: {took * 1000:.0f} ms")  # noqa: T201 - for who measures
    assert took < PROMPT


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_is_ignored_on_entry_stays_ignored(number: signal.Signals) -> None:
    """Under nohup, or in the background of a script, the wait goes on."""
    ignoring = ("env", f"--ignore-signal={number.name[3:]}", *GATEKEEPER)
    with refusing() as port, running("wait", "-v", f"tcp://127.0.0.1:{port}", program=ignoring) as process:
        waits(process)
        process.send_signal(number)
        for _ in range(5):
            waits(process, "dependency.attempted")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 143


@pytest.mark.parametrize(
    ("command", "number"),
    [("wait", signal.SIGTERM), ("wait", signal.SIGINT), ("check", signal.SIGHUP), ("plan", signal.SIGINT)],
)
def test_a_signal_ends_the_reading_of_a_plan(command: str, number: signal.Signals) -> None:
    """A plan on stdin that never ends holds no signal."""
    with running(command, "--file=-", stdin=subprocess.PIPE) as process:
        assert process.stdin
        process.stdin.write("dependencies: {}\n" * 10)
        process.stdin.flush()
        _hangs(process)
        assert ended_after(process, number) < PROMPT
        assert process.stderr
        assert process.stderr.read() == f"gatekeeper: ended by {number.name}\n"
    assert process.returncode == 128 + number


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_page_that_nobody_reads(number: signal.Signals) -> None:
    """A reader of stdout that is stuck holds no signal."""
    names = [f"file:///{'missing/' * 30}{n}" for n in range(400)]
    with running("check", *names) as process:
        _hangs(process)
        assert ended_after(process, number) < PROMPT
    assert process.returncode == 128 + number


def test_a_signal_while_it_starts_opens_nothing(tmp_path: Path) -> None:
    """At whatever moment of the start a signal comes, it ends with the status of that signal."""
    statuses = set()
    for wait in range(0, 400, 50):
        with running("wait", "--bypass=test", "tcp://a:1", "--", "touch", str(tmp_path / f"ran{wait}")) as process:
            time.sleep(wait / 1000)
            process.send_signal(signal.SIGTERM)
            statuses.add(process.wait(PATIENCE))
            assert process.returncode == 0 or not (tmp_path / f"ran{wait}").exists()
    assert statuses <= {0, 143, -signal.SIGTERM}, statuses


def test_a_second_signal_does_no_harm(tmp_path: Path) -> None:
    """An impatient user changes nothing: the first signal counts, and the report is whole."""
    report = tmp_path / "report"
    with refusing() as port, running("wait", f"--report={report}", f"tcp://127.0.0.1:{port}") as process:
        waits(process)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGINT):
            process.send_signal(number)
        assert process.wait(PATIENCE) in (143, 130, 129)  # the kernel delivers the lowest number first
    assert json.loads(report.read_text())["cause"] == "signal"


def test_the_command_gets_a_signal_that_comes_late(tmp_path: Path) -> None:
    """After the hand-over, a signal is the command's: it ends by the signal, as it would have without us."""
    with running("wait", f"file://{tmp_path}", "--", "sleep", "1000") as process:
        waits(process, "handover.exec")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) in (143, -signal.SIGTERM)
    assert not ran(process.pid)


def _hangs(process: "subprocess.Popen[str]") -> None:
    """Wait until the process has been asleep for a while: it waits for the other end of a pipe."""
    asleep, end = 0, time.monotonic() + PATIENCE
    while asleep < 10 and time.monotonic() < end:
        state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        asleep = asleep + 1 if state == "S" else 0
        time.sleep(0.02)
    assert process.poll() is None
