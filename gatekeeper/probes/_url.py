"""The URL of an HTTP request: its parts, the forms in which they are sent, and where a redirect leads.

User, password and query may be secrets: no message here quotes them.
"""

import re
from typing import NamedTuple

from gatekeeper.probes._target import split_port
from gatekeeper.values import BadValueError

DEFAULT_PORTS = {"http": 80, "https": 443}


class Url(NamedTuple):
    """An HTTP URL; ``path`` holds the query too, ``user`` is ``user:password`` as bytes."""

    scheme: str
    host: str
    port: int
    path: str
    user: bytes | None = None

    @property
    def authority(self) -> str:
        """The host with its port, the port left out where it is the scheme's own (RFC 9110, 7.2)."""
        host = in_brackets(self.host)
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        """What two URLs share where credentials for the one may be sent to the other (RFC 6454)."""
        return self.scheme, self.host.lower(), self.port

    def __str__(self) -> str:
        """Return the URL without its user."""
        return f"{self.scheme}://{self.authority}{self.path}"


def in_brackets(host: str) -> str:
    """Return a host as a URL has it: IPv6 in brackets, and without a zone, which is of this machine only (RFC 6874)."""
    return f"[{host.partition('%')[0]}]" if ":" in host else host


def read_url(text: str) -> Url:
    """Return the parts of ``http://`` or ``https://`` URLs; raises `BadValueError`."""
    scheme, _, rest = text.partition("://")
    scheme = scheme.lower()
    example = f"{scheme}://HOST:PORT/PATH"
    if scheme not in DEFAULT_PORTS or not rest:
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
    return Url(scheme, host, port or DEFAULT_PORTS[scheme], _as_sent(path), _unquoted(user) if at else None)


def joined(base: Url, location: str) -> Url | None:
    """Return where a redirect leads (RFC 9110, 10.2.2), never with a user of its own; None for what is no HTTP URL."""
    from urllib.parse import urljoin  # noqa: PLC0415 - loaded for a redirect only

    try:
        return read_url(urljoin(str(base), location))._replace(user=None)
    except ValueError:
        return None


def _as_sent(path: str) -> str:
    path = path.partition("#")[0]
    path = path if path.startswith("/") else f"/{path}"
    if re.search(r"[\x00-\x1f\x7f]", path):
        message = "has control characters in its path"
        raise BadValueError(message)
    if re.fullmatch(r"[!-~]*", path):
        return path
    from urllib.parse import quote  # noqa: PLC0415 - loaded for what is not ASCII only

    try:
        return quote(path, safe="".join(map(chr, range(0x21, 0x7F))), errors="surrogateescape")
    except UnicodeEncodeError:
        message = "holds half of a surrogate pair"
        raise BadValueError(message) from None


def _unquoted(text: str) -> bytes:
    from urllib.parse import unquote_to_bytes  # noqa: PLC0415 - loaded for a URL with a user only

    return unquote_to_bytes(text.encode("utf-8", "surrogatepass"))
