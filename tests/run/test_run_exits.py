"""Exit statuses of `gatekeeper run` beside those of tini and dumb-init, and those of what cannot be executed."""

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from gate.program import events
from run.tended import INITS, PYTHON, RUN, init, run, tending

from gatekeeper.handover.family import exit_status

CATCHABLE = (signal.SIGHUP, signal.SIGTERM, signal.SIGSEGV, signal.SIGKILL, signal.SIGPIPE, signal.SIGRTMIN + 3)


# The borders, and those that mean something to us, to a shell or to sysexits.h.
STATUSES = (0, 1, 2, 63, 64, 69, 70, 78, 79, 123, 124, 125, 126, 127, 128, 129, 130, 137, 143, 192, 254, 255)


@pytest.mark.needs("tini", "dumb-init")
@pytest.mark.parametrize("name", INITS)
def test_an_exit_status_passes_through(name: str) -> None:
    """What the command exits with is what the supervisor exits with, as with tini and dumb-init."""

    def ended(status: int) -> int:
        return run(*INITS[name], "sh", "-c", f"exit {status}").returncode

    with ThreadPoolExecutor(os.cpu_count()) as several:
        assert list(several.map(ended, STATUSES)) == list(STATUSES)


def test_every_exit_status_is_passed_on() -> None:
    """Every status from 0 to 255 is itself, from real ends of processes."""
    for status in range(256):
        pid = os.posix_spawn("/bin/sh", ["sh", "-c", f"exit {status}"], {})
        assert exit_status(os.waitpid(pid, 0)[1]) == status


@pytest.mark.needs("tini", "dumb-init")
@pytest.mark.parametrize("number", CATCHABLE)
@pytest.mark.parametrize("name", INITS)
def test_death_by_a_signal_is_128_and_its_number(name: str, number: int) -> None:
    """A command that dies of signal n makes 128+n, as with tini and dumb-init."""
    killed = "import os, resource, signal; resource.setrlimit(resource.RLIMIT_CORE, (0, 0));"
    killed += f"signal.signal({number}, 0) if {number} != 9 else 0; os.kill(os.getpid(), {number})"
    assert run(*INITS[name], *PYTHON, killed).returncode == 128 + number


def test_every_lethal_signal_is_passed_on() -> None:
    """Every death by a signal is 128+n, from real ends of processes."""
    harmless = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
    stopping = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
    for number in signal.valid_signals() - harmless - stopping - {32, 33}:
        ended = subprocess.run(
            ["sh", "-c", f"ulimit -c 0; trap - {number} 2>/dev/null; kill -{int(number)} $$"], check=False
        ).returncode
        assert ended == -number
        assert exit_status(number) == 128 + number


def test_a_command_that_ends_at_once_keeps_its_status() -> None:
    """However soon it ends, its status is not lost: nobody reaps it before it is known."""
    assert {run(*RUN, "/bin/false").returncode for _ in range(10)} == {1}


def test_a_caller_that_ignores_sigchld_changes_nothing() -> None:
    """Where SIGCHLD was ignored on entry, which would take the status away, it passes on all the same."""
    done = run("env", "--ignore-signal=CHLD", *RUN, "sh", "-c", "exit 3")
    assert done.returncode == 3


def test_what_cannot_be_executed_is_126_and_127_and_says_so(tmp_path: Path) -> None:
    """126 and 127 as with `wait`, told before anybody hears of an open gate, with the reason in log and message."""
    plain, message = tmp_path / "plain", tmp_path / "message"
    plain.write_text("#!/bin/sh\n")
    for command, status, why in (
        ("no-such-command", 127, "'no-such-command' was not found: not in any folder of PATH"),
        (str(plain), 126, f"'{plain}' cannot be executed: permission denied"),
    ):
        done = run(*init(f"--termination-log={message}", f"--ready-file={tmp_path}/ready"), command)
        assert done.returncode == status
        assert why in message.read_text()
        (closed,) = (each for each in events(done.stderr) if each["event"] == "gate.closed")
        assert why in closed["summary"]
        assert "gate.open" not in done.stderr
        assert not (tmp_path / "ready").exists()


@pytest.mark.parametrize("first_line", ["#!/no/such/shell", "no first line"])
def test_what_turns_out_not_to_be_executable_is_told_too(first_line: str, tmp_path: Path) -> None:
    """What only execve(2) finds out ends with 126 or 127 too, every time, and the ready file is taken back."""
    script, message = tmp_path / "script", tmp_path / "message"
    script.write_text(f"{first_line}\n")
    script.chmod(0o755)
    missing = first_line.startswith("#!")
    for _ in range(5):
        done = run(*init(f"--termination-log={message}", f"--ready-file={tmp_path}/ready"), script)
        assert done.returncode == (127 if missing else 126)
        why = "what runs it is not: '/no/such/shell'" if missing else "no program for this machine"
        assert why in message.read_text()
        assert why in events(done.stderr)[-1]["summary"]
        assert not (tmp_path / "ready").exists()


def test_who_was_told_to_stop_has_not_failed() -> None:
    """The log tells an end that was asked for from one that was not."""
    with tending(*RUN, "sh", "-c", "echo up; exec sleep 1000") as tended:
        tended.line()
        tended.send(signal.SIGTERM)
        assert tended.ended() == 143
        assert [each.get("state") for each in tended.log()][-2:] == ["stopping", "ended"]
    assert events(run(*RUN, "false").stderr)[-1]["state"] == "failed"
