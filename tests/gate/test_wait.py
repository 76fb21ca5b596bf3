"""``gatekeeper wait`` as a user has it: exit codes, the log, the report, the files, and the command that takes over."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from program import GATEKEEPER, PATIENCE, environment, events, greeting, listening, names, refusing, run, running

DEPENDENCY = {
    "name": str,
    "kind": str,
    "target": str,
    "required": bool,
    "origin": str,
    "state": str,
    "reason": str,
    "detail": str,
    "attempts": int,
    "waited": float,
    "changes": list,
}


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("file:///",), 0),
        (("--timeout=1500ms", "file:///missing"), 124),
        (("--bypass=maintenance", "file:///missing"), 0),
        (("--timeout=1500ms", "--on-timeout=continue", "file:///missing"), 0),
        (("--any", "file:///missing", "file:///"), 0),
        (("file:///", "x=file:///missing optional timeout=100ms"), 0),
        (("tcp://no-port",), 2),
        (("--nonsense", "file:///"), 2),
        ((), 2),
        (("file:///", "--", "true"), 0),
        (("file:///", "--", "false"), 1),
        (("file:///", "--", "/etc/passwd"), 126),
        (("file:///", "--", "/missing/program"), 127),
        (("file:///", "--", "sh", "-c", "exit 42"), 42),
    ],
)
def test_the_exit_status(words: tuple[str, ...], status: int) -> None:
    """Each row of the table of exit codes, and nothing on stdout."""
    done = run("wait", *words)
    assert (done.returncode, done.stdout) == (status, ""), done.stderr
    assert "Traceback" not in done.stderr


def test_the_report_has_its_shape(tmp_path: Path) -> None:
    """The report is one JSON object with just the keys and types that the interface names."""
    report = tmp_path / "report.json"
    with refusing() as port:
        run("wait", f"--report={report}", "--timeout=1500ms", f"db=tcp://127.0.0.1:{port}", "file:///")
    told = json.loads(report.read_text())
    assert list(told) == ["gate", "cause", "summary", "started", "waited", "dependencies"]
    assert (told["gate"], told["cause"]) == ("closed", "timeout")
    assert told["summary"] == f"1 of 2 not ready: db (refused: 127.0.0.1:{port})"
    assert 0.2 <= told["waited"] < 5
    assert told["started"].endswith("Z")
    for dependency in told["dependencies"]:
        assert {key: type(value) for key, value in dependency.items()} == DEPENDENCY
    db, root = told["dependencies"]
    assert (db["name"], db["kind"], db["target"]) == ("db", "tcp", f"tcp://127.0.0.1:{port}")
    assert (db["required"], db["origin"], db["state"], db["reason"]) == (True, "argument 1", "waiting", "refused")
    assert [list(change) for change in db["changes"]] == [["at", "state", "reason", "detail"]]
    assert (root["state"], root["reason"], root["attempts"]) == ("ready", "ready", 1)


@pytest.mark.parametrize(
    ("words", "gate", "cause"),
    [
        (("file:///",), "open", "ready"),
        (("file:///missing", "--bypass=x"), "open", "bypass"),
        (("file:///missing", "--on-timeout=continue"), "open", "continue"),
        (("file:///missing",), "closed", "timeout"),
        (("tcp://a",), "closed", "failed"),
    ],
)
def test_the_report_is_written_however_it_ends(words: tuple[str, ...], gate: str, cause: str, tmp_path: Path) -> None:
    """Every end leaves a report with its cause, and a ready file just where the gate opened."""
    report, ready = tmp_path / "report.json", tmp_path / "ready"
    run("wait", "--timeout=1500ms", f"--report={report}", f"--ready-file={ready}", *words)
    told = json.loads(report.read_text())
    assert (told["gate"], told["cause"]) == (gate, cause)
    assert ready.exists() is (gate == "open")


def test_what_can_never_become_ready_ends_the_wait(tmp_path: Path) -> None:
    """A required dependency that is hopeless is 69; an optional one, or one of --any, shuts nothing."""
    report = tmp_path / "report.json"
    with greeting() as port:
        hopeless = f"x=http://127.0.0.1:{port}/"
        done = run("wait", f"--report={report}", hopeless, "file:///missing", "--", "touch", tmp_path / "ran")
        told = json.loads(report.read_text())
        assert run("wait", f"{hopeless} optional", "file:///").returncode == 0
        assert run("wait", "--any", hopeless, "file:///").returncode == 0
    assert done.returncode == 69
    assert not (tmp_path / "ran").exists()
    assert (told["gate"], told["cause"]) == ("closed", "failed")
    assert (told["dependencies"][0]["state"], told["dependencies"][0]["reason"]) == ("failed", "wrong_protocol")


def test_the_events_come_in_order() -> None:
    """What is waited for, a line for each change, the end, and the hand-over, each a JSON object."""
    with refusing() as port:
        done = run("wait", "--timeout=1500ms", f"tcp://127.0.0.1:{port}", "file:///")
    found = names(done.stderr)
    assert (found[0], found[-1]) == ("gate.waiting", "gate.closed")
    assert sorted(found[1:-1]) == ["dependency.changed", "dependency.ready"]
    assert names(run("wait", "file:///", "--", "true").stderr) == [
        "gate.waiting",
        "dependency.ready",
        "gate.open",
        "handover.exec",
    ]
    assert all(list(event)[:3] == ["timestamp", "level", "event"] for event in events(done.stderr))


def test_how_much_is_said() -> None:
    """-q says the end alone, -v every attempt, and no level of detail a password."""
    with refusing() as port:
        target = f"http://user:hunter2@127.0.0.1:{port}/?token=hunter2"
        quiet = run("wait", "--timeout=100ms", "-q", target)
        loud = run("wait", "--timeout=1m", "-v", f"{target} invert successes=3")
    assert names(quiet.stderr) == ["gate.closed"]
    assert names(loud.stderr).count("dependency.attempted") == 3
    assert "hunter2" not in quiet.stderr + loud.stderr


def test_the_console_is_for_people() -> None:
    """--log-format=console writes lines that are no JSON, without colours where there is no terminal."""
    done = run("wait", "--log-format=console", "file:///")
    assert "gate.open" in done.stderr
    assert "{" not in done.stderr
    assert "\x1b" not in done.stderr


def test_options_have_twins_and_arguments_win(tmp_path: Path) -> None:
    """Each option has a variable; an argument is stronger, and a dependency of the same name is replaced whole."""
    report = tmp_path / "report.json"
    env = {
        "GATEKEEPER_TIMEOUT": "2s",
        "GATEKEEPER_REPORT": str(report),
        "GATEKEEPER_QUIET": "yes",
        "GATEKEEPER_DEPENDENCIES": "a=file:///missing optional\nb=file:///",
    }
    assert run("wait", env=env).returncode == 0
    assert [each["origin"] for each in json.loads(report.read_text())["dependencies"]] == [
        "GATEKEEPER_DEPENDENCIES line 1",
        "GATEKEEPER_DEPENDENCIES line 2",
    ]
    assert run("wait", "a=file:///missing", env=env).returncode == 124
    assert run("wait", "a=file:///", "--timeout=20s", env=env).returncode == 0


def test_the_command_has_its_own_environment() -> None:
    """Our variables do not reach the command, and everything else does."""
    done = run(
        "wait", "file:///", "--", "env", env={"GATEKEEPER_TIMEOUT": "5s", "GATEKEEPER_QUIET": "1", "MINE": "x y"}
    )
    assert "GATEKEEPER" not in done.stdout
    assert "MINE=x y\n" in done.stdout


def test_the_command_has_stdin_untouched() -> None:
    """What stands on stdin is the command's, from its first byte."""
    assert run("wait", "file:///", "--", "cat", stdin=None, input="hello\n" * 1000).stdout == "hello\n" * 1000


