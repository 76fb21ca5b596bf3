"""Every state in which a wait can be when its time is up or a signal comes; each gives the words that lead into it."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

from program import GATEKEEPER, listening, refusing

# A network of its own, in which the nameserver hears questions and gives no answer: the socket is gatekeeper's own by
# inheritance, and so leaves with it. Needs root.
_NETWORK = 'ip link set lo up && mount --bind "$0" /etc/resolv.conf && exec "$@"'
_NAMESERVER = """
import os, socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
server.set_inheritable(True)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Way(NamedTuple):
    """The way into a state: the arguments, and the program that takes them."""

    words: tuple[str, ...]
    program: tuple[str, ...] = GATEKEEPER


@contextmanager
def resolving(folder: Path) -> Iterator[Way]:
    """A name that no nameserver answers for, while getaddrinfo(3) hangs in a thread."""
    conf = folder / "resolv.conf"
    conf.write_text("nameserver 127.0.0.1\noptions timeout:30 attempts:1\n")
    network = ("unshare", "--net", "--mount", "sh", "-c", _NETWORK, str(conf), GATEKEEPER[0], "-c", _NAMESERVER)
    yield Way(("tcp://hangs.test:1 attempt_timeout=0",), network + GATEKEEPER)


@contextmanager
def connecting(_: Path) -> Iterator[Way]:
    """A port whose queue is full, so that the kernel answers no SYN."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as server,
        socket.socket() as first,
        socket.socket() as next_,
    ):
        for sock in (first, next_):
            sock.settimeout(0)
            sock.connect_ex(server.getsockname())
        yield Way((f"tcp://127.0.0.1:{server.getsockname()[1]} attempt_timeout=0",))


@contextmanager
def reading(_: Path) -> Iterator[Way]:
    """A server that accepts and says nothing of what is expected."""
    with listening() as port:
        yield Way((f"tcp://127.0.0.1:{port} expect=hello attempt_timeout=0",))


@contextmanager
def shaking_hands(_: Path) -> Iterator[Way]:
    """A TLS server that does not answer the first message."""
    with listening() as port:
        yield Way((f"tls://127.0.0.1:{port} attempt_timeout=0",))


@contextmanager
def half_read(_: Path) -> Iterator[Way]:
    """An HTTP server whose answer never ends, a byte at a time."""
    over = threading.Event()

    def drip(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while not over.wait(0.02):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        thread = threading.Thread(target=drip, args=(server,))
        thread.start()
        try:
            yield Way((f"http://127.0.0.1:{server.getsockname()[1]}/ expect_body=end attempt_timeout=0",))
        finally:
            over.set()
            with socket.create_connection(server.getsockname()):  # lets it go where nobody came
                thread.join()


@contextmanager
def running_a_command(folder: Path) -> Iterator[Way]:
    """A command that does not end, nor does its child, which holds its output open."""
    yield Way((f"exec:'sh -c \"sleep 1000 & echo $! > {folder}/pid; sleep 1000\"' attempt_timeout=0",))


@contextmanager
def watching_a_file(folder: Path) -> Iterator[Way]:
    """A file that does not appear."""
    yield Way((f"file://{folder}/missing",))


@contextmanager
def resting(_: Path) -> Iterator[Way]:
    """A long pause between two attempts."""
    with refusing() as port:
        yield Way((f"tcp://127.0.0.1:{port} interval=1h",))


@contextmanager
def delayed(_: Path) -> Iterator[Way]:
    """A first attempt that is far away."""
    with refusing() as port:
        yield Way((f"tcp://127.0.0.1:{port} delay=1h",))


@contextmanager
def watched_for_stability(_: Path) -> Iterator[Way]:
    """A dependency that is there, and has to be for long."""
    with listening(4096) as port:
        yield Way((f"tcp://127.0.0.1:{port} stable_for=1h linger=0",))


@contextmanager
def waiting_for_another(_: Path) -> Iterator[Way]:
    """A dependency whose turn comes after one that is not there, and one that is optional."""
    with refusing() as port, listening() as there:
        yield Way((f"a=tcp://127.0.0.1:{port}", f"b=tcp://127.0.0.1:{there} after=a", "c=file:///missing optional"))


@contextmanager
def a_thousand(folder: Path) -> Iterator[Way]:
    """A thousand dependencies that refuse."""
    with refusing() as port:
        plan = folder / "plan.yaml"
        plan.write_text("dependencies:\n" + "".join(f"  d{n}: tcp://127.0.0.1:{port}\n" for n in range(1000)))
        yield Way((f"--file={plan}",))


STATES: dict[str, Callable[[Path], AbstractContextManager[Way]]] = {
    "connecting": connecting,
    "reading": reading,
    "handshake": shaking_hands,
    "half read": half_read,
    "command": running_a_command,
    "file": watching_a_file,
    "resting": resting,
    "delayed": delayed,
    "stability": watched_for_stability,
    "after": waiting_for_another,
    "thousand": a_thousand,
}


def ran(pid: int) -> bool:
    """Tell whether a process is there and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def gone(pid: int) -> bool:
    """Tell whether a process ends, waiting for it a while."""
    end = time.monotonic() + 10
    while ran(pid) and time.monotonic() < end:
        time.sleep(0.01)
    return not ran(pid)
