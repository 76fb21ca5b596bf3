"""Loopback servers for the HTTP and TLS kinds, each named by how it behaves, and a way to attempt at them."""

import asyncio
import gzip
import itertools
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events

from gatekeeper.model import Outcome
from gatekeeper.probes import load
from gatekeeper.values import shown

Talk = Callable[[socket.socket], None]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PATIENCE = 10.0


class Server:
    """A listening socket; every connection has a thread that runs ``talk`` and hangs up at its end."""

    def __init__(self, talk: Talk, listener: socket.socket, context: ssl.SSLContext | None = None) -> None:
        """Take what is said on each connection; with a context, inside TLS."""
        self._talk = talk
        self._listener = listener
        self._context = context
        self._open: dict[socket.socket, threading.Thread] = {}
        self._changed = threading.Condition()
        self.accepted = 0
        self.port = 0 if listener.family is socket.AF_UNIX else int(listener.getsockname()[1])
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    def all_hung_up(self) -> bool:
        """Wait until no connection is open, and tell whether it came to that."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._open, PATIENCE)

    def close(self) -> None:
        """Hang up on everybody and stop."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        with self._changed:
            left = dict(self._open)
            for connection in left:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in left.values():
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,))
            with self._changed:
                self.accepted += 1
                self._open[connection] = thread
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), ExitStack() as stack:
            stack.callback(self._forget, connection)
            stack.enter_context(connection)
            if not self._context:
                return self._talk(connection)
            # A second descriptor, because wrapping takes the first one away from `close`.
            inner = stack.enter_context(self._context.wrap_socket(connection.dup(), server_side=True))
            return self._talk(inner)

    def _forget(self, connection: socket.socket) -> None:
        with self._changed:
            self._open.pop(connection, None)
            self._changed.notify_all()


@contextmanager
def serving(
    talk: Talk,
    *,
    context: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    unix: Path | None = None,
) -> Iterator[Server]:
    """Run a server on a free port, or on a socket file."""
    family = socket.AF_UNIX if unix else socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(str(unix) if unix else (host, port))
    listener.listen(64)
    server = Server(talk, listener, context)
    try:
        yield server
    finally:
        server.close()


def tls_server(cert: Path, key: Path, *, ca: Path | None = None, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
    """Return a server's side of TLS; with ``ca``, clients must show a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    if ca:
        context.load_verify_locations(ca)
        context.verify_mode = ssl.CERT_REQUIRED
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def request_of(connection: socket.socket) -> bytes:
    """Read one request with its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return data
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    while len(body) < int(lengths[0] if lengths else 0):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def until_hung_up(connection: socket.socket) -> None:
    """Say nothing more, and wait for the other side to leave."""
    while connection.recv(65536):
        pass


def answering(*answers: bytes, seen: list[bytes] | None = None) -> Talk:
    """Answer the n-th request with the n-th of these, the last one again and again, and hang up after each."""
    left = itertools.chain(answers, itertools.repeat(answers[-1]))

    def talk(connection: socket.socket) -> None:
        request = request_of(connection)
        if seen is not None:
            seen.append(request)
        connection.sendall(next(left))
        with suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
            until_hung_up(connection)

    return talk


def answer(status: int = 200, body: bytes = b"", **headers: str) -> bytes:
    """Return an answer; underscores in names of headers stand for dashes."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def tunnel_to(port: int, seen: list[bytes]) -> Talk:
    """Return what a proxy does that makes a tunnel (CONNECT) to a port, wherever it is to lead; notes requests."""

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def talk(connection: socket.socket) -> None:
        seen.append(request_of(connection))
        with socket.create_connection(("127.0.0.1", port)) as onward:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=pump, args=(onward, connection))
            back.start()
            pump(connection, onward)
            back.join()

    return talk


def silent(connection: socket.socket) -> None:
    """Accept, and never say a word."""
    until_hung_up(connection)


def hanging_up(connection: socket.socket) -> None:
    """Hang up at once."""
    connection.shutdown(socket.SHUT_RDWR)


def hanging_up_later(connection: socket.socket) -> None:
    """Hang up once the request is there."""
    request_of(connection)


def resetting(connection: socket.socket) -> None:
    """Reset the connection once the request is there."""
    request_of(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def endlessly(start: bytes, again: bytes, pause: float = 0.0) -> Talk:
    """Say ``start``, and then the same thing until the other side leaves."""

    def talk(connection: socket.socket) -> None:
        request_of(connection)
        connection.sendall(start)
        while True:
            connection.sendall(again)
            if pause:
                time.sleep(pause)

    return talk


def bomb() -> bytes:
    """Return an answer of 200 KiB that unpacks to 200 MiB."""
    return answer(200, gzip.compress(bytes(200 * 1024 * 1024), 9), Content_Encoding="gzip")


def speaking_h2(seen: list[dict[bytes, bytes]], status: int = 200, body: bytes = b'{"status": "ok"}') -> Talk:
    """Answer every request of HTTP/2."""

    def talk(connection: socket.socket) -> None:
        protocol = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        protocol.initiate_connection()
        connection.sendall(protocol.data_to_send())
        while data := connection.recv(65536):
            for event in protocol.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    seen.append(dict(event.headers))
                elif isinstance(event, h2.events.DataReceived):
                    seen[-1][b"body"] = seen[-1].get(b"body", b"") + event.data
                    protocol.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    protocol.send_headers(event.stream_id, [(b":status", str(status).encode())])
                    protocol.send_data(event.stream_id, body, end_stream=True)
            connection.sendall(protocol.data_to_send())

    return talk


def probe(target: str, **options: str | tuple[str, ...] | bool) -> Any:
    """Make a probe; True is a bare flag, a tuple an option that is given several times."""
    texts = {
        key: () if value is True else value if isinstance(value, tuple) else (str(value),)
        for key, value in options.items()
    }
    return load(target.partition(":")[0]).parse(target, texts)


def outcome(target: str, *, limit: float = PATIENCE, **options: str | tuple[str, ...] | bool) -> Outcome:
    """Make one attempt; where it is not over within so many seconds, TimeoutError says at which step it was."""

    async def bounded() -> Outcome:
        task = asyncio.ensure_future(probe(target, **options).attempt())
        done, _ = await asyncio.wait([task], timeout=limit)
        if done:
            return task.result()
        task.cancel()
        try:
            return await task
        except asyncio.CancelledError as cancelled:
            message = f"{shown(limit)} are over, {'; '.join(getattr(cancelled, '__notes__', ['unknown']))}"
            raise TimeoutError(message) from None

    return asyncio.run(bounded())
