"""HTTP requests: the one home of httpx, for every kind that asks something over HTTP.

httpx knows what requests are: URLs, header fields, credentials, redirects, cookies, content codings. The connections
are ours: made as every kind makes them, one for each request, and what fails is an outcome. The environment (proxies,
netrc) has no say, and what a user declared for one origin is never sent to another.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from typing import NamedTuple

import httpx

from gatekeeper import __version__
from gatekeeper.model import Outcome, Reason, waiting
from gatekeeper.probes._miss import MissError
from gatekeeper.probes._route import Route, credentials_for, reach
from gatekeeper.probes._stream import Fields, Stream, Talk
from gatekeeper.probes._url import read_url
from gatekeeper.values import BadValueError

_FIELDS = {
    "User-Agent": f"gatekeeper/{__version__}",
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "Connection": "close",
}
_CODINGS = ("", "identity", "gzip", "deflate")
# A packed byte can stand for a thousand: unpacked piece by piece, a bomb reaches the cap before it fills the memory.
_PIECE = 4096

_asking: ContextVar[bool] = ContextVar("_asking", default=False)


class Call(NamedTuple):
    """A request to make; ``fields`` and ``auth`` (user and password) are for the origin of the URL only."""

    method: str = "GET"
    fields: Fields = ()
    body: bytes | None = None
    auth: tuple[bytes, bytes] | None = None
    redirects: int = 0


class Answer(NamedTuple):
    """The answer to a call, its body yet to be read; ``where`` is who gave it, as a detail may show it."""

    where: str
    response: httpx.Response

    async def read(self, most: int) -> bytes:
        """Return the body, or its first ``most`` bytes, with the content coding undone; raises `MissError`.

        No coding was asked for (RFC 9110, 12.5.3), and some servers use one all the same.
        """
        unreadable = waiting(Reason.UNWANTED_ANSWER, f"{self.where} (body cannot be decompressed)")
        if self.response.headers.get("content-encoding", "").strip().lower() not in _CODINGS:
            raise MissError(unreadable)
        body = bytearray()
        try:
            async for piece in self.response.aiter_bytes():
                body += piece
                if len(body) >= most:
                    await (
                        self.response.aclose()
                    )  # no break: left half-way, httpx's generators end in tasks of their own
        except httpx.DecodingError:
            raise MissError(unreadable) from None
        return bytes(body[:most])

    @asynccontextmanager
    async def pieces(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """Give the body piece by piece as it comes, for as long as the block lasts; reading raises `MissError`."""
        pieces = self.response.aiter_raw()
        try:
            yield pieces
        finally:
            await self.response.aclose()
            with suppress(httpx.StreamError):  # where nobody has begun to read
                async for _ in pieces:  # closed, it has no more: left half-way, it would end in a task of its own
                    pass


@asynccontextmanager
async def fetch(call: Call, route: Route) -> AsyncIterator[Answer]:
    """Make a request, and those that its redirects ask for; give the answer, and close everything in the end.

    Raises `MissError`.
    """
    transport = _Transport(call, route)
    client = httpx.AsyncClient(
        transport=transport,
        # Without a Host, httpx would write one itself, and stumble over names that DNS has and IDNA 2008 has not.
        headers={"Host": transport.home.netloc.decode(), **_FIELDS},
        auth=call.auth,
        follow_redirects=call.redirects > 0,
        max_redirects=call.redirects,
        timeout=None,  # noqa: S113 - the pace holds the clock
        trust_env=False,
    )
    async with client:
        response = await _sent(client, call, transport)
        yield Answer(transport.where, response)


async def _sent(client: httpx.AsyncClient, call: Call, transport: "_Transport") -> httpx.Response:
    logging.getLogger("httpx").addFilter(_of_others)
    asking = _asking.set(True)
    try:
        request = client.build_request(call.method, transport.home, content=call.body)
        return await client.send(request, stream=True)
    except httpx.TooManyRedirects:
        why = f"{transport.where} (more than {call.redirects} redirects)"
        raise MissError(waiting(Reason.UNWANTED_ANSWER, why)) from None
    except (httpx.InvalidURL, httpx.RemoteProtocolError, UnicodeError):  # httpx reads one foreign thing: a Location
        raise MissError(transport.nowhere()) from None
    finally:
        _asking.reset(asking)


def _of_others(_: logging.LogRecord) -> bool:
    """Tell whether a line of httpx's log is of a request that is not ours: its URL, query and all, is nobody's."""
    return not _asking.get()


class _Transport(httpx.AsyncBaseTransport):
    """The connections of one call, each for one request, one open at a time."""

    def __init__(self, call: Call, route: Route) -> None:
        self.home = httpx.URL(str(route.url))
        self.where = ""
        self._call = call
        self._route = route
        self._strayed = False
        self._stream: Stream | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        redirected = bool(self.where)
        try:
            return await self._ask(request)
        except MissError as miss:
            # The server that redirects is there, whatever is said of the place that it names.
            raise MissError(miss.outcome._replace(gone=miss.outcome.gone and not redirected)) from None

    async def aclose(self) -> None:
        if self._stream:
            self._stream.close()
            self._stream = None

    def nowhere(self) -> Outcome:
        return waiting(Reason.UNWANTED_ANSWER, f"{self.where} (redirects to what is no HTTP URL)")

    async def _ask(self, request: httpx.Request) -> httpx.Response:
        route = self._way(request.url)
        self._stream = await reach(route)
        self.where = self._stream.where
        talk = _talk(self._stream, route)
        fields, target = self._fields(request), request.url.raw_path
        if route.relays:
            fields += credentials_for(route.relays)
            target = f"http://{request.url.netloc.decode()}".encode() + target
        status, said = await talk.ask(request.method, target, fields, await request.aread())
        if not self._call.redirects:
            return _FinalResponse(status, headers=said, stream=_Body(self, talk))
        response = httpx.Response(status, headers=said, stream=_Body(self, talk))
        if not response.has_redirect_location:
            return response
        # httpx would read the body of a redirect to its end, and it need not have one.
        await self.aclose()
        return httpx.Response(status, headers=[field for field in said if field[0] in (b"location", b"set-cookie")])

    def _way(self, url: httpx.URL) -> Route:
        if (url.scheme, url.netloc) == (self.home.scheme, self.home.netloc):
            return self._route
        self._strayed = True
        try:
            return self._route.elsewhere(read_url(f"{url.scheme}://{url.netloc.decode()}"))
        except BadValueError:
            raise MissError(self.nowhere()) from None

    def _fields(self, request: httpx.Request) -> Fields:
        fields = request.headers.copy()  # what is declared must not get into the request that a redirect is made of
        if self._strayed:
            fields.pop("Authorization", None)
        else:
            fields.update(list(self._call.fields))
        return tuple(fields.raw)


def _talk(stream: Stream, route: Route) -> Talk:
    if stream.protocol == "h2" or (route.http2 and route.url.scheme == "http"):
        from gatekeeper.probes._http2 import Http2  # noqa: PLC0415 - h2 is for those who ask for it

        return Http2(stream, route.url.scheme)
    from gatekeeper.probes._http1 import Http1  # noqa: PLC0415 - h11 is not for those who speak HTTP/2 only

    return Http1(stream)


class _FinalResponse(httpx.Response):
    """A response that is judged as it is, be it a redirect or not: httpx does not look at its Location."""

    @property
    def has_redirect_location(self) -> bool:
        return False


class _Body(httpx.AsyncByteStream):
    """The body of an answer in small pieces; closing it closes the connection."""

    def __init__(self, transport: _Transport, talk: Talk) -> None:
        self._transport = transport
        self._talk = talk
        self._closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while not self._closed and (data := await self._talk.more()):
            for start in range(0, len(data), _PIECE):
                if not self._closed:
                    yield data[start : start + _PIECE]

    async def aclose(self) -> None:
        self._closed = True
        await self._transport.aclose()
