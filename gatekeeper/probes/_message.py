"""What both versions of HTTP carry: a request, the head of an answer, and a body with its content coding undone."""

import re
import zlib
from typing import NamedTuple

MOST_HEAD = 64 * 1024

Headers = tuple[tuple[bytes, bytes], ...]


class Request(NamedTuple):
    """One request; ``target`` is what the first line of HTTP/1.1 holds (RFC 9112, 3.2)."""

    method: str
    target: str
    headers: Headers
    body: bytes | None = None


class Head(NamedTuple):
    """The status and the header of an answer, names in lower case."""

    status: int
    headers: Headers

    def all(self, name: bytes) -> list[bytes]:
        """Return the values of every field of this name."""
        return [value for key, value in self.headers if key == name]

    def first(self, name: bytes) -> bytes:
        """Return the value of the first field of this name, or nothing."""
        return next(iter(self.all(name)), b"")


def decoded(body: bytes, coding: bytes, most: int) -> bytes | None:
    """Return the first ``most`` bytes of what a body stands for, None for a coding that is neither gzip nor deflate.

    No coding was asked for (RFC 9110, 12.5.3), and some servers use one all the same. Never unpacks more than ``most``.
    """
    names = [name for name in re.split(rb"[,\s]+", coding.lower()) if name not in (b"", b"identity")]
    if not names:
        return body[:most]
    if names not in ([b"gzip"], [b"x-gzip"], [b"deflate"]):
        return None
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, most)
    except zlib.error:
        return None


def seconds_of(retry_after: bytes) -> float | None:
    """Return the seconds that a Retry-After asks for (RFC 9110, 10.2.3), None where it cannot be read."""
    text = retry_after.decode("latin-1").strip()
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
