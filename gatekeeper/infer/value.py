"""What one value names: servers, as targets without user, password, path and query, or why it names none.

Pure: is given the value and a word for what may speak there. No message holds a part of the value but hosts and ports.
"""

import re
from typing import NamedTuple

from gatekeeper.probes._protocols import Spoken, spoken

# A URL in a variable names a server, hardly ever a page of it that tells health: any answer but an error of the server.
_ANY_ANSWER = "status=100-499"
_LISTENS = re.compile(r"0\.0\.0\.0|\[?::\]?|\*|")
_HOST = r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?"
_PLACE = re.compile(rf"(?P<host>{_HOST})(:(?P<port>[0-9]{{1,5}}))?", re.ASCII)
_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9.-]*(\+[A-Za-z0-9+.-]+)?)://(?P<rest>.*)", re.DOTALL)
_JDBC = re.compile(
    r"jdbc:(?P<scheme>[a-z0-9]+)(?::[a-z0-9-]+)*+:(?://|@(?://)?)(?P<rest>[^/].*)", re.DOTALL | re.IGNORECASE
)
_GO_MYSQL = re.compile(r"(.*@)?(?P<network>tcp6?|unix)\((?P<place>[^()]*)\)/.*", re.DOTALL)
_LIBPQ = re.compile(r"(?:[a-z_]++\s*+=\s*+(?:'(?:\\.|[^'\\])*+'|\S*+)(?:\s++|$))++")
_LIBPQ_PAIR = re.compile(r"([a-z_]+)\s*=\s*(?:'((?:\\.|[^'\\])*)'|(\S*))")
_NO_NETWORK = re.compile(r"sqlite3?|file|mem(ory)?|h2|derby|hsqldb|duckdb|data|mailto|about|javascript")
_DATAGRAMS = frozenset(("udp", "udp4", "udp6", "sctp", "unixgram"))


class Named(NamedTuple):
    """The servers that a value names, any of which will do, as lines of a declaration; and what to say of them."""

    targets: tuple[str, ...]
    options: tuple[tuple[str, str], ...] = ()
    note: str = ""


class NothingNamedError(Exception):
    """Raised for a value that names no server; its message says why, for people, and holds nothing of the value."""


def read_value(value: str, hint: str = "", port: str = "") -> Named:
    """Return what a value names; raises `NothingNamedError`.

    ``hint`` is a word of the variable's name that may be a protocol, ``port`` what a variable beside it says.
    """
    text = value.strip().strip("'\"").strip()
    if not text:
        message = "is empty"
        raise NothingNamedError(message)
    if "${" in text or "$(" in text:
        message = "holds a reference that nobody has replaced"
        raise NothingNamedError(message)
    if not text.isprintable():
        message = "holds a control character"
        raise NothingNamedError(message)
    if found := _GO_MYSQL.fullmatch(text):
        return _go_mysql(found["network"], found["place"], hint)
    if found := _JDBC.fullmatch(text):
        rest = re.sub(r"^([^/:,]+:[0-9]+):\w+$", r"\1", found["rest"])  # Oracle's HOST:PORT:SID
        return _of_url(found["scheme"].lower(), rest, "")
    if _SCHEME.match(text):
        return _urls(text, port)
    if re.match(r"(jdbc:)?[a-z0-9+]+:", text) and _NO_NETWORK.fullmatch(_scheme_alone(text)):
        return _nowhere()
    if _LIBPQ.fullmatch(text) and re.search(r"\b(host|hostaddr|dbname)\s*=", text):
        return _libpq(text)
    if text.startswith(("/", "./", "../")):
        message = "is a path"
        raise NothingNamedError(message)
    return _places(text.split(","), spoken(hint), hint, port)


def _scheme_alone(text: str) -> str:
    return text.lower().removeprefix("jdbc:").partition(":")[0]


def _urls(text: str, port: str) -> Named:
    """Return what a URL names, or several with commas between them."""
    parts = re.split(r"[,\s]+(?=[A-Za-z][A-Za-z0-9+.-]*://)", text)
    found = []
    for part in parts:
        match = _SCHEME.fullmatch(part.strip())
        if not match:
            raise NothingNamedError(_NO_ADDRESS)
        found.append(_of_url(match["scheme"].lower(), match["rest"], port))
    options = {each.options for each in found}
    if len(options) > 1:
        message = "lists servers of several kinds: declare them"
        raise NothingNamedError(message)
    targets = tuple(dict.fromkeys(target for each in found for target in each.targets))
    notes = dict.fromkeys(each.note for each in found if each.note)
    return Named(targets, options.pop(), "; ".join(notes))


