"""Real servers of other people, started as processes of a test on free loopback ports, and ended with its `with`."""

import os
import pwd
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

PATIENCE = 100.0  # seconds that no server takes to start or to end, however slow the machine


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """Return a port of 127.0.0.1 that is free now."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def started(
    argv: Sequence[str | Path],
    *,
    folder: Path,
    up: Callable[[], object] | None = None,
    user: str | None = None,
    environ: dict[str, str] | None = None,
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server, as another user where it refuses root, until the block ends; what it says is in ``folder``/log.

    ``up`` is asked until it says yes, where the server shall have started before the block begins.
    """
    account = pwd.getpwnam(user) if user and os.geteuid() == 0 else None
    who = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env=dict(os.environ) | {"HOME": str(folder)} | (environ or {}),
            start_new_session=True,
            **who,  # type: ignore[call-overload]
        )
    try:
        if up:
            until(lambda: process.poll() is not None or up(), f"{argv[0]} to start")
            assert process.poll() is None, (folder / "log").read_text(errors="replace")
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGCONT)
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition; fail where it never comes."""
    ends = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < ends, f"waited in vain for {what}"
        time.sleep(0.01)


def accepts(port: int) -> bool:
    """Tell whether a port of 127.0.0.1 accepts a connection."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def paused(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Stop a server for the block: its port accepts, by its kernel, and nobody answers."""
    os.killpg(process.pid, signal.SIGSTOP)
    until(lambda: _is_stopped(process.pid), "the server to stop, with all its threads")
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGCONT)


def _is_stopped(pid: int) -> bool:
    threads = Path(f"/proc/{pid}/task").glob("*/stat")
    try:
        return all(thread.read_text().rpartition(")")[2].split()[0] in "Tt" for thread in threads)
    except OSError:  # one has ended meanwhile
        return False
