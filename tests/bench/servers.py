"""What the tools wait for: ports and HTTP endpoints on the loopback interface that open when they are told to.

Sockets listen and nobody accepts: the kernel completes the connection, so that no thread of ours stands between a
tool and its answer. Each server says when it turned, in nanoseconds of the monotonic clock.
"""

import resource
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOOPBACK = "127.0.0.1"
BACKLOG = 64


class Ports:
    """Ports that are taken and refuse, until ``open`` makes them listen."""

    def __init__(self, count: int) -> None:
        """Take ``count`` free ports; bound and not listening, they refuse and nobody else gets them."""
        self._sockets = [socket.socket() for _ in range(count)]
        for taken in self._sockets:
            taken.bind((LOOPBACK, 0))
        self.numbers: list[int] = [taken.getsockname()[1] for taken in self._sockets]
        self.opened_at = 0

    def open(self) -> None:
        """Listen; the clock is read before, so that no tool can seem early."""
        self.opened_at = time.monotonic_ns()
        for taken in self._sockets:
            taken.listen(BACKLOG)

    def drain(self) -> None:
        """Drop the connections of past runs, which would fill the backlog and have later ones ignored."""
        for taken in self._sockets:
            taken.settimeout(0)
            with suppress(BlockingIOError):
                while True:
                    taken.accept()[0].close()

    def close(self) -> None:
        """Give the ports back."""
        for taken in self._sockets:
            taken.close()


class Endpoint(ThreadingHTTPServer):
    """An HTTP server that answers 503 until ``open`` has it answer 200, and notes when each request came."""

    daemon_threads = True

    def __init__(self) -> None:
        """Listen on a free port; ``serve`` below gives it its thread."""
        super().__init__((LOOPBACK, 0), _Answer)
        self.requests: list[int] = []
        self.opened_at = 0

    def open(self) -> None:
        """Answer 200 from now on."""
        self.opened_at = time.monotonic_ns()

    def rate(self) -> float:
        """Return the requests a second: how many followed the first one, over the time they took."""
        span = (self.requests[-1] - self.requests[0]) / 1e9
        return (len(self.requests) - 1) / span if span else 0.0

    def handle_error(self, request: object, client_address: object) -> None:
        """Let a client hang up as it likes; anything else is told."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Endpoint

    def do_GET(self) -> None:
        self.server.requests.append(time.monotonic_ns())
        self.send_response(HTTPStatus.OK if self.server.opened_at else HTTPStatus.SERVICE_UNAVAILABLE)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")

    def log_message(self, *_: object) -> None:
        """Say nothing: requests are counted, not told."""


@contextmanager
def ports(count: int = 1) -> Iterator[Ports]:
    """Take ``count`` ports for as long as the block runs."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    taken = Ports(count)
    try:
        yield taken
    finally:
        taken.close()


@contextmanager
def endpoint() -> Iterator[Endpoint]:
    """Serve HTTP for as long as the block runs."""
    with Endpoint() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def opening(server: Ports | Endpoint, after: float) -> Iterator[None]:
    """Open ``server`` after so many seconds, in another thread."""
    timer = threading.Timer(after, server.open)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
