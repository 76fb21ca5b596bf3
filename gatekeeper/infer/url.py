"""From ``SCHEME://…`` to targets: what a URL of other people's settings names, without its user, password and path.

Pure. Where a password holds what ends a host, what is its rest and what a host cannot always be told: then nothing is
taken, because a wrong guess would ask, and show, a piece of the password.
"""

import re
from urllib.parse import unquote

from gatekeeper.infer.places import Named, NothingNamedError, bracketed, is_place, only_reached, places, with_ports
from gatekeeper.probes._protocols import Spoken, spoken

SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9._-]*(\+[A-Za-z0-9+.-]+)?)://(?P<rest>.*)", re.DOTALL)
NO_NETWORK = re.compile(
    r"sqlite3?|sqlite3?mc|spatialite|file(cache)?|mem(ory)?|locmem(cache)?|dummy(cache)?|dbcache|consolemail|dummymail"
    r"|null|h2|derby|hsqldb|duckdb|data|mailto|about|javascript|arn|urn"
)
_DATAGRAMS = frozenset(("udp", "udp4", "udp6", "sctp", "unixgram"))
_OVER_TLS = frozenset(("ssl", "tls", "s", "ssc"))
_STARTS_PLAIN = frozenset(("postgres", "mysql"))  # where a connection turns to TLS only after a first exchange
_STARTTLS = "smtp+tls"  # which begins in plain, as Django has it
_SEMICOLONS = frozenset(("sqlserver", "mssql", "jtds"))
_WEB = frozenset(("http", "https", "ws", "wss"))
_HTTP_PORTS = {"clickhouse+http": 8123, "clickhouse+https": 8443}
_ASKS_FOR_TLS = re.compile(r"[?&;](tls|ssl|useSSL)=(true|1|yes|required?)(&|;|$)", re.IGNORECASE)
_IN_PLAIN = re.compile(r"[?&](tls|ssl)=(false|0|no)(&|$)", re.IGNORECASE)
# What drivers are told of certificates (redis-py, RabbitMQ, MongoDB); a kind would trust the system's authorities.
_OWN_TRUST = re.compile(
    r"[?&](ssl_cert_reqs=(CERT_)?(none|optional)|ssl_ca_\w+=|cacertfile=|verify=verify_none"
    r"|tlsCAFile=|tls(Insecure|AllowInvalid\w+)=true)",
    re.IGNORECASE,
)
_HOST_IN_QUERY = re.compile(r"host=([^@]*)")
_PORT_IN_QUERY = re.compile(r"port=((?:[0-9,]|%2C)*)", re.IGNORECASE)
_SOCKET_OF_MYSQL = re.compile(r"(?:unix_socket|socket|socketPath)=([^@]*)")
_PROPERTY = re.compile(r"\w[\w.\[\]-]*=")


def of_url(scheme: str, rest: str, port: str = "") -> Named:
    """Return what a URL names, given its scheme in lower case and what follows ``://``; raises `NothingNamedError`."""
    base, _, driver = scheme.removeprefix("db+").partition("+")
    if NO_NETWORK.fullmatch(base):
        message = "names no server of a network"
        raise NothingNamedError(message)
    if scheme in _DATAGRAMS:
        message = "is for datagrams, which no connection can be made for"
        raise NothingNamedError(message)
    if base == "unix" or driver in ("unix", "socket"):
        return socket_file(rest, escaped=driver == "unix")
    authority, tail = _authority(rest, scheme)
    servers = _servers(authority)
    if driver == "srv":
        host = places([servers], Spoken("tcp", 1)).targets[0].removeprefix("tcp://").rpartition(":")[0]
        known = spoken(scheme)
        if known and known.kind and not (_IN_PLAIN.search(rest) or _OWN_TRUST.search(rest)):  # its kind insists on TLS
            return Named((f"{known.kind}://{host}",))
        return Named((f"dns://_{base}._tcp.{host}",), (("type", "SRV"),), "a name with SRV records")
    if base in ("tcp", "tcp4", "tcp6"):
        return places(servers.split(","), Spoken("tcp", None), "", port)
    speaks, word = _spoken(base, driver)
    texts = servers.split(",")
    if speaks and speaks.protocol in _STARTS_PLAIN:
        if files := _in_query(_SOCKET_OF_MYSQL, tail):
            return socket_file(files[-1])
        texts = _with_query(texts, tail)
    named = places(texts, speaks, word, port)
    if over_tls := _only_reached_over_tls(speaks, rest):
        named = only_reached(named, f"tcp, because {base} over TLS {over_tls}", "[a-z+]+")
    return named if speaks else named._replace(note=f"tcp: {scheme} is no scheme that is known")


