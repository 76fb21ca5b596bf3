"""Machines that have nothing left, and listeners that are broken: the gate stays shut, or is not bothered."""

import os
import pty
import resource
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from program import GATEKEEPER, PATIENCE, environment, listening, refusing, run, running

MB = 1 << 20


def under(limit: int, most: int) -> Callable[[], None]:
    """Return what sets a resource limit in the process that is about to start."""
    return lambda: resource.setrlimit(limit, (most, most))


@pytest.mark.parametrize("most", [24, 28, 32, 40])
def test_without_memory_the_gate_stays_shut(most: int, tmp_path: Path) -> None:
    """With so little memory that nothing can be loaded, or no thread started, the command never runs."""
    with refusing() as port:
        words = ("wait", "--timeout=1500ms", f"tcp://localhost:{port}", "--", "touch", tmp_path / "ran")
        done = run(*words, preexec_fn=under(resource.RLIMIT_AS, most * MB))
    assert done.returncode in (70, 124), done
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("most", [4, 5, 6, 7, 8, 12])
def test_without_descriptors_the_gate_stays_shut(most: int, tmp_path: Path) -> None:
    """With so few descriptors that nothing can be loaded or connected, the command never runs."""
    with refusing() as port:
        words = ("wait", "--timeout=1500ms", f"tcp://localhost:{port}", "--", "touch", tmp_path / "ran")
        done = run(*words, preexec_fn=under(resource.RLIMIT_NOFILE, most))
    assert done.returncode in ((1, 70) if most < 6 else (70, 124)), done  # with four, Python itself cannot start
    assert not (tmp_path / "ran").exists()


def test_a_report_that_cannot_be_written_keeps_the_gate_shut(tmp_path: Path) -> None:
    """A full disk under the report is a fault, told without a traceback; the command never runs."""
    with listening() as port:
        words = ("--report=/dev/full", f"--ready-file={tmp_path}/ready", f"tcp://127.0.0.1:{port}")
        done = run("wait", *words, "--", "touch", tmp_path / "ran")
        assert run("check", *words).returncode == 70
    assert done.returncode == 70
    assert "/dev/full cannot be written: No space left on device" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.root
@pytest.mark.needs("unshare", "mount")
@pytest.mark.parametrize(("option", "status"), [("--report", 70), ("--ready-file", 70), ("--termination-log", 0)])
def test_a_full_disk(option: str, status: int, tmp_path: Path) -> None:
    """On a full file system, a file that was asked for keeps the gate shut, and the termination message does not."""
    full = 'mount -t tmpfs -o size=4k none "$0" && head -c 8k /dev/zero > "$0/all" 2>/dev/null; exec "$@"'
    disk = tmp_path / "disk"
    disk.mkdir()
    with listening() as port:
        program = ("unshare", "--mount", "sh", "-c", full, str(disk), *GATEKEEPER)
        words = ("wait", f"{option}={disk}/file", f"tcp://127.0.0.1:{port}", "--", "touch", str(tmp_path / "ran"))
        with running(*words, program=program) as process:
            _, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == status, stderr
    assert (tmp_path / "ran").exists() is (status == 0)
    assert "Traceback" not in stderr


@pytest.mark.parametrize(
    "redirection", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2>/dev/full"]
)
def test_closed_streams_change_nothing(redirection: str, tmp_path: Path) -> None:
    """Whichever of stdin, stdout and stderr are closed, the gate stays shut and opens as ever."""
    program = ("sh", "-c", f'exec "$@" {redirection}', "sh", *GATEKEEPER)
    with refusing() as port, listening() as there:
        command = ("--", "touch", str(tmp_path / "ran"))
        with running("wait", "--timeout=1500ms", f"tcp://127.0.0.1:{port}", *command, program=program) as process:
            assert process.wait(PATIENCE) == 124
        assert not (tmp_path / "ran").exists()
        with running("wait", f"tcp://127.0.0.1:{there}", *command, program=program) as process:
            assert process.wait(PATIENCE) == 0
        assert (tmp_path / "ran").exists()


