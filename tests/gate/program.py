"""The program as a process, and what it is told to wait for: real sockets on loopback, real files."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

GATEKEEPER = (sys.executable, "-m", "gatekeeper")
PATIENCE = 30  # seconds; nothing here takes so long, and a slow machine may
# Nothing of the machine's own reaches the program: no terminal, no colours, no service manager, none of its options.
OURS = ("GATEKEEPER_", "NOTIFY_", "NO_COLOR", "TERM", "COLUMNS", "LINES", "PYTHON")

Words = Sequence[str | bytes | Path]


def environment(**more: str) -> dict[str, str]:
    """Return the environment of this process without what would change the program's behaviour, and more."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OURS)} | more


def run(
    *words: str | bytes | Path, env: Mapping[str, str] | None = None, **how: Any
) -> subprocess.CompletedProcess[str]:
    """Run gatekeeper to its end."""
    how = {"stdin": subprocess.DEVNULL, "text": True} | how
    if "stdout" not in how and "stderr" not in how:
        how["capture_output"] = True
    return subprocess.run((*GATEKEEPER, *words), env=environment(**(env or {})), timeout=PATIENCE, check=False, **how)


@contextmanager
def running(
    *words: str | bytes | Path, env: Mapping[str, str] | None = None, **how: Any
) -> Iterator[subprocess.Popen[str]]:
    """Give a running gatekeeper, its stderr in a pipe; what still runs in the end is killed."""
    how = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | how
    program = how.pop("program", GATEKEEPER)
    with subprocess.Popen((*program, *words), env=environment(**(env or {})), **how) as process:
        try:
            yield process
        finally:
            process.kill()


def events(stderr: str) -> list[dict[str, Any]]:
    """Return the log lines, which must all be JSON objects."""
    return [json.loads(line) for line in stderr.splitlines()]


def names(stderr: str) -> list[str]:
    """Return the names of the events that were logged, in order."""
    return [event["event"] for event in events(stderr)]


@contextmanager
def listening(backlog: int = 128) -> Iterator[int]:
    """Give a port on which connections are accepted (by the kernel) and held."""
    with socket.create_server(("127.0.0.1", 0), backlog=backlog) as server:
        yield server.getsockname()[1]


@contextmanager
def refusing() -> Iterator[int]:
    """Give a port that is taken, so that nobody else gets it, and on which nothing listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@contextmanager
def greeting() -> Iterator[int]:
    """Give a port on which everyone is greeted in a protocol that is not HTTP."""

    def greet(server: socket.socket) -> None:
        while True:
            with server.accept()[0] as connection, suppress(ConnectionError):
                connection.sendall(b"220 hello\r\n")
                if connection.recv(1) == b"!":
                    return

    with socket.create_server(("127.0.0.1", 0)) as server:
        greeter = threading.Thread(target=greet, args=(server,))
        greeter.start()
        yield server.getsockname()[1]
        with socket.create_connection(server.getsockname()) as last:
            last.sendall(b"!")
            greeter.join()


class Listener(NamedTuple):
    """A service manager's end of NOTIFY_SOCKET."""

    sock: socket.socket
    path: str

    def messages(self) -> list[str]:
        """Return what has come so far, a text for each datagram."""
        found = []
        self.sock.settimeout(0)
        while True:
            try:
                data, ancillary, _, _ = self.sock.recvmsg(8192, 1024, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return found
            _close_passed(ancillary)
            found.append(data.decode())

    def next(self) -> str:
        """Wait for one message and return it; a descriptor that comes with it (BARRIER) is closed, as systemd does."""
        self.sock.settimeout(PATIENCE)
        data, ancillary, _, _ = self.sock.recvmsg(8192, 1024)
        _close_passed(ancillary)
        return data.decode()


def _close_passed(ancillary: Sequence[tuple[int, int, bytes]]) -> None:
    for _, kind, data in ancillary:
        if kind == socket.SCM_RIGHTS:
            for at in range(0, len(data) - len(data) % 4, 4):
                os.close(int.from_bytes(data[at : at + 4], sys.byteorder))


@contextmanager
def notify_socket(folder: Path) -> Iterator[Listener]:
    """Give a socket for NOTIFY_SOCKET."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        path = str(folder / "notify")
        sock.bind(path)
        yield Listener(sock, path)


@contextmanager
def reading(folder: Path) -> Iterator[str]:
    """Give the path of a NOTIFY_SOCKET that is read all the time, as a service manager's is."""
    with notify_socket(folder) as manager:
        over = threading.Event()

        def read() -> None:
            while not over.is_set():
                manager.next()

        reader = threading.Thread(target=read)
        reader.start()
        yield manager.path
        over.set()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"over", manager.path)
        reader.join()


def ended_after(process: "subprocess.Popen[str]", number: int) -> float:
    """Send a signal and return the seconds until the process has ended."""
    began = time.monotonic()
    process.send_signal(number)
    process.wait(PATIENCE)
    return time.monotonic() - began


def status_of(number: signal.Signals) -> int:
    """Return the exit status that stands for an end by this signal."""
    return 128 + number
