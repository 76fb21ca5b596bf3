"""Real servers of known badness on loopback addresses and Unix sockets, each named by what it does to a client.

A server runs in threads of its own, so that a test's event loop stays the prober's alone, and ends with its `with`.
"""

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

MARK = b"PASSWORD-7f3a"  # what no detail may repeat
_accepted: set[str] = set()
Manners = Callable[[socket.socket, threading.Event], None]


def silent(_client: socket.socket, over: threading.Event) -> None:
    """Accept, and never say a word."""
    over.wait()


def hung_up(_client: socket.socket, _over: threading.Event) -> None:
    """Accept, and close at once."""


def reset(client: socket.socket, _over: threading.Event) -> None:
    """Accept, and reset the connection."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def garbage(client: socket.socket, over: threading.Event) -> None:
    """Say what belongs to no protocol, and wait."""
    client.sendall(b"\x00\xff\x80" + MARK + b"\r\n\r\n\x1b[31m")
    over.wait()


def garbage_and_gone(client: socket.socket, _over: threading.Event) -> None:
    """Say what belongs to no protocol, and hang up."""
    client.sendall(b"\x00\xff\x80" + MARK + b"\r\n\r\n\x1b[31m")


def endless(client: socket.socket, over: threading.Event) -> None:
    """Talk without an end and without a line break."""
    while not over.is_set():
        client.sendall(MARK * 500)


def slow(client: socket.socket, over: threading.Event) -> None:
    """Say a byte every 20 ms."""
    while not over.wait(0.02):
        client.sendall(b"H")


EVERY: tuple[Manners, ...] = (silent, hung_up, reset, garbage, garbage_and_gone, endless, slow)


def saying(*parts: bytes, pause: float = 0.0, hang_up: bool = False) -> Manners:
    """Return a server that says these parts with pauses of so many seconds between them, and then waits or hangs up."""

    def say(client: socket.socket, over: threading.Event) -> None:
        for part in parts:
            client.sendall(part)
            over.wait(pause)
        if not hang_up:
            over.wait()

    return say


@contextmanager
def serving(manners: Manners, *, host: str = "127.0.0.1", port: int = 0, path: str = "") -> Iterator[int]:
    """Serve on a TCP address, or on a Unix socket at ``path``; give the port (0 for a Unix socket)."""
    listener = bound(host, port, path)
    listener.listen(64)
    over = threading.Event()
    threads: list[threading.Thread] = []
    clients: list[socket.socket] = []

    def tend(client: socket.socket) -> None:
        with client, suppress(OSError):
            manners(client, over)

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            clients.append(client)
            _accepted.add(f"{client.fileno()} {os.readlink(f'/proc/self/fd/{client.fileno()}')}")
            threads.append(threading.Thread(target=tend, args=(client,)))
            threads[-1].start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield 0 if path else listener.getsockname()[1]
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        acceptor.join()
        listener.close()
        for client in clients:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()


@contextmanager
def refusing(host: str = "127.0.0.1", path: str = "") -> Iterator[int]:
    """Hold an address at which nothing listens, and give its port."""
    with bound(host, 0, path) as held:
        yield 0 if path else held.getsockname()[1]


@contextmanager
def half_open(host: str = "127.0.0.1", port: int = 0, path: str = "") -> Iterator[int]:
    """Listen with a full backlog, so that no further connection is ever completed, and give the port."""
    fillers: list[socket.socket] = []
    with bound(host, port, path) as listener:
        listener.listen(0)
        address = listener.getsockname()
        try:
            while True:
                fillers.append(socket.socket(listener.family, socket.SOCK_STREAM))
                fillers[-1].settimeout(0.1)
                fillers[-1].connect(address)
        except (TimeoutError, BlockingIOError):
            yield 0 if path else int(address[1])
        finally:
            for filler in fillers:
                filler.close()


def bound(host: str, port: int, path: str) -> socket.socket:
    """Return a stream socket that is bound and does not listen."""
    if path:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind("\0" + path[1:] if path.startswith("@") else path)
        return sock
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    return sock


def descriptors() -> set[str]:
    """Return what this process has open, as number and target, without what the servers here have accepted."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
    return {entry for entry in found if "/proc/" not in entry and entry not in _accepted}


def left_over(before: set[str]) -> set[str]:
    """Return what has been open since ``before``, once the servers here have taken note of their own."""
    until = time.monotonic() + 5
    while (more := descriptors() - before) and time.monotonic() < until:
        time.sleep(0.005)
    return more