def test_a_log_that_nobody_reads_holds_nothing() -> None:
    """A pipe on stderr that is full holds neither the deadline nor the gate."""
    with refusing() as port:
        names = [f"{'d' * 40}{n}=tcp://127.0.0.1:{port}" for n in range(200)]
        with running("wait", "-v", "--timeout=1s", *names) as process:
            began = time.monotonic()
            assert process.wait(PATIENCE) == 124
    assert time.monotonic() - began < 5


def test_a_terminal_that_nobody_reads_holds_nothing() -> None:
    """A terminal that was stopped, or whose window hangs, holds neither the deadline nor the gate."""
    ours, theirs = pty.openpty()
    with refusing() as port:
        names = [f"{'d' * 40}{n}=tcp://127.0.0.1:{port}" for n in range(200)]
        with running("wait", "-v", "--timeout=1s", *names, stderr=theirs, env={"TERM": "xterm"}) as process:
            began = time.monotonic()
            assert process.wait(PATIENCE) == 124
    os.close(ours)
    os.close(theirs)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "address", ["/missing/socket", "/dev/null", "nonsense", "@", "/" + "x" * 200, "vsock:2:99999999999"]
)
@pytest.mark.parametrize("mode", ["auto", "ready"])
def test_a_broken_notification_socket_changes_nothing(address: str, mode: str, tmp_path: Path) -> None:
    """Whatever NOTIFY_SOCKET names, the gate opens when it should, and stays shut when it should."""
    with refusing() as port, listening() as there:
        words = ("wait", f"--notify={mode}", "--timeout=1500ms")
        shut = run(*words, f"tcp://127.0.0.1:{port}", "--", "touch", tmp_path / "ran", env={"NOTIFY_SOCKET": address})
        assert not (tmp_path / "ran").exists()
        opened = run(*words[:2], f"tcp://127.0.0.1:{there}", env={"NOTIFY_SOCKET": address})
    assert (shut.returncode, opened.returncode) == (124, 0)


def test_a_manager_that_reads_nothing_holds_nothing(tmp_path: Path) -> None:
    """A notification socket whose queue is full costs READY a second at most, and the deadline nothing."""
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other,
        refusing() as port,
        listening() as there,
    ):
        path = str(tmp_path / "notify")
        manager.bind(path)
        other.settimeout(0)
        with suppress(BlockingIOError):
            while True:
                other.sendto(b"X=1", path)
        began = time.monotonic()
        assert run("wait", "--timeout=1500ms", f"tcp://127.0.0.1:{port}", env={"NOTIFY_SOCKET": path}).returncode == 124
        assert run("wait", f"tcp://127.0.0.1:{there}", env={"NOTIFY_SOCKET": path}).returncode == 0
        assert time.monotonic() - began < 10


def test_a_kind_that_fails_in_a_callback_keeps_the_gate_shut(tmp_path: Path) -> None:
    """What is raised where only the event loop would see it, and print it, is a fault as well."""
    broken = (
        "from gatekeeper.probes._command import Run\n"
        "def fail(_): raise RuntimeError('secret')\n"
        "Run._hear = fail\n"
        "from gatekeeper.__main__ import main; main()"
    )
    words = ("wait", "--timeout=20s", "exec:'echo hello' expect=hello", "--", "touch", str(tmp_path / "ran"))
    done = subprocess.run(
        [GATEKEEPER[0], "-c", broken, *words],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 70
    assert "RuntimeError" in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("words", [("plan", "tcp://a:1"), ("kinds",), ("check", "file:///")])
def test_a_page_on_a_full_disk_is_an_error(words: tuple[str, ...]) -> None:
    """What could not be written to stdout is told, and is no success."""
    with open("/dev/full", "w") as full:
        done = run(*words, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 70
    assert done.stderr == "gatekeeper: standard output cannot be written: No space left on device\n"


def test_an_installation_that_is_broken_keeps_the_gate_shut(tmp_path: Path) -> None:
    """Where half of gatekeeper is missing, it says so in a line and leaves with the status of a fault."""
    missing = "import sys; sys.modules['gatekeeper.plan'] = None; from gatekeeper.__main__ import main; main()"
    done = subprocess.run(
        [GATEKEEPER[0], "-c", missing, "wait", "--bypass=x", "--", "touch", str(tmp_path / "ran")],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (
        70,
        "gatekeeper: a fault in gatekeeper: it cannot be loaded (ModuleNotFoundError)\n",
    )
    assert not (tmp_path / "ran").exists()
