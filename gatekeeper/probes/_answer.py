"""What an HTTP answer must be: its status, its header, its body. The details name what failed, never what was sent."""

import re
from typing import TYPE_CHECKING, NamedTuple

from gatekeeper.model import Outcome, Reason, failed, ready, waiting
from gatekeeper.values import BadValueError, quoted

if TYPE_CHECKING:
    from gatekeeper.probes._http import Answer  # loads httpx, which a declaration does not need
    from gatekeeper.probes._json import Assertion
    from gatekeeper.probes._pattern import Pattern

MOST_TEXT = 64 * 1024
MOST_JSON = 1024 * 1024

_FORBIDDEN = (401, 403)
_GONE = (404, 410)
_NOT_YET = (425, 429)


class StatusRange(NamedTuple):
    """Status codes, both ends included."""

    low: int
    high: int

    def __str__(self) -> str:
        """Return ``204`` or ``200-299``, as it is written."""
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"


class FieldPattern(NamedTuple):
    """A header field that must be there and, where a pattern is given, hold a match of it."""

    name: str
    pattern: "Pattern | None"

    async def holds(self, answer: "Answer") -> bool:
        """Tell whether some field of this name is as wanted; raises `MissError`."""
        name = self.name.lower().encode()
        values = [value for key, value in answer.response.headers.raw if key.lower() == name]
        if self.pattern is None:
            return bool(values)
        for value in values:
            if await self.pattern.found_in(value, answer.where):
                return True
        return False


class Wanted(NamedTuple):
    """What an answer must be; ``rotated`` says that the credentials may be others the next time."""

    status: tuple[StatusRange, ...]
    fields: tuple[FieldPattern, ...] = ()
    text: "Pattern | None" = None
    json: tuple["Assertion", ...] = ()
    rotated: bool = False


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
    if not colon or not regex.strip():
        return FieldPattern(name.strip(), None)
    from gatekeeper.probes._pattern import pattern  # noqa: PLC0415 - loaded where a pattern is declared

    return FieldPattern(name.strip(), pattern(regex.strip()))


async def judge(wanted: Wanted, answer: "Answer") -> Outcome:
    """Return what an answer means; of the body, only so much is read as is needed. Raises `MissError`."""
    if not any(low <= answer.response.status_code <= high for low, high in wanted.status):
        return _unwanted_status(answer, rotated=wanted.rotated)
    for field in wanted.fields:
        if not await field.holds(answer):
            return waiting(Reason.UNWANTED_ANSWER, f"{answer.where} (header {field.name} is not as wanted)")
    if wanted.text or wanted.json:
        return await _judge_body(wanted, answer, await answer.read(MOST_JSON + 1 if wanted.json else MOST_TEXT))
    return ready(_said(answer))


async def _judge_body(wanted: Wanted, answer: "Answer", body: bytes) -> Outcome:
    if wanted.text and not await wanted.text.found_in(body[:MOST_TEXT], answer.where):
        return waiting(Reason.UNWANTED_ANSWER, f"{answer.where} (body does not match)")
    if wanted.json and len(body) > MOST_JSON:
        return waiting(Reason.UNWANTED_ANSWER, f"{answer.where} (body is longer than {MOST_JSON} bytes)")
    for assertion in wanted.json:
        if not await assertion.holds(body, answer.where):
            return waiting(Reason.UNWANTED_ANSWER, f"{answer.where} (JSON is not as wanted)")
    return ready(_said(answer))


def _unwanted_status(answer: "Answer", *, rotated: bool) -> Outcome:
    status, detail = answer.response.status_code, _said(answer)
    retry_after = seconds_of(answer.response.headers.get("retry-after", ""))
    if status in _FORBIDDEN:
        if rotated:
            return waiting(Reason.FORBIDDEN, detail, retry_after=retry_after)
        return failed(Reason.FORBIDDEN, detail)
    if status in _GONE:
        return waiting(Reason.NOT_FOUND, detail, gone=True, retry_after=retry_after)
    if status in _NOT_YET or status >= 500:  # noqa: PLR2004 - RFC 9110, 15.6: the server's errors
        return waiting(Reason.STARTING, detail, retry_after=retry_after)
    return waiting(Reason.UNWANTED_ANSWER, detail, retry_after=retry_after)


def seconds_of(retry_after: str) -> float | None:
    """Return the seconds that a Retry-After asks for (RFC 9110, 10.2.3), None where it cannot be read."""
    text = retry_after.strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    if not text:
        return None
    import time  # noqa: PLC0415 - with the next, for a date only
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - heavy, and seldom wanted

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _said(answer: "Answer") -> str:
    return f"{answer.where} (status {answer.response.status_code})"