def _of_url(scheme: str, rest: str, port: str) -> Named:
    base, _, driver = scheme.partition("+")
    if _NO_NETWORK.fullmatch(base):
        return _nowhere()
    if scheme in _DATAGRAMS:
        message = "is for datagrams, which no connection can be made for"
        raise NothingNamedError(message)
    if base == "unix" or driver in ("unix", "socket"):
        return _socket_file(rest)
    authority = re.split(r"[/?#;\\]", rest, maxsplit=1)[0]
    if "@" not in authority and "@" in rest:  # a password with an unescaped / ? # ends the authority too early
        authority = re.split(r"[/?#;\\]", rest.rpartition("@")[2], maxsplit=1)[0]
    places = authority.rpartition("@")[2]
    if driver == "srv":
        return Named((f"dns://_{base}._tcp.{_host(places)[0]}",), (("type", "SRV"),), "a name with SRV records")
    speaks = spoken(scheme) or spoken(base)
    if base in ("tcp", "tcp4", "tcp6"):
        return _places(places.split(","), Spoken("tcp", None), "", port)
    if speaks is None:
        named = _places(places.split(","), None, "", port)
        return named._replace(note=f"tcp: {scheme} is no scheme that is known")
    return _places(places.split(","), speaks, scheme if spoken(scheme) else base, port)


def _nowhere() -> Named:
    message = "names no server of a network"
    raise NothingNamedError(message)


def _socket_file(rest: str) -> Named:
    path = "/" + re.split(r"[?#]", rest, maxsplit=1)[0].lstrip("/")
    if path == "/" or not re.fullmatch(r"[A-Za-z0-9_./@+-]+", path):
        message = "names no socket file that can be told"
        raise NothingNamedError(message)
    return Named((f"unix://{path}",))


def _go_mysql(network: str, place: str, hint: str) -> Named:
    if network == "unix":
        return _socket_file(place)
    known = hint if spoken(hint) else "mysql"
    return _places([place], spoken(known), known, "")


def _libpq(text: str) -> Named:
    """Return the servers of keywords and values (libpq, 34.1.1.1): several hosts with commas, as many ports or one."""
    said = {key: quoted.replace("\\'", "'") or bare for key, quoted, bare in _LIBPQ_PAIR.findall(text)}
    hosts = (said.get("host") or said.get("hostaddr") or "").split(",")
    if not hosts[0] or hosts[0].startswith(("/", "@")):
        message = "names no host: a socket file of this machine is meant"
        raise NothingNamedError(message)
    ports = said.get("port", "").split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    if len(ports) != len(hosts):
        message = "has not as many ports as hosts"
        raise NothingNamedError(message)
    written = [f"[{host}]" if host.count(":") > 1 else host for host in hosts]
    places = [f"{host}:{port}" if port else host for host, port in zip(written, ports, strict=True)]
    return _places(places, spoken("postgres"), "postgres", "")


def _places(places: list[str], speaks: Spoken | None, word: str, port: str) -> Named:
    """Return the targets of ``HOST[:PORT]``, several; the port is its own, the neighbour's, or the usual one."""
    targets = []
    kind = speaks.kind if speaks and speaks.kind else "tcp"
    usual = speaks.port if speaks else None
    assumed = False
    for place in places:
        host, own = _host(place)
        number = own or port or (str(usual) if usual else "")
        if not number:
            message = "names a host without a port, and no protocol that has a usual one"
            raise NothingNamedError(message)
        if not 1 <= int(number) <= 65535:  # noqa: PLR2004 - the last port
            message = "has a port that is none"
            raise NothingNamedError(message)
        assumed = assumed or not (own or port)
        targets.append(f"{kind}://{host}:{number}")
    notes = [f"{kind}, there being no kind for {word}"] if speaks and not speaks.kind else []
    notes += [f"the usual port {usual}"] if assumed else []
    options = (("status", _ANY_ANSWER.partition("=")[2]),) if kind in ("http", "https") else ()
    return Named(tuple(dict.fromkeys(targets)), options, ", ".join(notes))


_NO_ADDRESS = "is neither a URL nor HOST:PORT"


def _host(place: str) -> tuple[str, str]:
    """Return host and port (empty where there is none) of one place; raises `NothingNamedError`."""
    text = place.strip()
    if _LISTENS.fullmatch(re.sub(r":[0-9]*$", "", text)) and (":" in text or "." in text or not text):
        message = "is an address to listen at" if text else "names no host"
        raise NothingNamedError(message)
    found = _PLACE.fullmatch(text)
    if not found or re.fullmatch(r"[0-9]+", found["host"]):
        raise NothingNamedError(_NO_ADDRESS)
    return found["host"], found["port"] or ""
