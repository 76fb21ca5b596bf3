"""The URL of an HTTP server, as it is declared: checked without loading a library, in a form that every library takes.

User, password and query may be secrets: no message here quotes them.
"""

import re
import socket
from typing import NamedTuple

from gatekeeper.probes._target import split_port
from gatekeeper.values import BadValueError, quoted

_DEFAULT_PORTS = {"http": 80, "https": 443}
_LONGEST = 60_000  # characters: httpx takes 65536


class Url(NamedTuple):
    """An HTTP URL; ``path`` holds the query too, ``user`` is user and password as bytes."""

    scheme: str
    host: str
    port: int
    path: str
    user: tuple[bytes, bytes] | None = None

    @property
    def place(self) -> str:
        """Host and port; IPv6 in brackets, and without a zone, which is of this machine only (RFC 6874)."""
        return f"[{self.host.partition('%')[0]}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        """Return the URL without its user."""
        return f"{self.scheme}://{self.place}{self.path}"


def read_url(text: str) -> Url:
    """Return the parts of ``http://`` or ``https://`` URLs; raises `BadValueError`."""
    scheme, _, rest = text.partition("://")
    scheme = scheme.lower()
    example = f"{scheme}://HOST:PORT/PATH"
    if scheme not in _DEFAULT_PORTS or not rest:
        message = "is no HTTP URL: write http://HOST:PORT/PATH or https://HOST:PORT/PATH"
        raise BadValueError(message)
    cut = re.search(r"[/?#]", rest)
    authority, path = (rest[: cut.start()], rest[cut.start() :]) if cut else (rest, "")
    user, at, place = authority.rpartition("@")
    try:
        host, port = split_port(place, example)
    except BadValueError:
        if "@" in path:  # what was taken for host and port may be a part of the password
            message = f"cannot be read: in user and password, write / ? # @ as %2F %3F %23 %40, as in {example}"
            raise BadValueError(message) from None
        raise
    _check_numbers(host)
    return Url(scheme, host, port or _DEFAULT_PORTS[scheme], _as_sent(path), _user(user) if at else None)


def _check_numbers(host: str) -> None:
    """Refuse a host of four numbers that is no address: no resolver has it, and no HTTP library takes it."""
    if not re.fullmatch(r"([0-9]+\.){3}[0-9]+", host):
        return
    try:
        socket.inet_pton(socket.AF_INET, host)
    except OSError:
        message = f"{quoted(host)} is no IPv4 address"
        raise BadValueError(message) from None


def _as_sent(path: str) -> str:
    path = path.partition("#")[0]
    path = path if path.startswith("/") else f"/{path}"
    if re.search(r"[\x00-\x1f\x7f]", path):
        message = "has control characters in its path"
        raise BadValueError(message)
    if not re.fullmatch(r"[!-~]*", path):
        path = _quoted(path)
    if len(path) > _LONGEST:
        message = f"is longer than the {_LONGEST} characters that a path and a query can have"
        raise BadValueError(message)
    return path


def _quoted(path: str) -> str:
    from urllib.parse import quote  # noqa: PLC0415 - loaded for what is not ASCII only

    try:
        return quote(path, safe="".join(map(chr, range(0x21, 0x7F))), errors="surrogateescape")
    except UnicodeEncodeError:
        message = "holds half of a surrogate pair"
        raise BadValueError(message) from None


def _user(text: str) -> tuple[bytes, bytes]:
    from urllib.parse import unquote_to_bytes  # noqa: PLC0415 - loaded for a URL with a user only

    name, _, password = text.encode("utf-8", "surrogatepass").partition(b":")
    return unquote_to_bytes(name), unquote_to_bytes(password)
