"""What a service manager hears, for each ``--notify``, with and without a command, on a real socket."""

from pathlib import Path

import pytest
from program import names, notify_socket, refusing, run


@pytest.mark.parametrize(
    ("mode", "command", "ready", "kept"),
    [
        ("auto", False, True, None),
        ("auto", True, False, True),
        ("ready", False, True, None),
        ("ready", True, True, False),
        ("status", False, False, None),
        ("status", True, False, True),
        ("off", False, None, None),
        ("off", True, None, True),
    ],
)
def test_who_hears_what(mode: str, command: bool, ready: bool | None, kept: bool | None, tmp_path: Path) -> None:  # noqa: FBT001 - the columns of a table
    """READY is alone in its datagram; NOTIFY_SOCKET stays for the command, but where READY was ours."""
    words = ("--", "sh", "-c", "echo ${NOTIFY_SOCKET-none}") if command else ()
    with notify_socket(tmp_path) as manager:
        done = run("wait", f"--notify={mode}", "file:///", *words, env={"NOTIFY_SOCKET": manager.path})
        said = manager.messages()
    assert done.returncode == 0, done.stderr
    assert said.count("READY=1") == (ready is True)
    assert not any("READY" in each for each in said if each != "READY=1")
    assert bool(said) is (mode != "off")
    if kept is not None:
        assert done.stdout.strip() == (manager.path if kept else "none")


@pytest.mark.parametrize("mode", ["auto", "ready", "status"])
def test_what_is_said_while_waiting_and_at_a_failure(mode: str, tmp_path: Path) -> None:
    """STATUS says what is missing and why, time is asked for, and a failure has ERRNO; never READY."""
    with notify_socket(tmp_path) as manager, refusing() as port:
        words = ("--timeout=1s", f"--notify={mode}", f"db=tcp://127.0.0.1:{port}")
        done = run("wait", *words, env={"NOTIFY_SOCKET": manager.path})
        said = manager.messages()
    assert done.returncode == 124
    assert names(done.stderr)[-1] == "gate.closed"
    assert any(each == f"STATUS=1 of 1 not ready: db (refused: 127.0.0.1:{port})" for each in said), said
    asked = [int(each.partition("=")[2]) for each in said if each.startswith("EXTEND_TIMEOUT_USEC=")]
    assert asked
    assert max(asked) <= 2_000_000  # the deadline, and a second to tell why
    assert "ERRNO=110" in said[-1] or "ERRNO=110" in said[-2]
    assert not any("READY" in each for each in said)
    assert all(each and len(each) <= 4096 for each in said if not each.startswith("BARRIER"))


def test_a_command_that_cannot_be_executed_was_never_ready(tmp_path: Path) -> None:
    """No READY for a command that is not there; the reason is told."""
    with notify_socket(tmp_path) as manager:
        words = ("--notify=ready", "file:///", "--", "/missing/program")
        assert run("wait", *words, env={"NOTIFY_SOCKET": manager.path}).returncode == 127
        said = manager.messages()
    assert "READY=1" not in said
    assert any("/missing/program" in each and "ERRNO=" in each for each in said)


def test_a_bad_declaration_is_told(tmp_path: Path) -> None:
    """A unit that fails for its declaration has the reason in its status."""
    with notify_socket(tmp_path) as manager:
        assert run("wait", "tcp://a", env={"NOTIFY_SOCKET": manager.path}).returncode == 2
        said = manager.messages()
    assert any("bad declaration" in each and "ERRNO=22" in each for each in said)
