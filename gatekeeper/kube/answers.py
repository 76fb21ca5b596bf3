"""What an API server answers: a Status that says no, a list, the events of a watch. Asks nothing.

Who answers may be no API server at all: what is not of the API's own form counts for nothing, and least of all for an
empty list. What is said is never shown but for its status and its reason.
"""

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Self

from gatekeeper.model import Outcome, Reason, failed, waiting
from gatekeeper.probes._answer import seconds_of
from gatekeeper.probes._miss import MissError

if TYPE_CHECKING:
    from gatekeeper.probes._http import Answer  # loads httpx

Object = dict[str, Any]

MOST_BODY = 64 * 1024 * 1024
MOST_EVENT = 8 * 1024 * 1024
GONE, UNAUTHORIZED = 410, 401
_MOST_STATUS = 64 * 1024
_TOO_MANY = 429


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
        """What the answer means for a dependency: no permission and no better question come by waiting, else it may."""
        if self.status == 403:  # noqa: PLR2004 - as the next ones, RFC 9110, 15.5 and 15.6
            return failed(Reason.FORBIDDEN, str(self))
        if self.status == 400 and self.reason == "BadRequest":  # noqa: PLR2004
            return failed(Reason.UNWANTED_ANSWER, str(self))  # it will not be understood another time
        if self.status == UNAUTHORIZED:
            return waiting(Reason.FORBIDDEN, str(self), retry_after=self.retry_after)  # a token may be a new one soon
        if self.status == 404:  # noqa: PLR2004
            # Only an API server knows what it has not; a page that is not there says nothing of an object.
            return waiting(Reason.NOT_FOUND, str(self), gone=self.reason == "NotFound")
        if self.status == _TOO_MANY or self.status >= 500:  # noqa: PLR2004
            return waiting(Reason.STARTING, str(self), retry_after=self.retry_after)
        return waiting(Reason.UNWANTED_ANSWER, str(self), retry_after=self.retry_after)


async def error_of(answer: "Answer") -> ApiError | None:
    """Return the error of an answer, None where it says yes."""
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


async def object_of(answer: "Answer") -> Object:
    """Return the object of an answer; raises `MissError`."""
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


def items_of(page: Object, where: str) -> list[Object]:
    """Return the items of a page of a list, null being none of them (an empty slice of Go); raises `MissError`."""
    items, about, named = page.get("items"), page.get("metadata"), (page.get("kind"), page.get("apiVersion"))
    items = [] if items is None else items
    if (
        "items" not in page
        or not all(isinstance(each, str) and each for each in named)  # a definition may call its list as it likes
        or not isinstance(about, dict)
        or not isinstance(items, list)
        or not all(map(_is_object, items))
    ):
        raise MissError(waiting(Reason.UNWANTED_ANSWER, f"{where} (no list of the API)"))
    return items


def _is_object(thing: object) -> bool:
    """Tell whether something has what every object of the API has (meta/v1, ObjectMeta)."""
    about = thing.get("metadata") if isinstance(thing, dict) else None
    return isinstance(about, dict) and isinstance(about.get("name"), str)


def _is_of(kind: str, thing: Object) -> bool:
    """Tell whether an event holds what one of its type must: an object, a bookmark a version only."""
    return _is_object(thing) if kind in ("ADDED", "MODIFIED", "DELETED") else isinstance(thing.get("metadata"), dict)


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
            if kind == "ERROR" and isinstance(thing, dict):
                raise _status_error(thing, self.where, 500, None)
            if not isinstance(kind, str) or not isinstance(thing, dict) or not _is_of(kind, thing):
                raise MissError(waiting(Reason.UNWANTED_ANSWER, f"{self.where} (no event of a watch)"))
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
