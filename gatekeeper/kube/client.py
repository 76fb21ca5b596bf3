"""Requests to an API server: one object, a whole list, a watch, a change. One answer each; nothing is tried again.

Two things only are asked twice: with a new token where the old one is not taken, and a list whose pages expired on the
way (410). Time limits are the caller's.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from gatekeeper.kube.access import Access
from gatekeeper.kube.answers import GONE, UNAUTHORIZED, ApiError, Events, Object, error_of, items_of, object_of
from gatekeeper.kube.credential import Given, credentials
from gatekeeper.kube.parts import whole
from gatekeeper.model import Reason, waiting
from gatekeeper.probes._miss import MissError
from gatekeeper.probes._route import Route
from gatekeeper.probes._stream import Fields

if TYPE_CHECKING:
    from gatekeeper.probes._http import Answer  # loads httpx

Query = Mapping[str, str]

PAGE = 500
JSON = "application/json"


class Client:
    """Requests by one way; every one raises `ApiError` for a no, and `MissError` where no answer was to be had."""

    def __init__(self, access: Access) -> None:
        """Take the way; nothing is connected yet."""
        self.access = access

    async def get(self, path: str, query: Query | None = None, *, accept: str = JSON) -> Object:
        """Return one object; ``path`` is that of the API, as ``/api/v1/namespaces/shop/pods/web``."""
        async with self._ask("GET", path, query or {}, accept=accept) as answer:
            return await object_of(answer)

    async def list(self, path: str, query: Query | None = None, keep: Callable[[Object], Object] = whole) -> Object:
        """Return a whole list, which is fetched in pages; ``keep`` returns what is kept of an item."""
        first = {**(query or {}), "limit": str(PAGE)}
        try:
            listed = await self._page(path, first, keep)
            while more := listed["metadata"].pop("continue", ""):
                page = await self._page(path, {**first, "continue": more}, keep)
                if page["metadata"].get("continue") == more:
                    raise MissError(waiting(Reason.UNWANTED_ANSWER, f"{self.access.url.place} (a list without an end)"))
                listed["items"] += page["items"]
                listed["metadata"] = page["metadata"]
        except ApiError as error:
            if error.status != GONE:
                raise
            # The history behind the pages is gone, and might be once more: in one piece, it cannot be.
            listed = await self._page(path, query, keep)
        listed["metadata"].pop("remainingItemCount", None)
        return listed

    async def _page(self, path: str, query: Query | None, keep: Callable[[Object], Object]) -> Object:
        page = await self.get(path, query)
        return {**page, "items": [keep(each) for each in items_of(page, self.access.url.place)]}

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
            return await object_of(answer)

    async def create(self, path: str, body: Object) -> Object:
        """Make an object, by the path of its list, and return it."""
        async with self._ask("POST", path, {}, body=body, content_type=JSON) as answer:
            return await object_of(answer)

    @asynccontextmanager
    async def _ask(
        self,
        method: str,
        path: str,
        query: Query,
        *,
        body: object = None,
        content_type: str = "",
        accept: str = JSON,
        lasting: bool = False,
    ) -> AsyncIterator["Answer"]:
        from gatekeeper.probes._http import Call, fetch  # noqa: PLC0415 - loads httpx, which a declaration does not need

        given = await credentials(self.access)
        data = None if body is None else json.dumps(body).encode()
        fields: Fields = ((b"Accept", accept.encode()), *self.access.impersonated)
        fields += ((b"Content-Type", content_type.encode()),) if data else ()
        route = self._route(path, query, given, lasting=lasting)
        async with fetch(Call(method, fields + given.fields, data), route) as answer:
            error = await error_of(answer)
            if error is None:
                yield answer
                return
        fresh = await credentials(self.access, refused=given) if error.status == UNAUTHORIZED else given
        if fresh[:2] == given[:2]:
            raise error
        route = self._route(path, query, fresh, lasting=lasting)
        async with fetch(Call(method, fields + fresh.fields, data), route) as answer:
            error = await error_of(answer)
            if error is not None:
                raise error
            yield answer

    def _route(self, path: str, query: Query, given: Given, *, lasting: bool) -> Route:
        way = self.access
        target = way.url.path.partition("?")[0].rstrip("/") + path + (f"?{urlencode(query)}" if query else "")
        url = way.url._replace(path=target, user=None)
        return Route(url, proxy=way.proxy, trust=given.trust, server_name=way.server_name, lasting=lasting)
