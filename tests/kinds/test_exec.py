"""exec:: what a command's end means, and that nothing of it is left behind."""

import asyncio
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from textwrap import dedent

import pytest
from badness import descriptors, left_over

from gatekeeper.model import Outcome, Reason, State, ready, waiting
from gatekeeper.probes._command import last_line
from gatekeeper.probes._options import BadOptionsError
from gatekeeper.probes.exec import Exec

LIMIT = 60


def probe_of(command: str, **options: str) -> Exec:
    """Return the probe of a command."""
    return Exec.parse(f"exec:{command}", {key: (text,) for key, text in options.items()})


async def once(command: str, **options: str) -> Outcome:
    """Attempt once."""
    async with asyncio.timeout(LIMIT):
        return await probe_of(command, **options).attempt()


def attempt(command: str, **options: str) -> Outcome:
    """Attempt once in a loop of its own."""
    return asyncio.run(once(command, **options))


def state_of(pid: int) -> str:
    """Return the state letter of a process (proc(5)); nothing where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def wait_gone(pid: int) -> None:
    """Wait until a process is no more, or is a zombie that is not ours to reap."""
    until = time.monotonic() + LIMIT
    while state_of(pid) not in ("", "Z"):
        assert time.monotonic() < until
        time.sleep(0.005)


async def written(path: Path) -> None:
    """Wait until a file holds a line."""

    def wait() -> None:
        until = time.monotonic() + LIMIT
        while not path.exists() or not path.read_text().endswith("\n"):
            assert time.monotonic() < until
            time.sleep(0.005)

    await asyncio.to_thread(wait)


def test_exit_0_is_ready() -> None:
    """The command's success is the dependency's."""
    assert attempt("true") == ready("exit 0")


def test_another_exit_has_failed_and_is_definite() -> None:
    """An exit from 1 to 125 is the command's own word: what it asks about is not so."""
    assert attempt("sh -c 'exit 3'") == waiting(Reason.COMMAND_FAILED, "exit 3", gone=True)


@pytest.mark.parametrize("status", [126, 127, 255])
def test_exits_from_126_are_not_definite(status: int) -> None:
    """Shells and wrappers say so when they could not run the command: nothing is known then."""
    assert attempt(f"sh -c 'exit {status}'") == waiting(Reason.COMMAND_FAILED, f"exit {status}")


def test_death_by_a_signal_is_not_definite() -> None:
    """A crash says nothing about the dependency."""
    assert attempt("sh -c 'kill -9 $$'") == waiting(Reason.COMMAND_FAILED, "signal 9")


def test_other_exits_may_be_wanted() -> None:
    """Exit takes several, and 0 counts only where it is among them."""
    assert attempt("sh -c 'exit 4'", exit="3,4") == ready("exit 4")
    assert attempt("true", exit="3,4") == waiting(Reason.COMMAND_FAILED, "exit 0")


def test_expect_is_matched_over_both_streams() -> None:
    """What comes on stdout and stderr is one output."""
    both = "sh -c 'echo out; echo err >&2'"
    assert attempt(both, expect="out\nerr") == ready("exit 0")
    assert attempt(both, expect="nothing") == waiting(Reason.UNWANTED_ANSWER, "exit 0, no match in 8 bytes: err")


def test_output_just_before_the_end_is_heard() -> None:
    """A pipe full of output and an exit in the same moment lose nothing."""
    script = "import os; os.write(1, b'x' * 65000 + b'end'); os._exit(0)"
    for _ in range(10):
        assert attempt(f'{sys.executable} -S -c "{script}"', expect="end").state is State.READY


def test_the_last_line_says_why() -> None:
    """The detail shows the last line that says something."""
    assert attempt("sh -c 'echo first; echo; echo no such table; echo; exit 1'").detail == "exit 1: no such table"


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        (b"", ""),
        (b"\n \n\r\n", ""),
        (b"one\ntwo\n\n", "two"),
        (b"10%\r100%\r", "100%"),
        (b"\x1b[1;31mred\x1b[0m", "red"),
        (b"\x1b]0;title\x07after", "after"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"a\x00b\x07c\x9b", "a b c\N{REPLACEMENT CHARACTER}"),
        (b"\xff\xfe", "\N{REPLACEMENT CHARACTER}" * 2),
        ("left\u202eright".encode(), "left right"),
        (b"x" * 200, "x" * 99 + "…"),
        (b"\x1b[", ""),
        (b"\x1b]never ended", ""),
    ],
)
def test_a_line_of_output_is_shown_short_and_printable(output: bytes, shown: str) -> None:
    """No control character, terminal sequence or broken UTF-8 gets through, whatever is cut off."""
    line = last_line(output)
    assert line == shown
    assert line.isprintable()


