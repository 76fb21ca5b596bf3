"""``gatekeeper serve`` as a native sidecar: holds, then hears a neighbour over a shared folder."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from gatekeeper.announce.relay import Relay

pytestmark = pytest.mark.usefixtures("measured")

GATEKEEPER = (sys.executable, "-m", "gatekeeper")
LIMIT = 30  # seconds that nothing takes, however slow the machine


class Sidecar:
    """A running ``gatekeeper serve`` with the folder that it shares."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path) -> None:
        """Take the process."""
        self.process, self.folder = process, folder

    def asked(self, question: str) -> tuple[int, str]:
        """Ask by ``gatekeeper status``."""
        where = f"--status=unix:{self.folder}/status.sock"
        done = subprocess.run([*GATEKEEPER, "status", where, question], stdout=subprocess.PIPE, text=True, check=False)
        return done.returncode, done.stdout.strip()

    def until(self, question: str, answer: tuple[int, str]) -> None:
        """Ask until this is the answer."""
        end = time.monotonic() + LIMIT
        while (found := self.asked(question)) != answer:
            assert time.monotonic() < end, found

    def hear(self, message: bytes) -> None:
        """Say something as a neighbour does."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(message, str(self.folder / "notify.sock"))


@contextmanager
def serving(folder: Path, *words: str, **env: str) -> Iterator[Sidecar]:
    """Give a running sidecar."""
    where = (f"--status=unix:{folder}/status.sock", f"--notify-socket={folder}/notify.sock")
    environ = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"} | env
    with subprocess.Popen(
        [*GATEKEEPER, "serve", *where, *words], stderr=subprocess.PIPE, text=True, env=environ
    ) as process:
        try:
            yield Sidecar(process, folder)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.communicate(timeout=LIMIT)


@contextmanager
def ignoring(number: int) -> Iterator[None]:
    """Have what is started within the block ignore a signal."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, before)


def test_the_start_is_held_until_the_gate_is_open(tmp_path: Path) -> None:
    """Its startup probe succeeds with the gate, its readiness probe with what the neighbour says."""
    with serving(tmp_path, f"db=file://{tmp_path}/there") as it:
        it.until("--started", (1, f"waiting: 1 of 1 not ready: db (not_found: {tmp_path}/there)"))
        (tmp_path / "there").touch()
        it.until("--started", (0, "started"))
        it.until("--ready", (1, "starting"))
        it.hear(b"READY=1\nSTATUS=open")
        it.until("--ready", (0, "ready: open"))
        it.hear(b"STOPPING=1")
        it.until("--ready", (1, "stopping: open"))
        it.hear(b"READY=1")  # its container has been started again
        it.until("--ready", (0, "ready"))
        it.process.send_signal(signal.SIGTERM)
        assert it.process.wait(LIMIT) == 143


def test_a_gate_that_stays_shut_ends_it(tmp_path: Path) -> None:
    """The kubelet then starts the sidecar again, and nothing behind it."""
    with serving(tmp_path, "--timeout=100ms", f"file://{tmp_path}/there") as it:
        assert it.process.wait(LIMIT) == 124
    assert not (tmp_path / "notify.sock").exists()


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGRTMIN + 3])
@pytest.mark.parametrize("is_there", [True, False], ids=["behind the open gate", "while it waits"])
def test_whatever_signal_ends_it_no_socket_file_is_left(is_there: bool, number: int, tmp_path: Path) -> None:  # noqa: FBT001 - a parameter of the test
    """A signal that would kill it ends it as SIGTERM does, and both files are removed from the shared folder."""
    missing = tmp_path / "missing"
    with serving(tmp_path, "file:///" if is_there else f"db=file://{missing}") as it:
        it.until("--ready", (1, "starting" if is_there else f"waiting: 1 of 1 not ready: db (not_found: {missing})"))
        assert {path.name for path in tmp_path.iterdir()} == {"status.sock", "notify.sock"}
        it.process.send_signal(number)
        assert it.process.wait(LIMIT) == 128 + number
        assert list(tmp_path.iterdir()) == []


def test_a_signal_that_was_ignored_on_entry_does_not_end_it(tmp_path: Path) -> None:
    """What its parent ignores goes on being ignored, whichever other signals end it."""
    with ignoring(signal.SIGUSR1), serving(tmp_path, "--notify=ready", "file:///") as it:
        it.until("--ready", (0, "ready"))
        it.process.send_signal(signal.SIGUSR1)
        assert it.asked("--ready") == (0, "ready")
        it.process.send_signal(signal.SIGTERM)
        assert it.process.wait(LIMIT) == 143


