"""The way to an HTTP server: straight, over a socket file, or by a proxy; and TLS on top where the URL says so.

Asks the environment nothing: a proxy is used only where one is declared.
"""

import socket
from binascii import b2a_base64
from typing import NamedTuple

from gatekeeper.model import Outcome, Reason, failed, waiting
from gatekeeper.probes._connect import connect, connect_to
from gatekeeper.probes._miss import MissError
from gatekeeper.probes._socketfile import connect_file
from gatekeeper.probes._stream import Fields, SocketStream
from gatekeeper.probes._tls import TlsStream, Trust, context_of, secured
from gatekeeper.probes._url import Url
from gatekeeper.resolve import Peer

_PROXY_AUTHENTICATION_REQUIRED = 407


class Route(NamedTuple):
    """Where to connect, and how: at ``peer`` where one is given; at most one of a socket file and a proxy.

    ``connected`` holds a connection to the peer that is there already, for the first request. ``lasting`` is for an
    answer that takes minutes: the kernel then looks after the other side, which may be gone without a word.
    """

    url: Url
    peer: Peer | None = None
    unix: str | None = None
    proxy: Url | None = None
    trust: Trust = Trust()
    server_name: str | None = None
    http2: bool = False
    connected: list[socket.socket] | None = None
    lasting: bool = False

    @property
    def relays(self) -> Url | None:
        """The proxy that reads the request itself, instead of making a tunnel for it."""
        return self.proxy if self.url.scheme == "http" else None

    def elsewhere(self, url: Url) -> "Route":
        """Return the way to another server, without what was declared for this one only."""
        return self._replace(url=url, peer=None, server_name=None)


async def reach(route: Route) -> SocketStream | TlsStream:
    """Return a stream to the server; raises `MissError`."""
    if route.url.scheme == "http":
        return await _plain(route)
    alpn = ("h2", "http/1.1") if route.http2 else ("http/1.1",)
    context = context_of(route.trust._replace(alpn=alpn))
    return await secured(await _plain(route), context, route.server_name or route.url.host)


def credentials_for(proxy: Url) -> Fields:
    """Return the header field that a proxy wants (RFC 9110, 11.7.2; RFC 7617), none where no user is declared."""
    if proxy.user is None:
        return ()
    return ((b"Proxy-Authorization", b"Basic " + b2a_base64(b":".join(proxy.user), newline=False)),)


async def _plain(route: Route) -> SocketStream:
    if route.unix:
        return SocketStream(connect_file(route.unix), route.unix)
    if route.proxy:
        return await _by_proxy(route.url, route.proxy)
    if route.peer:
        sock = route.connected.pop() if route.connected else await connect(route.peer)
        return SocketStream(sock, str(route.peer))
    sock, peer = await connect_to(route.url.host, route.url.port)
    if route.lasting:
        _look_after(sock)
    return SocketStream(sock, str(peer))


def _look_after(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for what, seconds in ((socket.TCP_KEEPIDLE, 15), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3)):
        sock.setsockopt(socket.IPPROTO_TCP, what, seconds)


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


async def _tunnel(stream: SocketStream, url: Url, proxy: Url) -> None:
    from gatekeeper.probes._http1 import Http1  # noqa: PLC0415 - for this option only

    place = url.place.encode()
    status, _ = await Http1(stream).ask("CONNECT", place, ((b"Host", place), *credentials_for(proxy)), b"")
    if not 200 <= status < 300:  # noqa: PLR2004 - RFC 9110, 9.3.6
        raise MissError(_no_tunnel(status, stream.where))


def _no_tunnel(status: int, where: str) -> Outcome:
    if status == _PROXY_AUTHENTICATION_REQUIRED:
        return failed(Reason.FORBIDDEN, f"{where} (the proxy says status {status})")
    return waiting(Reason.UNREACHABLE, f"{where} (the proxy says status {status})")
