"""What an HTTP answer must be: its status, its header, its body. The details name what failed, never what was sent."""

import re
from collections.abc import Callable
from typing import NamedTuple, Protocol

from gatekeeper.model import Outcome, Reason, failed, ready, waiting
from gatekeeper.probes._connect import MissError
from gatekeeper.probes._message import Head, decoded, seconds_of
from gatekeeper.values import BadValueError, pattern, quoted

MOST_TEXT = 64 * 1024
MOST_JSON = 1024 * 1024

_FORBIDDEN = (401, 403)
_GONE = (404, 410)
_NOT_YET = (425, 429)


class StatusRange(NamedTuple):
    """Status codes, both ends included."""

    low: int
    high: int


class FieldPattern(NamedTuple):
    """A header field that must be there and, where a pattern is given, hold a match of it."""

    name: str
    pattern: re.Pattern[bytes] | None

    def holds(self, head: Head) -> bool:
        """Tell whether some field of this name is as wanted."""
        values = head.all(self.name.lower().encode())
        return bool(values) if self.pattern is None else any(self.pattern.search(value) for value in values)


class Wanted(NamedTuple):
    """What an answer must be."""

    status: tuple[StatusRange, ...]
    fields: tuple[FieldPattern, ...] = ()
    text: re.Pattern[bytes] | None = None
    json: tuple[Callable[[bytes], bool], ...] = ()


class Talk(Protocol):
    """The exchange that an answer is read from, of either version of HTTP."""

    async def body(self, most: int) -> bytes:
        """Return the body of the answer, or its first ``most`` bytes."""


def status_range(text: str) -> StatusRange:
    """Return the codes that ``204``, ``200-299`` or ``2xx`` stand for; raises `BadValueError`."""
    match = re.fullmatch(r"([1-5])xx|([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?", text.strip(), re.IGNORECASE | re.ASCII)
    if match and match[1]:
        return StatusRange(int(match[1]) * 100, int(match[1]) * 100 + 99)
    if match and int(match[2]) <= int(match[3] or match[2]):
        return StatusRange(int(match[2]), int(match[3] or match[2]))
    message = f"{quoted(text)} is no status: write 204, 200-299 or 2xx, several with commas"
    raise BadValueError(message)


def field_pattern(text: str) -> FieldPattern:
    """Return what ``NAME`` or ``NAME: REGEX`` asks of a header; raises `BadValueError`."""
    name, colon, regex = text.partition(":")
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name.strip()):
        message = f"{quoted(text)} names no header field: write NAME or NAME: REGEX"
        raise BadValueError(message)
    return FieldPattern(name.strip(), pattern(regex.strip()) if colon and regex.strip() else None)


async def judge(wanted: Wanted, where: str, head: Head, talk: Talk) -> Outcome:
    """Return what an answer means; of the body, only so much is read as is needed. Raises `MissError`."""
    if not any(low <= head.status <= high for low, high in wanted.status):
        return _unwanted_status(head, where)
    for field in wanted.fields:
        if not field.holds(head):
            return waiting(Reason.UNWANTED_ANSWER, f"{where} (header {field.name} is not as wanted)")
    if wanted.text or wanted.json:
        most = MOST_JSON + 1 if wanted.json else MOST_TEXT
        return _judge_body(wanted, where, head, await _body(where, head, talk, most))
    return ready(_said(where, head))


def _judge_body(wanted: Wanted, where: str, head: Head, body: bytes) -> Outcome:
    if wanted.text and not wanted.text.search(body[:MOST_TEXT]):
        return waiting(Reason.UNWANTED_ANSWER, f"{where} (body does not match)")
    if wanted.json and len(body) > MOST_JSON:
        return waiting(Reason.UNWANTED_ANSWER, f"{where} (body is longer than {MOST_JSON} bytes)")
    if not all(holds(body) for holds in wanted.json):
        return waiting(Reason.UNWANTED_ANSWER, f"{where} (JSON is not as wanted)")
    return ready(_said(where, head))


async def _body(where: str, head: Head, talk: Talk, most: int) -> bytes:
    body = decoded(await talk.body(most), b",".join(head.all(b"content-encoding")), most)
    if body is None:
        raise MissError(waiting(Reason.UNWANTED_ANSWER, f"{where} (body cannot be decompressed)"))
    return body


def _unwanted_status(head: Head, where: str) -> Outcome:
    status, detail = head.status, _said(where, head)
    retry_after = seconds_of(head.first(b"retry-after"))
    if status in _FORBIDDEN:
        return failed(Reason.FORBIDDEN, detail)
    if status in _GONE:
        return waiting(Reason.NOT_FOUND, detail, gone=True, retry_after=retry_after)
    if status in _NOT_YET or status >= 500:  # noqa: PLR2004 - RFC 9110, 15.6: the server's errors
        return waiting(Reason.STARTING, detail, retry_after=retry_after)
    return waiting(Reason.UNWANTED_ANSWER, detail, retry_after=retry_after)


def _said(where: str, head: Head) -> str:
    return f"{where} (status {head.status})"
