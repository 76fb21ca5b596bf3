"""The target of a server in its parts: where it is, as whom, and what else applications write into their URLs.

No message quotes a user, a password, a path or a query: which of them is which cannot always be told.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from gatekeeper.probes._target import split_port
from gatekeeper.values import BadValueError, Secret

_SEVERAL_USERS = "names several users: write one dependency for each, and in a password @ and , as %40 and %2C"
_NO_PAIR = re.compile(r"(^|&)(?!\w[\w.-]*=)[^&]*@")  # which is the end of a password, not an @ in a value
_YES = ("true", "yes", "on", "1", "require", "required")
# Bounded, so that the time for a long text grows with its length alone.
_NEXT_URL = re.compile(r"([,;\s]\s{0,40})?[A-Za-z][A-Za-z0-9+._-]{0,40}://")
# Nothing but a host or an address and digits: a user and a password, or the end of one, may stand where these should.
_SHOWABLE = re.compile(r"[\w.-]*(:[0-9]*)?|[0-9A-Fa-f:.\[\]]*")


class Place(NamedTuple):
    """A host and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return ``HOST:PORT``, IPv6 in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Dsn(NamedTuple):
    """A target in its parts, percent-encoding undone; ``path`` is without its first slash, ``query`` in its order."""

    scheme: str
    places: tuple[Place, ...]
    user: str | None = None
    password: Secret | None = None
    path: str = ""
    query: tuple[tuple[str, Secret], ...] = ()


def read_dsn(target: str, ports: Mapping[str, int], *, needs_host: bool = True) -> Dsn:
    """Return the parts of ``SCHEME://[USER[:PASSWORD]@]HOST[:PORT][,…][/PATH][?KEY=VALUE&…]``; raises `BadValueError`.

    Several servers may be given as clients list them, each whole: ``SCHEME://…,SCHEME://…``, or with semicolons. They
    differ in host and port alone, and who logs in may stand at the first. ``ports`` are the default ports by scheme. No
    message quotes a user, a password, a path or a query.
    """
    schemes = "|".join(map(re.escape, ports))
    each = re.split(rf"[,;]\s*(?=(?:{schemes})://)", target, flags=re.IGNORECASE)
    first, *others = (_read(url, ports, needs_host=needs_host or len(each) > 1) for url in each)
    for other in others:
        if (other.user, other.password) not in ((None, None), (first.user, first.password)):
            raise BadValueError(_SEVERAL_USERS)
        if (other.scheme, other.path, other.query) != (first.scheme, first.path, first.query):
            message = "lists servers that differ in more than host and port: declare each, with | between them"
            raise BadValueError(message)
    return first._replace(places=tuple(place for url in (first, *others) for place in url.places))


def _read(target: str, ports: Mapping[str, int], *, needs_host: bool) -> Dsn:
    scheme, _, rest = target.partition(":")
    scheme = scheme.lower()
    rest = rest.removeprefix("//")
    example = f"{scheme}://HOST:PORT"
    cut = re.search(r"[/?#]", rest)
    authority, tail = (rest[: cut.start()], rest[cut.start() :]) if cut else (rest, "")
    if again := _NEXT_URL.search(rest.partition("?")[0]):
        several = f"lists several URLs: write one, with {example},HOST:PORT for further servers"
        raise BadValueError(several if again[1] else f"has a second :// in it: write {example}")
    user, at, hosts = _user_and_hosts(authority)
    path, _, query = tail.partition("#")[0].partition("?")
    # What was taken for host and port may be a part of the password.
    is_unsure = "@" in tail and (not at or tail.startswith("?"))
    if is_unsure or "@" in path + tail.partition("#")[2] or _NO_PAIR.search(query):
        message = f"cannot be read: in user and password, write / ? # @ as %2F %3F %23 %40, as in {example}"
        raise BadValueError(message)
    places = tuple(_place(each, ports[scheme], example) for each in hosts.split(",")) if hosts or needs_host else ()
    name, colon, password = user.partition(":")
    return Dsn(
        scheme,
        places,
        _decoded(name) or None,
        Secret(_decoded(password)) if colon else None,
        _decoded(path.removeprefix("/")),
        tuple((_decoded(key), Secret(_decoded(value))) for key, value in _pairs(query)),
    )


def asked_for_tls(dsn: Dsn) -> Mapping[str, bool]:
    """Return the option ``tls`` where the query wants it (``ssl=true``), whose clients have it there or in a scheme."""
    wanted = any(key.lower() in ("ssl", "tls") and value.value.lower() in _YES for key, value in dsn.query)
    return {"tls": True} if wanted else {}


def _user_and_hosts(authority: str) -> tuple[str, str, str]:
    """Return the user with the password, an ``@`` where there is one, and the hosts; each may have the user anew."""
    each = [part.rpartition("@") for part in authority.split(",")]
    if sum(bool(at) for _, at, _ in each) < 2:  # noqa: PLR2004 - a password may hold a comma
        return authority.rpartition("@")
    users = {user for user, at, _ in each if at}
    if len(users) > 1:
        raise BadValueError(_SEVERAL_USERS)
    return users.pop(), "@", ",".join(host for *_, host in each)


def _place(text: str, default: int, example: str) -> Place:
    try:
        host, port = split_port(text, example)
    except BadValueError:
        if _SHOWABLE.fullmatch(text):
            raise
        message = f"has no host and port that can be read (what stands there is not shown): write {example}"
        raise BadValueError(message) from None
    if port is None and not default:
        message = f"has no port: write {example}"
        raise BadValueError(message)
    return Place(host, default if port is None else port)


def _pairs(query: str) -> list[tuple[str, str]]:
    return [(key, value) for key, _, value in (part.partition("=") for part in query.split("&")) if key]


def _decoded(text: str) -> str:
    if "%" in text:
        from urllib.parse import unquote  # noqa: PLC0415 - loaded for what is encoded only

        text = unquote(text, errors="surrogateescape")
    if not text.isprintable():
        message = "holds a character that cannot be shown"
        raise BadValueError(message)
    return text