def test_output_never_reaches_our_streams(capfd: pytest.CaptureFixture[str]) -> None:
    """Neither stream of ours shows what the command said."""
    attempt("sh -c 'echo out; echo err >&2'")
    assert capfd.readouterr() == ("", "")


def test_the_command_reads_nothing() -> None:
    """Its stdin is empty, so that it cannot take what the main program should read."""
    assert attempt("cat", expect="^$") == ready("exit 0")


def test_no_shell_runs_the_command() -> None:
    """Words are split as a shell does, and nothing is expanded."""
    assert attempt("echo '$HOME' a\\ b \"*\" ; x", expect=r"^\$HOME a b \* ; x\n$") == ready("exit 0")


@pytest.mark.parametrize("command", ["", "''", "'unbalanced", "a\0b", "'a\nb' c", "echo \ud800"])
def test_what_is_no_command_is_a_bad_declaration(command: str) -> None:
    """Such a target is refused before anything runs."""
    with pytest.raises(BadOptionsError):
        probe_of(command)


def test_a_missing_command_may_still_come(tmp_path: Path) -> None:
    """A command that is not there is not found, without proving anything, and runs once it is there."""
    command = tmp_path / "check"
    assert attempt(str(command)) == waiting(Reason.NOT_FOUND, f"{command} (or the interpreter that it names)")
    command.write_text("#!/bin/sh\nexit 0\n")
    assert attempt(str(command)) == waiting(Reason.FORBIDDEN, f"{command} (not executable)")
    command.chmod(0o755)
    assert attempt(str(command)) == ready("exit 0")
    command.write_text("no program\n")
    assert attempt(str(command)) == waiting(Reason.COMMAND_FAILED, f"{command} cannot be executed (Exec format error)")


def test_a_variable_before_a_command_is_not_shown_and_the_hint_says_why() -> None:
    """No shell sets variables here, and what was meant as one may be a secret."""
    found = attempt("'PGPASSWORD=hunter2 psql -c 1'")
    assert found.reason is Reason.NOT_FOUND
    assert found.detail.startswith("the command (")
    assert "write env NAME=VALUE COMMAND" in found.detail
    assert "hunter2" not in found.detail


