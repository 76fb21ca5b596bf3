"""`gatekeeper notify` beside systemd-notify, as real processes on a real socket, and what it refuses."""

import array
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from gatekeeper.declaration import BadDeclarationError
from gatekeeper.notify import read

OURS = (sys.executable, "-m", "gatekeeper", "notify")
THEIRS = ("systemd-notify",)


class Message(NamedTuple):
    """A datagram: its lines in an order that does not matter, how many descriptors came, and who sent it."""

    lines: list[str]
    descriptors: int
    pid: int


class Manager:
    """A service manager's socket that reads all the time, and answers barriers by closing what it is sent."""

    def __init__(self, path: Path) -> None:
        """Bind."""
        self.path = path
        self._messages: list[Message] = []
        self._marked = threading.Semaphore(0)
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._sock.bind(str(path))
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def close(self) -> None:
        """End."""
        self._mark(b"X_END=1")
        self._thread.join()
        self._sock.close()

    def messages(self) -> list[Message]:
        """Return what has come since the last call."""
        self._mark(b"X_MARK=1")
        self._marked.acquire()
        found, self._messages = self._messages, []
        return found

    def _mark(self, message: bytes) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
            ours.sendto(message, str(self.path))

    def _read(self) -> None:
        while True:
            data, ancillary, _, _ = self._sock.recvmsg(8192, 4096)
            descriptors, pid = array.array("i"), 0
            for _, kind, body in ancillary:
                if kind == socket.SCM_RIGHTS:
                    descriptors.frombytes(body[: len(body) - len(body) % descriptors.itemsize])
                else:
                    pid = array.array("i", body)[0]
            if data == b"X_END=1":
                return
            if data == b"X_MARK=1":
                self._marked.release()
                continue
            self._messages.append(Message(sorted(data.decode().splitlines()), len(descriptors), pid))
            for descriptor in descriptors:
                os.close(descriptor)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """Return a service manager's socket."""
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


def notify(program: Sequence[str], manager: Manager | None, *words: str, **how: object) -> tuple[int, str]:
    """Run a notifier from a shell, as scripts do, and return its exit status and what it says on stderr."""
    environ = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    if manager:
        environ["NOTIFY_SOCKET"] = str(manager.path)
    script = '"$@" 7</dev/null; status=$?; exit $status'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *program, *words],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **how,  # type: ignore[call-overload]
    )
    return done.returncode, done.stderr


WAYS = [
    ["--ready"],
    ["--ready", "--status=all is well"],
    ["--status=é…"],
    ["--pid=1234"],
    ["READY=1", "X_SHOP_STOCK=3 of 4"],
    ["--ready", "STATUS=both"],
    ["STOPPING=1"],
    ["--ready", "--no-block"],
    ["MAINPID=17", "WATCHDOG=1", "EXTEND_TIMEOUT_USEC=1000000", "ERRNO=2"],
]


@pytest.mark.needs("systemd-notify")
@pytest.mark.parametrize("words", WAYS, ids=" ".join)
def test_it_says_what_systemd_notify_says(manager: Manager, words: list[str]) -> None:
    """The same words make the same messages, a barrier included, and come from the same kind of sender."""
    assert notify(THEIRS, manager, *words)[0] == 0
    theirs = [message._replace(pid=0) for message in manager.messages()]
    assert notify(OURS, manager, *words) == (0, "")
    assert [message._replace(pid=0) for message in manager.messages()] == theirs


def test_what_only_newer_ones_say(manager: Manager) -> None:
    """A reload carries the moment at which it began, READY stands first, and descriptors go along to be kept."""
    assert notify(OURS, manager, "--reloading", "--stopping", "--fd=7", "--fd", "7", "--fdname=null")[0] == 0
    message, barrier = manager.messages()
    assert [line for line in message.lines if not line.startswith("MONOTONIC_USEC=")] == [
        *("FDNAME=null", "FDSTORE=1", "RELOADING=1", "STOPPING=1")
    ]
    assert message.descriptors == 2
    assert barrier.lines == ["BARRIER=1"]
    assert read(["STATUS=x", "--ready"]).assignments == ("READY=1", "STATUS=x")
    assert read(["--reloading"], lambda: 1_234_567).assignments == ("RELOADING=1", "MONOTONIC_USEC=1234")


@pytest.mark.root
def test_the_script_is_the_sender(manager: Manager) -> None:
    """What a script has said comes from the script, which is what a service manager knows."""
    script = '"$@"; echo $$'
    environ = os.environ | {"NOTIFY_SOCKET": str(manager.path)}
    words = ["sh", "-c", script, "sh", *OURS, "--ready"]
    done = subprocess.run(words, env=environ, stdout=subprocess.PIPE, text=True, check=True)
    assert manager.messages()[0].pid == int(done.stdout)


@pytest.mark.root
@pytest.mark.needs("setpriv")
def test_who_may_not_speak_for_another_speaks_for_itself(manager: Manager) -> None:
    """Without the privilege the message goes out all the same."""
    manager.path.chmod(0o777)
    unprivileged = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", *OURS)
    assert notify(unprivileged, manager, "--ready") == (0, "")
    assert [message.lines for message in manager.messages()] == [["READY=1"], ["BARRIER=1"]]


