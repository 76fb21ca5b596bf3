"""The way to an HTTP server: straight, over a socket file, or by a proxy; and TLS on top where the URL says so.

Asks the environment nothing: a proxy is used only where one is declared.
"""

import socket
from binascii import b2a_base64
from typing import NamedTuple

from gatekeeper.model import Outcome, Reason, failed, waiting
from gatekeeper.probes._connect import MissError, connect, connect_to, outcome_of
from gatekeeper.probes._message import Request
from gatekeeper.probes._stream import SocketStream, Stream
from gatekeeper.probes._url import Url, in_brackets
from gatekeeper.resolve import Peer

_PROXY_AUTHENTICATION_REQUIRED = 407


class Route(NamedTuple):
    """What is declared about the way: at most one of a socket file and a proxy."""

    unix: str | None = None
    proxy: Url | None = None


async def reach(url: Url, route: Route, peer: Peer | None) -> SocketStream:
    """Return a stream to the server of a URL, at this address where one is given; raises `MissError`."""
    if route.unix:
        return SocketStream(_socket_file(route.unix), route.unix)
    if route.proxy:
        return await _by_proxy(url, route.proxy)
    sock, peer = (await connect(peer), peer) if peer else await connect_to(url.host, url.port)
    return SocketStream(sock, str(peer))


def basic(user: bytes) -> bytes:
    """Return the value of an Authorization or Proxy-Authorization field for ``user:password`` (RFC 7617)."""
    return b"Basic " + b2a_base64(user if b":" in user else user + b":", newline=False)


async def _by_proxy(url: Url, proxy: Url) -> SocketStream:
    try:
        sock, peer = await connect_to(proxy.host, proxy.port)
    except MissError as miss:
        # That the proxy is gone does not say that what is behind it is.
        raise MissError(miss.outcome._replace(detail=f"proxy {miss.outcome.detail}", gone=False)) from None
    stream = SocketStream(sock, f"{url.host}:{url.port} by proxy {peer}")
    if url.scheme == "http":
        return stream
    try:
        await _tunnel(stream, url, proxy)
    except BaseException:
        stream.close()
        raise
    return stream


async def _tunnel(stream: Stream, url: Url, proxy: Url) -> None:
    from gatekeeper.probes._http1 import Http1  # noqa: PLC0415 - h11 is not for those who speak HTTP/2 only

    place = f"{in_brackets(url.host)}:{url.port}"
    user = ((b"proxy-authorization", basic(proxy.user)),) if proxy.user else ()
    head = await Http1(stream).ask(Request("CONNECT", place, ((b"host", place.encode()), *user)))
    if 200 <= head.status < 300:  # noqa: PLR2004 - RFC 9110, 9.3.6
        return
    raise MissError(_no_tunnel(head.status, stream.where))


def _no_tunnel(status: int, where: str) -> Outcome:
    if status == _PROXY_AUTHENTICATION_REQUIRED:
        return failed(Reason.FORBIDDEN, f"{where} (the proxy says status {status})")
    return waiting(Reason.UNREACHABLE, f"{where} (the proxy says status {status})")


def _socket_file(path: str) -> socket.socket:
    # Not asyncio's sock_connect: it takes EAGAIN, which here means a full backlog, for a connect under way. This
    # connect(2) never blocks.
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise MissError(outcome_of(error, path)) from None
    try:
        sock.connect(path)
    except OSError as error:
        sock.close()
        raise MissError(_no_socket_file(error, path)) from None
    return sock


def _no_socket_file(error: OSError, path: str) -> Outcome:
    if isinstance(error, FileNotFoundError):
        return waiting(Reason.NOT_FOUND, path, cheap=True, gone=True)
    if isinstance(error, PermissionError):
        return waiting(Reason.FORBIDDEN, path, cheap=True)
    if isinstance(error, BlockingIOError):
        return waiting(Reason.STARTING, f"{path} (its backlog is full)", cheap=True)
    return outcome_of(error, path)
