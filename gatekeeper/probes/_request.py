"""The HTTP requests of an attempt: the first, and those that redirects ask for.

What a user gave for one origin (header fields, credentials) is never sent to another.
"""

import re
from typing import NamedTuple

from gatekeeper import __version__
from gatekeeper.model import Reason, waiting
from gatekeeper.probes._connect import MissError
from gatekeeper.probes._local import contents
from gatekeeper.probes._message import Head, Headers, Request
from gatekeeper.probes._options import SecretValueError
from gatekeeper.probes._route import basic
from gatekeeper.probes._url import Url, joined, read_url
from gatekeeper.values import BadValueError, quoted

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_FRAMING = (
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
)
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_SECRET = 64 * 1024


class Call(NamedTuple):
    """A request before it has a connection."""

    url: Url
    method: str
    body: bytes | None = None
    private: Headers = ()

    def request(self, *, proxy: Url | None = None) -> Request:
        """Return what is sent; by a proxy that is no tunnel, with the whole URL and the proxy's credentials."""
        named = {name.lower() for name, _ in self.private}
        fields = [field for field in self._own_fields() if field[0].lower() not in named]
        fields += self.private
        if not proxy or self.url.scheme == "https":
            return Request(self.method, self.url.path, tuple(fields), self.body)
        if proxy.user:
            fields.append((b"Proxy-Authorization", basic(proxy.user)))
        return Request(self.method, str(self.url), tuple(fields), self.body)

    def _own_fields(self) -> Headers:
        fields = (
            (b"Host", self.url.authority.encode()),
            (b"User-Agent", f"gatekeeper/{__version__}".encode()),
            (b"Accept", b"*/*"),
            (b"Accept-Encoding", b"identity"),
            (b"Connection", b"close"),
        )
        # Without a body, only these methods must say so (RFC 9110, 8.6).
        if self.body is None and self.method not in ("POST", "PUT", "PATCH"):
            return fields
        return (*fields, (b"Content-Length", str(len(self.body or b"")).encode()))

    def onward(self, head: Head, where: str) -> "Call | None":
        """Return what a redirect asks for (RFC 9110, 15.4), None where the answer is none; raises `MissError`."""
        location = head.first(b"location")
        if head.status not in _REDIRECTS or not location:
            return None
        url = joined(self.url, location.decode("latin-1"))
        if url is None:
            raise MissError(waiting(Reason.UNWANTED_ANSWER, f"{where} (redirects to what is no HTTP URL)"))
        private = self.private if url.origin == self.url.origin else ()
        if (head.status == 303 and self.method != "HEAD") or (head.status in (301, 302) and self.method == "POST"):  # noqa: PLR2004 - See Other
            return Call(url, "GET", None, private)
        return Call(url, self.method, self.body, private)


def method(text: str) -> str:
    """Return a method in capitals; raises `BadValueError`."""
    word = text.strip().upper()
    if not _TOKEN.fullmatch(word) or word == "CONNECT":
        message = f"{quoted(text)} is no method for this: write GET, HEAD, POST or the like"
        raise BadValueError(message)
    return word


def field(text: str) -> tuple[bytes, bytes]:
    """Return the name and value of ``NAME: VALUE``; raises `SecretValueError`."""
    name, colon, value = text.partition(":")
    if not colon or not _TOKEN.fullmatch(name):
        message = "is no header field (its text is not shown): write 'NAME: VALUE'"
        raise SecretValueError(message)
    if name.lower() in _FRAMING:
        message = f"sets {name}, which the request itself decides"
        raise SecretValueError(message)
    if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value):
        message = f"has control characters in the value of {name}"
        raise SecretValueError(message)
    return name.encode(), as_typed(value.strip())


def as_typed(text: str) -> bytes:
    """Return the bytes of a text, also of one that was typed in no UTF-8; raises `SecretValueError`."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        message = "holds half of a surrogate pair"
        raise SecretValueError(message) from None


def proxy(text: str) -> Url:
    """Return the URL of a proxy; raises `SecretValueError`."""
    try:
        url = read_url(text)
    except BadValueError:
        url = None
    if url is None or url.scheme != "http" or url.path != "/":
        message = "is no proxy that can be used (its text is not shown): write http://HOST:PORT"
        raise SecretValueError(message)
    return url


def credentials(path: str) -> bytes:
    """Return the Authorization for what a file holds: ``user:password``, or else a bearer token (RFC 6750, 2.1).

    Raises `MissError`, as for a file that is not there yet.
    """
    secret = contents("auth_file", path, _MOST_SECRET).strip()
    if not secret or re.search(rb"[\x00-\x1f\x7f]", secret):
        why = "holds more than one line" if secret else "is empty"
        raise MissError(waiting(Reason.NOT_FOUND, f"auth_file {path} ({why})"))
    return basic(secret) if b":" in secret else b"Bearer " + secret
