"""What once opened the gate by mistake, or nearly: each of these stays shut, or says what is wrong."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from program import GATEKEEPER, PATIENCE, listening, refusing, run, running

LINGER, UNTIL_PAST = "500ms", 0.6  # long enough to stop the process before it is over, and until it is

# A file system that hangs, for who looks at the file: the call never returns, whatever signal comes.
HANGING = """
import os, sys, threading
stat = os.stat
def hang(path, *words, **more):
    if str(path).startswith("/hang"):
        threading.Event().wait()
    return stat(path, *words, **more)
os.stat = hang
sys.argv[0] = "gatekeeper"
from gatekeeper.__main__ import main
main()
"""


def stopped(pid: int) -> None:
    """Stop a process, and return when it has been."""
    os.kill(pid, signal.SIGSTOP)
    end = time.monotonic() + PATIENCE
    while Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "T":
        assert time.monotonic() < end
        time.sleep(0.001)


@contextmanager
def server(kind: str, folder: Path) -> Iterator[tuple[socket.socket, str]]:
    """Give a listening socket and the target that leads to it."""
    with closing(socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET)) as sock:
        sock.bind(str(folder / "sock") if kind == "unix" else ("127.0.0.1", 0))
        sock.listen()
        sock.settimeout(PATIENCE)
        yield sock, f"unix://{folder}/sock" if kind == "unix" else f"{kind}://127.0.0.1:{sock.getsockname()[1]}"


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_hang_up_is_seen_by_who_had_no_processor_meanwhile(kind: str, reset: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a parameter of the test
    """Where the process stood still until the linger was over, the hang-up that came in the meantime counts."""
    with (
        server(kind, tmp_path) as (sock, target),
        running("wait", "--timeout=0", f"{target} linger={LINGER}") as process,
    ):
        for _ in range(3):
            connection, _ = sock.accept()  # the last one comes only where the gate stayed shut
            stopped(process.pid)
            if reset and kind == "tcp":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()
            time.sleep(UNTIL_PAST)
            os.kill(process.pid, signal.SIGCONT)
        assert process.poll() is None


@pytest.mark.parametrize("variable", [False, True], ids=["two variables", "variable and argument"])
def test_two_that_look_alike_are_two(variable: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Nothing is dropped because what differs is not shown: who declares such two is told to name them."""
    lines = ["exec:'test -e /nope'", "exec:'test -e /etc'"]
    declared = "\n".join(lines[: 1 if variable else 2])
    words = lines[1:] if variable else []
    done = run("wait", *words, "--", "echo", "OPENED", env={"GATEKEEPER_DEPENDENCIES": declared})
    assert (done.returncode, done.stdout) == (2, "")
    assert "name it" in done.stderr or "give it another" in done.stderr


def test_the_same_unnamed_dependency_is_replaced_whole() -> None:
    """What is declared again, word for word, is one dependency, with the options of the higher place."""
    with listening() as port:
        env = {"GATEKEEPER_DEPENDENCIES": f"tcp://127.0.0.1:{port} successes=9 interval=1h"}
        assert run("wait", f"tcp://127.0.0.1:{port}", env=env).returncode == 0


@pytest.mark.parametrize("value", ["off", "false", "No", "0"])
def test_a_bypass_that_says_no_is_none(value: str) -> None:
    """The words that mean no elsewhere open nothing here."""
    with refusing() as port:
        done = run(
            "wait", "--timeout=1500ms", f"tcp://127.0.0.1:{port}", "--", "echo", "X", env={"GATEKEEPER_BYPASS": value}
        )
    assert (done.returncode, done.stdout) == (124, "")


@pytest.mark.parametrize("value", ["$(MAINTENANCE)", "${MAINTENANCE}", " ", "a\x1b[2Jb"])
def test_a_bypass_without_a_reason_is_refused(value: str) -> None:
    """What the kubelet left unexpanded is no reason, and neither is a blank."""
    with refusing() as port:
        done = run("wait", f"tcp://127.0.0.1:{port}", "--", "echo", "OPENED", env={"GATEKEEPER_BYPASS": value})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[1].startswith("GATEKEEPER_BYPASS: ")


@pytest.mark.parametrize("option", ["--report", "--ready-file"])
def test_an_unexpanded_reference_is_no_name_of_a_file(option: str, tmp_path: Path) -> None:
    """Options of the gate are read like values of a dependency, wherever they are said."""
    done = run("wait", f"{option}=$(FOLDER)/file", "file:///", cwd=tmp_path)
    assert done.returncode == 2
    assert f"{option}: $(FOLDER): FOLDER is not set" in done.stderr
    assert list(tmp_path.iterdir()) == []
    assert run("wait", f"{option}=${{FOLDER}}/file", "file:///", env={"FOLDER": str(tmp_path)}).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "kind", ["file:///hang/x", "unix:///hang/x", "exec:/hang/x", "http://127.0.0.1:1/ unix=/hang/x"]
)
def test_a_file_system_that_hangs_holds_neither_the_deadline_nor_the_others(kind: str) -> None:
    """Only a thread is left alone with it: the deadline is kept, and another dependency gets its turn."""
    began = time.monotonic()
    program = (GATEKEEPER[0], "-c", HANGING, "wait")
    with running("--timeout=3s", f"stuck={kind}", "other=file:///", program=program) as process:
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 124, said
    assert time.monotonic() - began < PATIENCE / 2
    assert "looking at /hang/x when the wait ended" in said
    assert '"name": "other", "target": "file:///", "state": "ready"' in said
    with running("--timeout=0", f"stuck={kind} optional timeout=100ms", program=program) as process:
        assert process.wait(PATIENCE) == 0