def test_a_neighbour_that_knows_nothing_of_it(tmp_path: Path) -> None:
    """With --notify=ready it is ready as soon as the gate is open."""
    with serving(tmp_path, "--notify=ready", "file:///") as it:
        it.until("--ready", (0, "ready"))


def test_a_silent_neighbour_is_not_alive(tmp_path: Path) -> None:
    """A liveness probe of the neighbour's container has it started again, and then it counts anew."""
    with serving(tmp_path, "--watchdog=200ms", "file:///") as it:
        it.until("--ready", (1, "starting"))
        it.hear(b"READY=1")
        it.until("--live", (1, "stopping: its watchdog was silent after 200ms"))
        it.hear(b"READY=1\nWATCHDOG_USEC=600000000")  # else it may be silent for too long again before we have asked
        it.until("--live", (0, "alive"))


def test_a_neighbour_may_ask_for_more_time_and_give_up(tmp_path: Path) -> None:
    """What puts off a limit of a tended command, changes or trips it, does so here."""
    with serving(tmp_path, "--start-timeout=4s", "--watchdog=4s", "file:///") as it:
        it.until("--ready", (1, "starting"))
        it.hear(b"EXTEND_TIMEOUT_USEC=600000000")
        time.sleep(4.5)  # longer than the start may take
        assert it.asked("--live") == (0, "alive")
        it.hear(b"READY=1\nWATCHDOG_USEC=600000000")
        it.until("--ready", (0, "ready"))
        time.sleep(4.5)  # longer than it may be silent
        assert it.asked("--live") == (0, "alive")
        it.hear(b"WATCHDOG=trigger")
        it.until("--live", (1, "stopping: it triggered its watchdog"))


@pytest.mark.parametrize("said", ["argument", "variable", "plan file"])
@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("stop_timeout", "5s", "serve ends nobody, its neighbour is stopped by who started it: leave it out"),
        ("notify_access", "main", "serve cannot tell the processes of its neighbour apart: write all or none"),
        ("notify_access", "exec", "serve cannot tell the processes of its neighbour apart: write all or none"),
        ("start_timeout", "5s", "with --notify=ready nobody hears what the neighbour says: leave one out"),
        ("watchdog", "5s", "with --notify=ready nobody hears what the neighbour says: leave one out"),
    ],
)
def test_what_would_have_no_effect_is_a_bad_declaration(
    key: str, value: str, problem: str, said: str, tmp_path: Path
) -> None:
    """What it cannot keep is refused with its place, wherever it was said, and nothing is probed or opened."""
    words, environ = ["--status=off", f"--notify-socket={tmp_path}/notify.sock", "db=file:///"], dict(os.environ)
    if "--notify=ready" in problem:
        words.append("--notify=ready")
    if said == "argument":
        place = "--" + key.replace("_", "-")
        words.append(f"{place}={value}")
    elif said == "variable":
        place = f"GATEKEEPER_{key.upper()}"
        environ[place] = value
    else:
        place = f"{tmp_path}/plan.yaml: {key}"
        (tmp_path / "plan.yaml").write_text(f"{key}: {value}\n")
        words.append(f"--file={tmp_path}/plan.yaml")
    done = subprocess.run(
        [*GATEKEEPER, "serve", *words], capture_output=True, text=True, env=environ, check=False, timeout=LIMIT
    )
    assert (done.returncode, f"{place}: {problem}\n" in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "notify.sock").exists()


def test_what_says_nothing_new_is_no_problem(tmp_path: Path) -> None:
    """No limit at all is what it keeps, and replaces the limit of a variable that is meant for others."""
    words = ("--stop-timeout=0", "--notify-access=none", "--notify=ready", "file:///")
    with serving(tmp_path, *words, GATEKEEPER_STOP_TIMEOUT="5s") as it:
        it.until("--ready", (0, "ready"))


@pytest.mark.parametrize("path", ["/proc/nowhere/notify.sock", "x" * 200])
def test_a_socket_that_cannot_be_had_is_told_before_anything_is_probed(path: str, tmp_path: Path) -> None:
    """A gate that could not keep its word does not open first."""
    done = subprocess.run(
        [*GATEKEEPER, "serve", "--status=off", f"--notify-socket={path}", f"--ready-file={tmp_path}/ready", "file:///"],
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT,
    )
    assert done.returncode == 2
    assert "--notify-socket: " in done.stderr
    assert "gate.open" not in done.stderr
    assert not (tmp_path / "ready").exists()


def test_what_was_never_there_is_not_lost(tmp_path: Path) -> None:
    """With --any, it is ready for as long as any of those that opened the gate is there."""
    one, other, never = (tmp_path / name for name in ("one", "other", "never"))
    one.touch()
    words = [f"{path.name}=file://{path} max_interval=50ms" for path in (one, other, never)]
    with serving(tmp_path, "--any", "--keep-watching", "--notify=ready", *words) as it:
        it.until("--ready", (0, "ready"))
        one.unlink()
        it.until("--ready", (1, "ready, but lost: one (not_found)"))
        one.touch()
        it.until("--ready", (0, "ready"))