@pytest.mark.parametrize("words", [["--exec", "--ready", ";"], ["--ready", ";", "--"], ["--ready", "--"]])
def test_it_becomes_the_command_afterwards(manager: Manager, words: list[str]) -> None:
    """What stands behind ``;`` or ``--`` has our process id, and everything that we were given."""
    script = 'echo "$$ $NOTIFY_SOCKET" >&2; exit 7'
    environ = os.environ | {"NOTIFY_SOCKET": str(manager.path)}
    with subprocess.Popen(
        [*OURS, *words, "sh", "-c", script], env=environ, stderr=subprocess.PIPE, text=True
    ) as process:
        _, said = process.communicate()
    assert (process.returncode, said) == (7, f"{process.pid} {manager.path}\n")
    assert manager.messages()[0].lines == ["READY=1"]


def test_a_command_starts_although_nobody_listens() -> None:
    """A notification that cannot be sent is told, and holds nothing back."""
    status, said = notify(OURS, None, "--ready", ";", "sh", "-c", "exit 7")
    assert status == 7
    assert said == "gatekeeper: NOTIFY_SOCKET is not set: nobody listens\n"


def test_a_command_that_is_not_there() -> None:
    """Statuses 126 and 127 are as everywhere."""
    assert notify(OURS, None, "--ready", ";", "/no/such/program")[0] == 127


@pytest.mark.parametrize("address", ["/nowhere/notify", "nonsense:1"])
def test_nobody_to_tell_is_told(address: str) -> None:
    """A script can see that it was not heard, as with systemd-notify."""
    environ = os.environ | {"NOTIFY_SOCKET": address}
    done = subprocess.run([*OURS, "--ready"], env=environ, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"gatekeeper: NOTIFY_SOCKET={address!r}: ")


def test_a_barrier_that_nobody_answers_is_no_failure(tmp_path: Path) -> None:
    """A receiver that knows no barriers has the message all the same; waiting for it has an end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        environ = os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        assert subprocess.run([*OURS, "--ready"], env=environ, timeout=60, check=False).returncode == 0
        assert sock.recv(100) == b"READY=1"


def test_every_problem_is_told_and_nothing_is_said(manager: Manager) -> None:
    """What cannot be understood is refused as a whole."""
    status, said = notify(
        OURS, manager, "--redy", "status=x", "STATUS=a\nREADY=1", "--pid=x", "--fd=99", "--fd=x", "--status"
    )
    assert status == 2
    assert said.splitlines() == [
        "gatekeeper: --redy: unknown option; did you mean --ready?",
        "gatekeeper: --status: needs a value: write --status=VALUE",
        "gatekeeper: 'status=x': is no assignment: write KEY=VALUE on one line, the key in capitals, as STATUS=text",
        r"gatekeeper: 'STATUS=a\nREADY=1': " + said.splitlines()[2].removeprefix("gatekeeper: 'status=x': "),
        "gatekeeper: --pid: 'x' is no process: write auto, self, parent or a process id",
        "gatekeeper: --fd: descriptor 99 is not open: pass it, as in 99<FILE",
        "gatekeeper: --fd: 'x' is no whole number from 0 to 1048576",
    ]
    assert manager.messages() == []


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "notify: nothing to say: write KEY=VALUE, or one of --ready, --reloading, --stopping"),
        (["--ready=1"], "--ready: takes no value"),
        (["--ready", "--exec"], r"--exec: no command follows: write --exec [KEY=VALUE]... \; COMMAND [ARG]..."),
        (["--pid=0"], "--pid: '0' is no process: write auto, self, parent or a process id"),
    ],
)
def test_a_problem_says_what_would_be_right(words: list[str], problem: str) -> None:
    """Each mistake has a sentence of its own."""
    with pytest.raises(BadDeclarationError) as error:
        read(words)
    assert str(error.value) == problem


@pytest.mark.parametrize("text", ["a\nREADY=1", "READY=1", "x" * 5000])
def test_a_status_is_one_line_whatever_it_is_made_of(text: str) -> None:
    """Text for people begins no assignment of its own."""
    (said,) = read(["--status", text]).assignments
    assert "\n" not in said
    assert "READY=1" not in said
    assert len(said) < 600


def test_the_process_that_is_named() -> None:
    """The words for processes are those of systemd-notify."""
    assert read(["--pid=self"]).assignments == (f"MAINPID={os.getpid()}",)
    assert read(["--pid=parent"]).assignments == (f"MAINPID={os.getppid()}",)
    assert read(["--pid"]).assignments == read(["--pid=auto"]).assignments == (f"MAINPID={os.getppid()}",)


def test_nothing_heavy_is_loaded() -> None:
    """A script may say something many times: no event loop, no engine, no third-party package is loaded."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "gatekeeper", "notify", "--ready"],
        capture_output=True,
        text=True,
        check=False,
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert not loaded & {"asyncio", "gatekeeper.cli", "gatekeeper.gate", "gatekeeper.plan", "structlog", "subprocess"}


def test_help() -> None:
    """The page lists every option."""
    done = subprocess.run([*OURS, "--help"], capture_output=True, text=True, check=True)
    assert all(
        word in done.stdout
        for word in ("--ready", "--reloading", "--stopping", "--pid", "--fd", "--no-block", "--exec")
    )
