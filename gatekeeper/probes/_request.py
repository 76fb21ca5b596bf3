"""What a user says of an HTTP request, read and checked; no message here quotes what may be a secret."""

import re

from gatekeeper.model import Reason, waiting
from gatekeeper.probes._local import contents
from gatekeeper.probes._miss import MissError
from gatekeeper.probes._options import SecretValueError
from gatekeeper.probes._url import Url, read_url
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
_MOST_SECRET = 64 * 1024


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


def credentials(path: str) -> tuple[bytes, bytes] | bytes:
    """Return what a file holds: user and password of ``user:password``, or else the value of an Authorization field.

    A token is a bearer's (RFC 6750, 2.1) where the file does not say ``Bearer`` or ``Basic`` itself.
    Raises `MissError`, as for a file that is not there yet.
    """
    secret = contents("auth_file", path, _MOST_SECRET).strip()
    if not secret or re.search(rb"[\x00-\x1f\x7f]", secret):
        why = "holds more than one line" if secret else "is empty"
        raise MissError(waiting(Reason.NOT_FOUND, f"auth_file {path} ({why})"))
    if re.match(rb"(bearer|basic)\s+\S", secret, re.IGNORECASE):
        return secret
    user, colon, password = secret.partition(b":")
    return (user, password) if colon else b"Bearer " + secret