def test_a_neighbour_that_does_not_start(tmp_path: Path) -> None:
    """A start that takes too long is told likewise."""
    with serving(tmp_path, "--start-timeout=200ms", "file:///") as it:
        it.until("--live", (1, "stopping: not ready after 200ms (--start-timeout)"))


@pytest.mark.root
@pytest.mark.needs("setpriv")
@pytest.mark.parametrize(("words", "heard"), [((), False), (("--notify-uid=7,1234",), True)])
def test_users_that_may_speak(words: tuple[str, ...], heard: bool, open_path: Path) -> None:  # noqa: FBT001 - a parameter of the test
    """Others than root and our own user are heard where they are named, and told of where they are not."""
    with serving(open_path, *words, "file:///") as it:
        it.until("--ready", (1, "starting"))
        script = "import socket, sys; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', sys.argv[1])"
        as_other = ["setpriv", "--reuid=1234", "--clear-groups", "/usr/bin/python3", "-I", "-c", script]
        subprocess.run([*as_other, open_path / "notify.sock"], check=True)
        if heard:
            it.until("--ready", (0, "ready"))
        else:
            assert it.process.stderr
            while "user 1234 may not speak: --notify-uid=1234 lets it" not in it.process.stderr.readline():
                assert it.process.poll() is None
            assert it.asked("--ready") == (1, "starting")


def test_what_is_lost_is_told_and_what_is_back(tmp_path: Path) -> None:
    """With --keep-watching a dependency that goes away makes it unready, and one that comes again ready."""
    there = tmp_path / "there"
    there.touch()
    with serving(tmp_path, "--keep-watching", "--notify=ready", f"db=file://{there} max_interval=50ms") as it:
        it.until("--ready", (0, "ready"))
        there.unlink()
        it.until("--ready", (1, "ready, but lost: db (not_found)"))
        assert it.asked("--live") == (0, "alive")
        there.touch()
        it.until("--ready", (0, "ready"))


def largest(pid: int) -> int:
    """Return the most memory that a process has had, in KiB (proc(5), VmHWM)."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1])


def test_a_flood_of_messages_holds_no_gate_and_takes_no_room(tmp_path: Path) -> None:
    """Who speaks without an end waits for itself: the gate opens, the rest is heard, a signal ends it."""
    ended = threading.Event()

    def flood() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.connect(str(tmp_path / "notify.sock"))
            with suppress(OSError):  # it has ended meanwhile
                while not ended.is_set():
                    sock.send(b"STATUS=" + b"x" * 3000)

    with serving(tmp_path, "--notify-access=all", f"db=file://{tmp_path}/there") as it:
        it.until("--started", (1, f"waiting: 1 of 1 not ready: db (not_found: {tmp_path}/there)"))
        before = largest(it.process.pid)
        floods = threading.Thread(target=flood)
        floods.start()
        try:
            (tmp_path / "there").touch()
            it.until("--started", (0, "started"))
            it.hear(b"READY=1\nSTATUS=open")
            it.until("--ready", (0, f"ready: {'x' * 3000}"))
            assert largest(it.process.pid) - before < 8192
            it.process.send_signal(signal.SIGTERM)
            assert it.process.wait(LIMIT) == 143
        finally:
            ended.set()
            floods.join(LIMIT)


def test_a_socket_file_that_cannot_be_opened_to_all_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system may know sockets and no modes: the next run would find a file that nobody hears."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", refuse)
    path = tmp_path / "notify.sock"
    with pytest.raises(PermissionError):
        Relay(str(path), may_speak=lambda _: None, hear=lambda _: None, note=lambda _: None)
    assert not path.exists()


def test_what_the_neighbour_says_goes_on_outside(tmp_path: Path) -> None:
    """A service manager outside hears READY first and alone, and only once the neighbour has said so."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as outside:
        outside.bind(str(tmp_path / "outside"))
        outside.settimeout(LIMIT)
        with serving(tmp_path, "file:///", NOTIFY_SOCKET=str(tmp_path / "outside")) as it:
            it.until("--started", (0, "started"))
            it.until("--ready", (1, "starting"))
            it.hear(b"STATUS=open\nREADY=1")
            heard = []
            while not heard or heard[-1] != b"READY=1":
                heard.append(outside.recv(4096))
            assert not any(b"READY=1" in message for message in heard[:-1])
            assert outside.recv(4096) == b"STATUS=open"