def _servers(authority: str) -> str:
    """Return the servers of an authority, of which each may have the user anew."""
    each = [part.rpartition("@") for part in authority.split(",")]
    users = [user for user, at, _ in each if at]
    if len(users) < 2:  # noqa: PLR2004 - a password may hold a comma
        return authority.rpartition("@")[2]
    if len(set(users)) > 1:
        message = "names several users, or has , and @ in a password: write them as %2C and %40"
        raise NothingNamedError(message)
    return ",".join(host for *_, host in each)


def _in_query(pattern: re.Pattern[str], tail: str) -> list[str]:
    """Return what ``KEY=VALUE`` of a query say, of those that a pattern knows, where they are not empty."""
    pairs = tail.partition("#")[0].partition("?")[2].split("&")
    return [unquote(found[1]) for found in map(pattern.fullmatch, pairs) if found and found[1]]


def _with_query(servers: list[str], tail: str) -> list[str]:
    """Return servers with the hosts and ports in the query of a database's URL (libpq, 34.1.2), which count more."""
    hosts = ",".join(_in_query(_HOST_IN_QUERY, tail))
    if hosts.startswith(("/", "@")):
        message = "names no host: a socket file of this machine is meant"
        raise NothingNamedError(message)
    servers = [bracketed(host) for host in hosts.split(",")] if hosts else servers
    ports = _in_query(_PORT_IN_QUERY, tail)
    return with_ports([re.sub(r":[0-9]+$", "", each) for each in servers], ports[-1]) if ports else servers


def socket_file(rest: str, *, escaped: bool = False) -> Named:
    """Return the socket file that a path names; ``escaped`` where the path stands for a host (``http+unix://%2Frun``)."""
    text = unquote(rest.partition("/")[0]) if escaped and not rest.startswith("/") else re.split("[?#]", rest)[0]
    path = "/" + text.lstrip("/")
    if path == "/" or not re.fullmatch(r"[A-Za-z0-9_./@+-]+", path):
        message = "names no socket file that can be told"
        raise NothingNamedError(message)
    return Named((f"unix://{path}",))


def _spoken(base: str, driver: str) -> tuple[Spoken | None, str]:
    """Return what is spoken there, and what that is called."""
    whole, known = f"{base}+{driver}", spoken(base)
    if spoken(whole):  # pulsar+ssl is a scheme of its own
        return spoken(whole), whole
    if driver in ("http", "https"):
        return Spoken(driver, _HTTP_PORTS.get(whole) or (known.port if known else None)), driver
    if driver == "sentinel":
        return spoken(driver), driver
    if driver in _OVER_TLS and known:
        secure = None if whole == _STARTTLS else spoken(f"{base}s")
        return Spoken(None, (secure or known).port), whole
    return known, base


def _only_reached_over_tls(speaks: Spoken | None, rest: str) -> str:
    """Return why a server is only reached, because of what its URL says of TLS; empty where it says nothing of that."""
    if not speaks or not speaks.kind or speaks.protocol in _STARTS_PLAIN | _WEB:
        return ""
    if _OWN_TRUST.search(rest):
        return "is spoken there, and its certificate trusted as the URL says"
    return "may be spoken there" if _ASKS_FOR_TLS.search(rest) else ""


def _authority(rest: str, scheme: str) -> tuple[str, str]:
    """Return user, password and servers of what follows ``://``, and what is behind them.

    Raises `NothingNamedError` where it may be two.
    """
    head, query = _without_properties(rest, "[?;]" if scheme in _SEMICOLONS else "[?]")
    authority, path = _cut(head)
    unsure = query.startswith("?") and "@" in query and head == authority
    # Then the ? or ; may be one of a password; where nothing stands before it, there is none.
    if query and authority and (unsure or not is_place(authority.rpartition("@")[2])):
        head = rest
        authority, path = _cut(head)
    if "@" not in path:
        return authority, rest[len(authority) :]
    if scheme in _WEB and re.fullmatch(r"[^@:]+\.[^@:]+", authority) and is_place(authority):
        return authority, rest[len(authority) :]  # https://example.com/@user, which is no user with a slash in its name
    if head.count("@") == 1 and not is_place(authority):
        servers = _cut(head.partition("@")[2])[0]
        return servers, rest.partition("@")[2][len(servers) :]
    message = "has an @ behind its host, or / ? # ; @ in its password: write them as %40 and %2F %3F %23 %3B"
    raise NothingNamedError(message)


def _cut(text: str) -> tuple[str, str]:
    authority = re.split(r"[/?#;\\]", text, maxsplit=1)[0]
    return authority, text[len(authority) :]


def _without_properties(rest: str, ends: str) -> tuple[str, str]:
    """Return what stands before ``?KEY=VALUE`` or ``;KEY=VALUE``, and these: an @ among them ends no password."""
    for found in re.finditer(ends, rest):
        if _PROPERTY.match(rest, found.end()):
            return rest[: found.start()], rest[found.start() :]
    return rest, ""
