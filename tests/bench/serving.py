"""Servers that listen before they serve, and when they said that they do: what their own log tells is the truth.

Each is made once, and run from a copy: a PostgreSQL that recovers and a Redis that loads for so many seconds, and a
MariaDB that takes the time that it takes.
"""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

from kinds.realservers import accepts, free_port, started, until

from .processes import FailedRunError
from .servers import LOOPBACK

HELD = 5.0
_KEYS = 500
_EVERY = 0.001


class Telling(NamedTuple):
    """A server on its way: its port, and where to find when it said that it serves (nanoseconds, monotonic)."""

    port: int
    said: list[int]

    def served_at(self) -> int:
        """Return when it said so; waits for it."""
        until(lambda: self.said, "the server to say that it serves")
        return self.said[0]


class Server(NamedTuple):
    """One to be measured: its program, and what makes and runs it."""

    program: str
    make: Callable[[Path], None]
    run: Callable[[Path], AbstractContextManager[Telling]]


def _postgres_tools() -> Path:
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/usr/lib/postgresql"))


def _as(user: str, folder: Path, *argv: object) -> None:
    with started([str(word) for word in argv], folder=folder, user=user) as made:
        if made.wait():
            msg = f"{argv[0]}: {(folder / 'log').read_text(errors='replace')[-200:]}"
            raise FailedRunError(msg)
    (folder / "log").unlink()


def make_postgres(folder: Path) -> None:
    """Make a standby that takes no connections before it is promoted."""
    _as("postgres", folder, _postgres_tools() / "initdb", "-D", folder / "data", "-A", "trust", "-N")
    (folder / "data" / "standby.signal").touch()
    with (folder / "data" / "postgresql.auto.conf").open("a") as settings:
        settings.write("hot_standby = off\nfsync = off\nunix_socket_directories = ''\n")


@contextmanager
def postgres(folder: Path) -> Iterator[Telling]:
    """Run it, and promote it after a while."""
    port, tools, data = free_port(), _postgres_tools(), folder / "data"
    shutil.chown(data / "standby.signal", "postgres")
    argv = [tools / "postgres", "-D", data, "-c", f"port={port}", "-c", f"listen_addresses={LOOPBACK}"]
    with started(argv, folder=folder, user="postgres", up=lambda: accepts(port)):
        promotion = threading.Timer(HELD, lambda: _promote(tools, data))
        promotion.start()
        try:
            with _heard(folder / "log", b"database system is ready to accept connections") as said:
                yield Telling(port, said)
        finally:
            promotion.cancel()
            promotion.join()


def _promote(tools: Path, data: Path) -> None:
    argv = ["setpriv", "--reuid=postgres", "--clear-groups", tools / "pg_ctl", "promote", "-D", data]
    subprocess.run(argv, check=False, stdout=subprocess.DEVNULL)


def make_redis(folder: Path) -> None:
    """Make a data file."""
    port = free_port()
    argv = ["redis-server", "--port", str(port), "--save", "", "--enable-debug-command", "yes"]
    with started(argv, folder=folder, up=lambda: accepts(port)):
        client = ["redis-cli", "-p", str(port)]
        for command in (["debug", "populate", str(_KEYS), "key", "1024"], ["save"]):
            subprocess.run([*client, *command], check=True, stdout=subprocess.DEVNULL)
    (folder / "log").unlink()


@contextmanager
def redis(folder: Path) -> Iterator[Telling]:
    """Run a Redis that loads it slowly."""
    port = free_port()
    slowly = ["--key-load-delay", str(int(HELD * 1e6 / _KEYS)), "--loading-process-events-interval-bytes", "1024"]
    argv = ["redis-server", "--port", str(port), "--bind", LOOPBACK, *slowly]
    with (
        started(argv, folder=folder, up=lambda: accepts(port)),
        _heard(folder / "log", b"Ready to accept connections") as said,
    ):
        yield Telling(port, said)


def make_mariadb(folder: Path) -> None:
    """Make its tables."""
    argv = ["mariadb-install-db", f"--datadir={folder / 'data'}", "--auth-root-authentication-method=normal"]
    _as("mysql", folder, *argv)


@contextmanager
def mariadb(folder: Path) -> Iterator[Telling]:
    """Run it, and hear when it is ready."""
    port = free_port()
    places = [f"--datadir={folder / 'data'}", f"--socket={folder / 'socket'}", f"--pid-file={folder / 'pid'}"]
    argv = ["mariadbd", "--no-defaults", *places, f"--port={port}", f"--bind-address={LOOPBACK}"]
    with (
        started(argv, folder=folder, user="mysql"),
        _heard(folder / "log", b"ready for connections") as said,
    ):
        yield Telling(port, said)


SERVERS = {
    "postgres": Server(str(_postgres_tools() / "postgres"), make_postgres, postgres),
    "redis": Server("redis-server", make_redis, redis),
    "mysql": Server("mariadbd", make_mariadb, mariadb),
}


@contextmanager
def copied(made: Path, user: str) -> Iterator[Path]:
    """Give a copy of a folder, with its owners, for as long as the block runs."""
    copy = made.with_name(f"{made.name}-run")
    subprocess.run(["cp", "-a", made, copy], check=True)
    if os.geteuid() == 0 and user:
        shutil.chown(copy, user)
    try:
        yield copy
    finally:
        shutil.rmtree(copy)


@contextmanager
def _heard(log: Path, words: bytes) -> Iterator[list[int]]:
    """Note when these words first stand in a log, as long as the block runs."""
    said: list[int] = []
    over = threading.Event()

    def listen() -> None:
        while not over.is_set():
            if words in log.read_bytes():
                said.append(time.monotonic_ns())
                return
            time.sleep(_EVERY)

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield said
    finally:
        over.set()
        thread.join()
