"""Signals that reach the supervisor reach the command, beside tini and dumb-init, also one that does not heed them."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from run.tended import DUMB_INIT, INITS, PYTHON, RUN, SIGNALS_OF_C, TINI, init, run, state, tending, until

# tini keeps to itself what a fault of its own would raise; dumb-init knows 31, and makes SIGSTOP of three.
FAULTS = {signal.SIGFPE, signal.SIGILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGTRAP, signal.SIGSYS}
NEVER = {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGTTIN, signal.SIGTTOU, *SIGNALS_OF_C}
CATCHABLE = sorted(map(int, signal.valid_signals() - NEVER))

CATCHER = """
import os, signal, sys
numbers = set(map(int, sys.argv[1].split(",")))
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
print(os.getpid(), flush=True)
while True:
    print(signal.sigwait(numbers) + 0, flush=True)
"""
IGNORING = "trap '' TERM; echo $$; while :; do sleep 1000; done"


def forwarded_by(name: str) -> list[int]:
    """Return the signals that one of the three is expected to forward."""
    if name == "gatekeeper":
        return CATCHABLE
    if name == "tini":
        return [number for number in CATCHABLE if number not in FAULTS]
    return [number for number in CATCHABLE if number < 32 and number != signal.SIGTSTP]


@pytest.mark.needs("tini", "dumb-init")
@pytest.mark.parametrize("name", INITS)
def test_every_signal_that_can_be_caught_is_forwarded(name: str) -> None:
    """Each signal that comes reaches the command, once; of ours, SIGTSTP, SIGCONT and real-time signals as well."""
    numbers = forwarded_by(name)
    with tending(*INITS[name], *PYTHON, CATCHER, ",".join(map(str, numbers))) as tended:
        tended.line()
        for number in numbers:
            tended.send(number)
            assert tended.line() == str(number)
        assert tended.process.poll() is None


@pytest.mark.needs("tini", "dumb-init")
@pytest.mark.parametrize("name", INITS)
def test_only_the_command_itself_is_sent_a_signal(name: str) -> None:
    """A signal goes to the command, not to what it started, as with tini; dumb-init sends it to all."""
    started = f"{CATCHER.replace('while True', 'for _ in range(1)')}"
    # Whoever is sent the signal too ends by it, which is waited for: dumb-init would end it before it has said so.
    script = 'trap "echo heard" USR1; "$@" & wait; ' + ("wait; " if name == "dumb-init" else "") + "exit 7"
    with tending(*INITS[name], "sh", "-c", script, "sh", *PYTHON, started, "10") as tended:
        pid = int(tended.line())
        tended.send(signal.SIGUSR1)
        heard = {tended.line()}
        if name == "dumb-init":
            heard.add(tended.line())
        assert heard == ({"heard", "10"} if name == "dumb-init" else {"heard"})
        assert tended.ended() == 7
    with suppress(ProcessLookupError):  # tini leaves it
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("before", [TINI, DUMB_INIT, RUN], ids=["tini", "dumb-init", "gatekeeper"])
@pytest.mark.needs("tini", "dumb-init")
def test_a_stop_and_a_continuation_are_forwarded(before: tuple[str, ...]) -> None:
    """SIGTSTP stops the command, not its supervisor, and SIGCONT brings it back, as with tini; dumb-init stops too."""
    with tending(*before, "sh", "-c", "echo $$; exec sleep 1000") as tended:
        pid = int(tended.line())
        tended.send(signal.SIGTSTP)
        until(lambda: state(pid) == "T")
        assert before is DUMB_INIT or state(tended.pid) != "T"
        tended.send(signal.SIGCONT)
        until(lambda: state(pid) == "S")
        tended.send(signal.SIGTERM)
        assert tended.ended() == 143


@pytest.mark.parametrize("name", ["SIGTTIN", "SIGTTOU"])
def test_what_the_terminal_does_to_us_is_not_the_commands(name: str) -> None:
    """SIGTTIN and SIGTTOU stop who reads or writes in the background, and are not forwarded."""
    with tending(*RUN, *PYTHON, CATCHER, f"10,{int(signal.Signals[name])}") as tended:
        pid = int(tended.line())
        tended.send(signal.Signals[name])
        until(lambda: state(tended.pid) == "T")
        tended.send(signal.SIGCONT)
        tended.send(signal.SIGUSR1)
        assert tended.line() == "10"
        assert state(pid) in ("R", "S")


def test_a_signal_that_was_ignored_on_entry_is_ignored_by_the_command_and_forwarded() -> None:
    """Under nohup SIGHUP stays ignored; a command that catches it all the same is sent it."""
    with tending("env", "--ignore-signal=HUP", *RUN, *PYTHON, CATCHER, "1") as tended:
        tended.line()
        tended.send(signal.SIGHUP)
        assert tended.line() == "1"
    with tending("env", "--ignore-signal=HUP", *RUN, "sh", "-c", "echo up; read line; exit 9", stdin=-1) as tended:
        tended.line()
        tended.send(signal.SIGHUP)
        assert tended.process.stdin
        tended.process.stdin.write("\n")
        tended.process.stdin.flush()
        assert tended.ended() == 9


def test_a_signal_at_any_moment_is_not_lost() -> None:
    """SIGTERM ends it at whatever moment it comes: while loading, at the gate, while the command starts, and after."""
    with tending(*RUN, "sleep", "1000") as tended:
        began = time.monotonic()
        until(lambda: Path(f"/proc/{tended.pid}/task/{tended.pid}/children").read_text())
        loading = time.monotonic() - began
    for moment in range(24):
        with tending(*RUN, "sleep", "1000") as tended:
            time.sleep(loading * (0.7 + moment * 0.02))  # around the moment at which the command starts
            tended.send(signal.SIGTERM)
            assert tended.ended() == 143, moment


def test_who_is_told_before_the_command_starts_takes_all_back(tmp_path: Path) -> None:
    """A signal during the wait shuts the gate: no command is started, and the log says why."""
    touched = tmp_path / "touched"
    words = (*RUN[:4], "--status=off", "--timeout=0", "tcp://127.0.0.1:1", "--", "touch", str(touched))
    with tending(*words) as tended:
        assert tended.process.stderr
        assert "gate.waiting" in tended.process.stderr.readline()
        tended.send(signal.SIGTERM)
        assert tended.ended() == 143
        assert tended.log()[-1]["cause"] == "signal"
    assert not touched.exists()


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGRTMIN + 3])
def test_whatever_signal_ends_the_wait_no_socket_file_is_left(number: int, tmp_path: Path) -> None:
    """One that would kill it while it waits shuts the gate as SIGTERM does, and says so."""
    there = tmp_path / "status.sock"
    words = (*RUN[:4], f"--status=unix:{there}", "--timeout=0", "tcp://127.0.0.1:1", "--", "true")
    with tending(*words) as tended:
        until(there.exists)
        tended.send(number)
        assert tended.ended() == 128 + number
        assert tended.log()[-1]["cause"] == "signal"
    assert not there.exists()


@pytest.mark.parametrize("said", ["--notify-socket=/run/x.sock", "--notify-uid=5"])
def test_what_is_for_a_neighbour_is_refused_for_a_command(said: str) -> None:
    """It would have no effect: a command speaks at a socket of its own, whoever it is."""
    done = run(*RUN[:-1], said, "--", "true")
    assert done.returncode == 2
    place = said.partition("=")[0]
    assert f"{place}: the command of run speaks at a socket of its own, which has no name: leave it out" in done.stderr


@pytest.mark.needs("tini")
@pytest.mark.parametrize("before", [TINI, RUN], ids=["tini", "gatekeeper"])
def test_without_a_limit_a_command_may_take_its_time_to_end(before: tuple[str, ...]) -> None:
    """A command that ignores SIGTERM goes on: without --stop-timeout nobody kills it."""
    with tending(*before, "sh", "-c", "trap '' TERM; echo $$; exec sleep 1000") as tended:
        pid = int(tended.line())
        tended.send(signal.SIGTERM)
        tended.send(signal.SIGTERM)
        tended.send(signal.SIGWINCH)
        with pytest.raises(Exception, match="timed out"):
            tended.process.wait(0.3)
        assert state(pid) == "S"
        os.kill(pid, signal.SIGKILL)
        assert tended.ended() == 137


def test_with_a_limit_it_is_killed_and_the_reason_told(tmp_path: Path) -> None:
    """After --stop-timeout comes SIGKILL, for what it started too: 137, with the reason in log and termination log."""
    message = tmp_path / "message"
    with tending(*init("--stop-timeout=200ms", f"--termination-log={message}"), "sh", "-c", IGNORING) as tended:
        pid = int(tended.line())
        until(lambda: Path(f"/proc/{pid}/task/{pid}/children").read_text())
        started = int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
        began = time.monotonic()
        tended.send(signal.SIGTERM)
        assert tended.ended() == 137
        assert time.monotonic() - began >= 0.2
        assert not state(pid)
        assert not state(started)
        assert "did not end within 200ms (--stop-timeout)" in tended.log()[-1]["summary"]
    assert "did not end within 200ms (--stop-timeout)" in message.read_text()


def test_after_its_end_nobody_is_sent_a_signal() -> None:
    """Signals that come while what the command left behind is being ended harm nobody, and change no status."""
    script = f"{PYTHON[0]} -I -S -c '{LEFT}' & read line; exit 5"
    with tending(*init("--stop-timeout=300ms"), "sh", "-c", script, stdin=-1) as tended:
        tended.line()
        assert tended.process.stdin
        tended.process.stdin.write("\n")
        tended.process.stdin.flush()
        assert tended.line() == "told"
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
            tended.send(number)
        assert tended.ended() == 5


LEFT = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
print("up", flush=True)
signal.sigwait([signal.SIGTERM])
print("told", flush=True)
while True: signal.pause()
"""
