"""Requests to an API server: one object, a whole list, a watch, a change. One answer each; nothing is tried again.

Two things only are asked twice: with a new token where the old one is not taken, and a list whose pages expired on the
way (410). Time limits are the caller's. What a server says is never shown but for its status and its reason.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode

from gatekeeper.kube.access import Access
from gatekeeper.kube.credential import Given, credentials
from gatekeeper.model import Outcome, Reason, failed, waiting
from gatekeeper.probes._answer import seconds_of
from gatekeeper.probes._miss import MissError
from gatekeeper.probes._route import Route

if TYPE_CHECKING:
    from gatekeeper.probes._http import Answer  # loads httpx

Object = dict[str, Any]
Query = Mapping[str, str]

PAGE = 500
MOST_BODY = 64 * 1024 * 1024
MOST_EVENT = 8 * 1024 * 1024
_MOST_STATUS = 64 * 1024
_UNAUTHORIZED, _GONE, _TOO_MANY = 401, 410, 429


class ApiError(Exception):
    """Raised for an answer that says no: the Status object of the API (meta/v1), or a plain HTTP status.

    ``reason`` is a word as ``Forbidden`` or ``Expired``, empty where none was given. ``message`` is the server's, which
    may name users and objects: it is for those who look for a word in it. ``retry_after`` is in seconds.
    """

    def __init__(
        self, where: str, status: int, reason: str = "", message: str = "", retry_after: float | None = None
    ) -> None:
        """Take what was answered by whom."""
        super().__init__(f"{where} (status {status}{f' {reason}' if reason else ''})")
        self.where, self.status, self.reason, self.message, self.retry_after = (
            where,
            status,
            reason,
            message,
            retry_after,
        )

    @property
    def outcome(self) -> Outcome:
        """What the answer means for a dependency: permission is not granted by waiting, all else may pass."""
        if self.status == 403:  # noqa: PLR2004 - as the next ones, RFC 9110, 15.5 and 15.6
            return failed(Reason.FORBIDDEN, str(self))
        if self.status == _UNAUTHORIZED:
            return waiting(Reason.FORBIDDEN, str(self), retry_after=self.retry_after)  # a token may be a new one soon
        if self.status == 404:  # noqa: PLR2004
            # Only an API server knows what it has not; a page that is not there says nothing of an object.
            return waiting(Reason.NOT_FOUND, str(self), gone=self.reason == "NotFound")
        if self.status == _TOO_MANY or self.status >= 500:  # noqa: PLR2004
            return waiting(Reason.STARTING, str(self), retry_after=self.retry_after)
        return waiting(Reason.UNWANTED_ANSWER, str(self), retry_after=self.retry_after)


class Client:
    """Requests by one way; every one raises `ApiError` for a no, and `MissError` where no answer was to be had."""

    def __init__(self, access: Access) -> None:
        """Take the way; nothing is connected yet."""
        self.access = access

    async def get(self, path: str, query: Query | None = None) -> Object:
        """Return one object; ``path`` is that of the API, as ``/api/v1/namespaces/shop/pods/web``."""
        async with self._ask("GET", path, query or {}) as answer:
            return await _object_of(answer)

    async def list(self, path: str, query: Query | None = None) -> Object:
        """Return a whole list, which is fetched in pages."""
        first = {**(query or {}), "limit": str(PAGE)}
        try:
            whole = await self.get(path, first)
            _items(whole, self.access)
            while more := whole["metadata"].pop("continue", ""):
                page = await self.get(path, {**first, "continue": more})
                whole["items"] += _items(page, self.access)
                whole["metadata"] = page["metadata"]
        except ApiError as error:
            if error.status != _GONE:
                raise
            # The history behind the pages is gone, and might be once more: in one piece, it cannot be.
            whole = await self.get(path, query)
            _items(whole, self.access)
        whole["metadata"].pop("remainingItemCount", None)
        return whole

    @asynccontextmanager
    async def watch(self, path: str, query: Query | None = None) -> AsyncIterator["Events"]:
        """Give the events of a watch as pairs of type and object; the connection is closed with the block.

        They end where the server ends the watch. An event of type ERROR is raised as `ApiError`.
        """
        asked = {**(query or {}), "watch": "1"}
        async with self._ask("GET", path, asked, lasting=True) as answer, answer.pieces() as pieces:
            yield Events(answer.where, pieces)

    async def patch(
        self, path: str, body: object, content_type: str = "application/strategic-merge-patch+json"
    ) -> Object:
        """Change an object and return it; ``content_type`` says what kind of change ``body`` is."""
        async with self._ask("PATCH", path, {}, body=body, content_type=content_type) as answer:
            return await _object_of(answer)

    async def create(self, path: str, body: Object) -> Object:
        """Make an object, by the path of its list, and return it."""
        async with self._ask("POST", path, {}, body=body, content_type="application/json") as answer:
            return await _object_of(answer)

    @asynccontextmanager
    async def _ask(
        self,
        method: str,
        path: str,
        query: Query,
        *,
        body: object = None,
        content_type: str = "",
        lasting: bool = False,
    ) -> AsyncIterator["Answer"]:
        from gatekeeper.probes._http import Call, fetch  # noqa: PLC0415 - loads httpx, which a declaration does not need

        given = await credentials(self.access)
        data = None if body is None else json.dumps(body).encode()
        fields = ((b"Accept", b"application/json"), *(((b"Content-Type", content_type.encode()),) if data else ()))
        route = self._route(path, query, given, lasting=lasting)
        async with fetch(Call(method, fields + given.fields, data), route) as answer:
            error = await _error_of(answer)
            if error is None:
                yield answer
                return
        fresh = await credentials(self.access, refused=given) if error.status == _UNAUTHORIZED else given
        if fresh[:2] == given[:2]:
            raise error
        route = self._route(path, query, fresh, lasting=lasting)
        async with fetch(Call(method, fields + fresh.fields, data), route) as answer:
            error = await _error_of(answer)
            if error is not None:
                raise error
            yield answer

    def _route(self, path: str, query: Query, given: Given, *, lasting: bool) -> Route:
        way = self.access
        whole = way.url.path.partition("?")[0].rstrip("/") + path + (f"?{urlencode(query)}" if query else "")
        url = way.url._replace(path=whole, user=None)
        return Route(url, proxy=way.proxy, trust=given.trust, server_name=way.server_name, lasting=lasting)


class Events:
    """The events of one watch, newline-delimited JSON (meta/v1, WatchEvent), one after the other."""

    def __init__(self, where: str, pieces: AsyncIterator[bytes]) -> None:
        """Take what comes."""
        self.where = where
        self._pieces = pieces
        self._held = bytearray()
        self._searched = 0

    def __aiter__(self) -> Self:
        """Return the events themselves."""
        return self

    async def __anext__(self) -> tuple[str, Object]:
        """Return the next event; raises `ApiError` for one of type ERROR, and `MissError`."""
        while True:
            line = await self._line()
            if not line.strip():
                continue
            event = _parsed(line, self.where)
            kind, thing = event.get("type"), event.get("object")
            if not isinstance(kind, str) or not isinstance(thing, dict):
                raise MissError(waiting(Reason.UNWANTED_ANSWER, f"{self.where} (no event of a watch)"))
            if kind == "ERROR":
                raise _status_error(thing, self.where, 500, None)
            return kind, thing

    async def _line(self) -> bytes:
        while (end := self._held.find(b"\n", self._searched)) < 0:
            self._searched = len(self._held)
            if self._searched > MOST_EVENT:
                raise MissError(
                    waiting(Reason.UNWANTED_ANSWER, f"{self.where} (an event is longer than {MOST_EVENT} bytes)")
                )
            piece = await anext(self._pieces, None)
            if piece is None:
                if self._held.strip():
                    raise MissError(waiting(Reason.CLOSED, f"{self.where} (in the middle of an event)"))
                raise StopAsyncIteration
            self._held += piece
        line = bytes(self._held[:end])
        del self._held[: end + 1]
        self._searched = 0
        return line


async def _error_of(answer: "Answer") -> ApiError | None:
    status = answer.response.status_code
    if 200 <= status < 300:  # noqa: PLR2004 - RFC 9110, 15.3
        return None
    retry_after = seconds_of(answer.response.headers.get("retry-after", ""))
    try:
        said = _parsed(await answer.read(_MOST_STATUS), answer.where)
    except MissError:  # the status says enough
        return ApiError(answer.where, status, retry_after=retry_after)
    return _status_error({**said, "code": status}, answer.where, status, retry_after)


def _status_error(said: Object, where: str, status: int, retry_after: float | None) -> ApiError:
    """Return the error of a Status object; what is no such object is no more than its status."""
    if said.get("kind") != "Status":
        return ApiError(where, status, retry_after=retry_after)
    code, reason, message, details = (said.get(each) for each in ("code", "reason", "message", "details"))
    asked = details.get("retryAfterSeconds") if isinstance(details, dict) else None
    if retry_after is None and isinstance(asked, int) and asked > 0:
        retry_after = float(asked)
    word = reason if isinstance(reason, str) and reason.isalnum() and len(reason) < 64 else ""  # noqa: PLR2004 - a word
    return ApiError(
        where,
        code if isinstance(code, int) and code else status,
        word,
        message if isinstance(message, str) else "",
        retry_after,
    )


async def _object_of(answer: "Answer") -> Object:
    body = await answer.read(MOST_BODY + 1)
    if len(body) > MOST_BODY:
        raise MissError(waiting(Reason.UNWANTED_ANSWER, f"{answer.where} (body is longer than {MOST_BODY} bytes)"))
    return _parsed(body, answer.where)


def _parsed(data: bytes, where: str) -> Object:
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise MissError(waiting(Reason.UNWANTED_ANSWER, f"{where} (no JSON object)"))
    return parsed


def _items(page: Object, access: Access) -> list[Object]:
    """Return the items of a page, null being none of them (an empty slice of Go), and see that it is a page."""
    page["items"] = page.get("items") or []
    items, about = page["items"], page.get("metadata")
    if not isinstance(items, list) or not isinstance(about, dict) or not all(isinstance(each, dict) for each in items):
        raise MissError(waiting(Reason.UNWANTED_ANSWER, f"{access.url.place} (no list of the API)"))
    return items