def test_the_command_sees_an_environment_without_our_notify_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it told the service manager would be taken for ours; the rest of the environment is as we have it."""
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    monkeypatch.setenv("PGHOST", "db")
    assert attempt("env", expect="PGHOST=db").state is State.READY
    assert attempt("env", expect="NOTIFY_SOCKET").reason is Reason.UNWANTED_ANSWER


def test_the_command_inherits_no_descriptor_and_no_ignored_signal() -> None:
    """It has its three streams only, and dies of SIGPIPE as any program."""
    with open("/dev/null", "rb") as file:
        os.set_inheritable(file.fileno(), True)  # noqa: FBT003 - takes no keyword
        assert attempt("ls /proc/self/fd", expect=r"^0\n1\n2\n3\n$") == ready("exit 0")
    # The bits of SIGXFSZ (25) and SIGPIPE (13): whoever runs the tests may ignore signals of its own.
    clear = r"SigIgn:\s[0-9a-f]{9}[02468ace][0-9a-f]{2}[02468ace][0-9a-f]{3}\n"
    assert attempt("grep SigIgn /proc/self/status", expect=clear) == ready("exit 0")


def test_a_cancelled_command_is_killed_with_its_group(tmp_path: Path) -> None:
    """The command, its child and its grandchild end with the attempt, within a moment; the step is noted."""
    pids = tmp_path / "pids"
    command = f"""sh -c 'sh -c "sleep 1000 & echo \\$\\$ \\$! >{pids}; wait"; true'"""

    async def run() -> tuple[float, list[str]]:
        task = asyncio.ensure_future(probe_of(command).attempt())
        await written(pids)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        return time.monotonic() - began, caught.value.__notes__

    before = descriptors()
    took, notes = asyncio.run(run())
    assert notes == ["running sh"]
    assert took < 1
    for pid in pids.read_text().split():
        wait_gone(int(pid))
    assert left_over(before) == set()


def test_the_note_of_a_cancelled_command_shows_its_last_line(tmp_path: Path) -> None:
    """Where an attempt times out, what the command said last is known."""

    async def run() -> list[str]:
        task = asyncio.ensure_future(probe_of(f"sh -c 'echo locked by 7; echo >{tmp_path}/x; sleep 1000'").attempt())
        await written(tmp_path / "x")
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        return caught.value.__notes__

    assert asyncio.run(run()) == ["running sh: locked by 7"]


def test_a_command_that_ignores_signals_is_killed_all_the_same(tmp_path: Path) -> None:
    """SIGKILL asks nobody."""
    pids = tmp_path / "pids"

    async def run() -> None:
        task = asyncio.ensure_future(probe_of(f"sh -c 'trap \"\" TERM INT HUP; echo $$ >{pids}; sleep 1000'").attempt())
        await written(pids)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
    wait_gone(int(pids.read_text()))


def test_a_grandchild_that_holds_the_pipe_does_not_hold_the_attempt(tmp_path: Path) -> None:
    """The attempt ends with the command itself; what it left running on purpose stays."""
    pids = tmp_path / "pids"
    assert attempt(f"sh -c 'sleep 1000 & echo $! >{pids}; exit 0'") == ready("exit 0")
    pid = int(pids.read_text())
    assert state_of(pid) != ""
    os.kill(pid, signal.SIGKILL)


def test_an_endless_output_blocks_nobody_and_fills_nothing() -> None:
    """10 MB are drained; the start is matched, the end is shown, and the rest is forgotten."""
    command = "sh -c 'echo begin; head -c 10000000 /dev/zero; echo end; exit 1'"
    assert attempt(command).detail == "exit 1: end"
    assert attempt(f"{command[:-8]}exit 0'", expect="begin") == ready("exit 0")
    assert attempt(f"{command[:-8]}exit 0'", expect="end").detail == "exit 0, no match in 65536 bytes: end"


def test_an_endless_output_is_read_at_leisure() -> None:
    """Once enough has been heard, hearing more costs next to nothing, and the last line is still the last."""

    async def flooded() -> float:
        began = time.thread_time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await probe_of("yes").attempt()
        return time.thread_time() - began

    assert asyncio.run(flooded()) < 0.4
    script = "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo last; exit 3"
    assert attempt(f"sh -c {shlex.quote(script)}").detail == "exit 3: last"


def test_a_reading_that_was_put_off_does_not_outlive_the_command() -> None:
    """A command that ends while its output rests leaves nothing in the loop that touches the closed pipe."""

    async def ended() -> list[str]:
        said: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context["message"]))
        for _ in range(10):
            assert (await once("head -c 500000 /dev/zero")).state is State.READY
            pipes = [os.pipe() for _ in range(4)]  # one of them has the number of the closed pipe
            await asyncio.sleep(0.01)
            for ours in pipes:
                assert not asyncio.get_running_loop().remove_reader(ours[0])
                for end in ours:
                    os.close(end)
        return said

    assert asyncio.run(ended()) == []


def test_an_output_without_end_is_cut_off_with_the_attempt() -> None:
    """A command that talks for ever leaves the loop free to end it."""

    async def run() -> float:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await probe_of("yes").attempt()
        return time.monotonic() - began

    assert asyncio.run(run()) < 5


def test_a_hundred_at_once_leave_no_zombie_and_no_descriptor() -> None:
    """Attempts run together, half of them are cancelled, and every child is reaped."""

    async def run() -> None:
        enough = [asyncio.ensure_future(once("sh -c 'exit 1'")) for _ in range(50)]
        stuck = [asyncio.ensure_future(once("sleep 1000")) for _ in range(50)]
        assert {(await task).reason for task in enough} == {Reason.COMMAND_FAILED}
        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)

    before, others = descriptors(), children()
    asyncio.run(run())
    assert left_over(before) == set()
    until = time.monotonic() + LIMIT
    while children() - others:
        assert time.monotonic() < until, children() - others
        time.sleep(0.01)


def children() -> set[str]:
    """Return the children that this process has, zombies included: a server of other tests may be among them."""
    tasks = Path("/proc/self/task")
    return {child for task in tasks.iterdir() if task.exists() for child in (task / "children").read_text().split()}


def test_a_loop_in_another_thread_runs_commands_too() -> None:
    """The library may be used outside of the main thread."""
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(attempt("true")))
    thread.start()
    thread.join()
    assert outcomes == [ready("exit 0")]


def test_an_exit_status_that_was_lost_never_counts_as_success() -> None:
    """Where SIGCHLD is ignored (as a parent may leave it to us) the kernel keeps no status: that is not exit 0."""
    script = """
        import asyncio, signal
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        from gatekeeper.probes.exec import Exec
        print(asyncio.run(Exec.parse("exec:false", {}).attempt()).state)
    """
    done = subprocess.run([sys.executable, "-c", dedent(script)], capture_output=True, text=True, check=True)
    assert done.stdout == "waiting\n"
    assert done.stderr == ""


def test_a_cancellation_at_any_turn_leaves_nothing() -> None:
    """Wherever the attempt stands, its process and its pipe end with it."""

    async def run() -> None:
        before, others = descriptors(), children()
        for turns in range(12):
            task = asyncio.ensure_future(probe_of("sleep 1000").attempt())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert descriptors() == before
        assert children() <= others

    asyncio.run(run())