def test_a_plan_may_come_from_stdin() -> None:
    """-f - reads YAML from stdin."""
    assert run("wait", "-f", "-", stdin=None, input="dependencies:\n  root: file:///\n").returncode == 0


def test_the_commands_arguments_are_its_own() -> None:
    """Spaces, empty words, bytes that are no UTF-8 and what looks like an option of ours are passed on as they are."""
    words = [b"", b"a  b", b"\xff\xfe", b"--timeout=1", b"--", b"$HOME"]
    done = run("wait", "file:///", "--", "printf", "%s|", *words, text=False)
    assert done.stdout == b"|".join(words) + b"|"


def test_the_ready_file_tells_of_now(tmp_path: Path) -> None:
    """What an earlier run left is removed at the start, and what was written is taken back where no command starts."""
    ready = tmp_path / "ready"
    ready.write_text("an earlier run")
    with refusing() as port, running("wait", f"--ready-file={ready}", f"tcp://127.0.0.1:{port}") as process:
        assert process.stderr
        assert process.stderr.readline()
        assert not ready.exists()
    assert run("wait", f"--ready-file={ready}", "file:///", "--", "true").returncode == 0
    assert ready.read_text().startswith("open after")
    script = tmp_path / "script"
    script.write_text("no program\x00")
    script.chmod(0o755)
    for command in ("/missing", str(script)):
        assert run("wait", f"--ready-file={ready}", "file:///", "--", command).returncode in (126, 127)
        assert not ready.exists()