def test_a_ready_file_of_an_earlier_run_does_not_outlive_a_bad_declaration(tmp_path: Path) -> None:
    """Whoever looks at the file must not take the last run's word for this one's."""
    ready = tmp_path / "ready"
    ready.write_text("old")
    assert run("wait", f"--ready-file={ready}", "bogus://x").returncode == 2
    assert not ready.exists()


def test_a_descriptor_of_our_own_is_not_the_supervisor_s(tmp_path: Path) -> None:
    """A descriptor that nobody passed is refused, although one of ours has its number by then."""
    env = {"NOTIFY_SOCKET": str(tmp_path / "nobody")}
    for number in range(3, 12):
        done = run("wait", f"--notify-fd={number}", "file:///", env=env)
        assert done.returncode == 2, number
        assert f"descriptor {number} is not open" in done.stderr


def test_a_command_that_turns_out_not_to_run_shuts_the_report_too(tmp_path: Path) -> None:
    """The report tells of the end: a gate that opened for a program that could not be executed is closed in it."""
    program, report = tmp_path / "program", tmp_path / "report.json"
    program.write_text("neither a script nor a program")
    program.chmod(0o755)
    assert run("wait", f"--report={report}", "file:///", "--", program).returncode == 126
    assert '"gate": "closed"' in report.read_text()


def test_one_file_cannot_be_two(tmp_path: Path) -> None:
    """A report under the name of the ready file would be lost."""
    done = run("wait", f"--report={tmp_path}/x", f"--ready-file={tmp_path}/./x", "file:///")
    assert done.returncode == 2
    assert "--ready-file: is the file of --report too: name another" in done.stderr


def test_a_refused_check_writes_its_report(tmp_path: Path) -> None:
    """However it ends, the report that was asked for is there."""
    assert run("check", f"--report={tmp_path}/report.json", "bogus://x").returncode == 2
    assert "unknown kind bogus" in (tmp_path / "report.json").read_text()


def test_nothing_that_was_typed_by_mistake_shows_a_password() -> None:
    """A dependency where something else belongs is quoted without its secrets."""
    secret = "http://u:s3cr3t@a/?token=s3cr3t"
    for words in (
        (secret,),
        ("wait", "--timeout", secret, "file:///"),
        ("wait", "--notify", secret, "file:///"),
        ("wait", f"file:/// timeout={secret}"),
        ("kinds", secret),
        ("wait", "http://a/ header=Authorization: Bearer s3cr3t"),
        ("wait", "http://a/ s3cr3t"),
    ):
        done = run(*words)
        assert done.returncode == 2
        assert "s3cr3t" not in done.stdout + done.stderr, words


def test_no_declaration_contradicts_itself() -> None:
    """What no attempt could ever satisfy is refused before anything is probed."""
    for words, what in (
        ("file:///x absent invert", "absent and invert undo each other"),
        ("dns://x absent invert", "absent and invert undo each other"),
        ("tcp://x:1 linger=3s", "linger is no shorter than attempt_timeout"),
        ("tcp://x:1 linger=10s attempt_timeout=5s", "linger is no shorter than attempt_timeout"),
    ):
        done = run("wait", words)
        assert done.returncode == 2
        assert what in done.stderr
    assert run("plan", "tcp://x:1 linger=10s attempt_timeout=11s").returncode == 0


def test_commands_are_run_though_the_end_of_children_is_ignored_on_entry() -> None:
    """Whoever started us may have ignored SIGCHLD; the exit status of a command is known all the same."""
    with running("wait", "exec:true", preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN)) as process:
        assert process.wait(PATIENCE) == 0


def test_a_stuck_reader_of_a_report_does_not_change_the_reason_of_the_end() -> None:
    """A pipe that nobody reads is no fault where the gate stays shut anyway: it is said, the status is the reason's."""
    with refusing() as port:
        ours, theirs = os.pipe()
        os.set_blocking(theirs, False)
        while True:
            try:
                os.write(theirs, b"x" * 65536)
            except BlockingIOError:
                break
        os.set_blocking(theirs, True)
        words = ("wait", "--timeout=1500ms", "--report=/dev/stdout", f"tcp://127.0.0.1:{port}")
        done = run(*words, stdout=theirs, stderr=-1)
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 124
    assert "/dev/stdout cannot be written" in done.stderr


def test_a_fault_before_there_is_a_plan_is_told_where_it_was_asked_for(tmp_path: Path) -> None:
    """Half of an installation is a fault, and everyone who was to be told of the end is told of it."""
    (tmp_path / "plan.yaml").write_text("dependencies: {root: file:///}\n")
    (tmp_path / "ready").write_text("old")
    broken = "import sys; sys.modules['yaml'] = None; from gatekeeper.__main__ import main; main()"
    words = ("wait", f"--file={tmp_path}/plan.yaml", "--report", f"{tmp_path}/report.json", "--", "echo", "OPENED")
    env = {"GATEKEEPER_TERMINATION_LOG": f"{tmp_path}/message", "GATEKEEPER_READY_FILE": f"{tmp_path}/ready"}
    with running(*words, program=(GATEKEEPER[0], "-c", broken), env=env) as process:
        said, told = process.communicate(timeout=PATIENCE)
    assert (process.returncode, said) == (70, "")
    assert "a fault in gatekeeper" in told
    assert '"cause": "fault"' in (tmp_path / "report.json").read_text()
    assert "a fault in gatekeeper" in (tmp_path / "message").read_text()
    assert not (tmp_path / "ready").exists()