def test_the_termination_message_is_short_and_in_place(tmp_path: Path) -> None:
    """At most a KiB, the story first, in the very file that was there; the command's own message is left to it."""
    message = tmp_path / "message"
    message.write_text("x" * 5000)
    inode = message.stat().st_ino
    many = [f"dependency-{n}=file:///missing/{n}" for n in range(100)]
    assert run("wait", "--timeout=1500ms", f"--termination-log={message}", *many).returncode == 124
    data = message.read_bytes()
    assert data.startswith(b"closed, the time is up after ")
    assert len(data) <= 1024
    assert message.stat().st_ino == inode
    assert run("wait", f"--termination-log={message}", "file:///", "--", "true").returncode == 0
    assert message.read_bytes() == b""
    assert run("wait", f"--termination-log={message}", "file:///", "--", "/missing").returncode == 127
    assert b"/missing" in message.read_bytes()


def test_s6_readiness() -> None:
    """--notify-fd writes a newline when the gate opens, and none where it stays shut; the command has no such file."""
    for words, said in ((("file:///",), b"\n"), (("file:///missing",), b"")):
        ours, theirs = os.pipe()
        run(
            "wait",
            "--timeout=1500ms",
            f"--notify-fd={theirs}",
            *words,
            "--",
            "test",
            "!",
            "-e",
            f"/proc/self/fd/{theirs}",
            pass_fds=[theirs],
        )
        os.close(theirs)
        with open(ours, "rb") as pipe:
            assert pipe.read() == said
    assert run("wait", "--notify-fd=77", "file:///").returncode == 2


def test_the_gate_becomes_the_command() -> None:
    """The command has the process of the gate, and nothing of ours is left around it."""
    with listening() as port, running("wait", f"tcp://127.0.0.1:{port}", "--", "sh", "-c", "echo $$") as process:
        stdout, _ = process.communicate(timeout=PATIENCE)
    assert int(stdout) == process.pid


def test_the_installed_script_is_the_same() -> None:
    """The console script does what ``python -m gatekeeper`` does."""
    script = Path(GATEKEEPER[0]).with_name("gatekeeper")
    done = subprocess.run(
        [script, "wait", "file:///", "--", "echo", "hello"],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "hello\n")
