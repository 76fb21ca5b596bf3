"""What one value names: servers, as targets without user, password, path and query, or why it names none.

Pure: is given the value and a word for what may speak there. No message holds a part of the value but hosts and ports.
"""

import json
import re

from gatekeeper.infer.places import NO_ADDRESS, Named, NothingNamedError, bracketed, places, with_ports
from gatekeeper.infer.url import NO_NETWORK, SCHEME, of_url, socket_file
from gatekeeper.probes._protocols import spoken

_JDBC = re.compile(
    r"(?:jdbc|r2dbcs?):(?P<words>[a-z0-9-]++(?::[a-z0-9-]++)*+):(?://|@(?://)?)(?P<rest>[^/].*)",
    re.DOTALL | re.IGNORECASE,
)
_GO_MYSQL = re.compile(r"(.*@)?(?P<network>tcp6?|unix)\((?P<place>[^()]*)\)/.*", re.DOTALL)
_LIBPQ = re.compile(r"(?:[a-z_]++\s*+=\s*+(?:'(?:\\.|[^'\\])*+'|\S*+)(?:\s++|$))++")
_LIBPQ_PAIR = re.compile(r"([a-z_]+)\s*=\s*(?:'((?:\\.|[^'\\])*)'|(\S*))")


def read_value(value: str, hint: str = "", port: str = "", *, is_host: bool = False) -> Named:
    """Return what a value names; raises `NothingNamedError`.

    ``hint`` is a word of the variable's name that may be a protocol, ``port`` what a variable beside it says; with
    ``is_host`` an IPv6 address needs no brackets, since no port can follow it.
    """
    text = value.strip().strip("'\"").strip()
    if not text:
        message = "is empty"
        raise NothingNamedError(message)
    if "${" in text or "$(" in text:
        message = "holds a reference that nobody has replaced"
        raise NothingNamedError(message)
    if text.startswith("["):
        text = ",".join(_json_list(text))
    if named := _connection(text, hint) or _url(text, port):
        return named
    if text.startswith(("/", "./", "../")):
        message = "is a path"
        raise NothingNamedError(message)
    return places((bracketed(text) if is_host else text).split(","), spoken(hint), hint, port)


def _connection(text: str, hint: str) -> Named | None:
    """Return what a driver's own form of a connection names, None for any other text."""
    if found := _GO_MYSQL.fullmatch(text):
        return _go_mysql(found["network"], found["place"], hint)
    if found := _JDBC.fullmatch(text):
        rest = re.sub(r"^([^/:,]+:[0-9]+):\w+$", r"\1", found["rest"])  # Oracle's HOST:PORT:SID
        words = found["words"].lower().split(":")  # wrappers stand before the database, its modes behind
        return of_url(next(filter(spoken, words), words[0]), rest)
    if _LIBPQ.fullmatch(text) and re.search(r"\b(host|hostaddr|dbname)\s*=", text):
        return _libpq(text)
    return None


def _url(text: str, port: str) -> Named | None:
    """Return what one URL or several name, None for any other text."""
    if text.startswith("unix:/") and not text.startswith("unix://"):  # as gRPC writes it
        return socket_file(text.removeprefix("unix:"))
    if SCHEME.match(text):
        # From the first of several separators on, and not tried anew from each: the time grows with the length alone.
        return _urls(re.split(r"(?<![,;\s])[,;\s]++(?=[A-Za-z][A-Za-z0-9+._-]*://)", text), port)
    if re.match(r"(jdbc:)?[a-z0-9+]+:", text) and NO_NETWORK.fullmatch(_scheme_alone(text)):
        return of_url(_scheme_alone(text), "")
    return None


def _scheme_alone(text: str) -> str:
    return text.lower().removeprefix("jdbc:").partition(":")[0]


def _json_list(text: str) -> list[str]:
    """Return the texts of a list in JSON, as Kibana and others take it; what is none is one text."""
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        return [text]
    return listed if isinstance(listed, list) and all(isinstance(each, str) for each in listed) else [text]


def _urls(parts: list[str], port: str) -> Named:
    """Return what a URL names, or several."""
    found = []
    for part in parts:
        match = SCHEME.fullmatch(part.strip())
        if not match:
            raise NothingNamedError(NO_ADDRESS)
        found.append(of_url(match["scheme"].lower(), match["rest"], port))
    options = {each.options for each in found}
    if len(options) > 1:
        message = "lists servers of several kinds: declare them"
        raise NothingNamedError(message)
    targets = tuple(dict.fromkeys(target for each in found for target in each.targets))
    notes = dict.fromkeys(each.note for each in found if each.note)
    return Named(targets, options.pop(), "; ".join(notes))


def _go_mysql(network: str, place: str, hint: str) -> Named:
    if network == "unix":
        return socket_file(place)
    known = hint if spoken(hint) else "mysql"
    return places([place], spoken(known), known, "")


def _libpq(text: str) -> Named:
    """Return the servers of keywords and values (libpq, 34.1.1.1): several hosts with commas, as many ports or one."""
    said = {key: quoted.replace("\\'", "'") or bare for key, quoted, bare in _LIBPQ_PAIR.findall(text)}
    hosts = (said.get("host") or said.get("hostaddr") or "").split(",")
    if not hosts[0] or hosts[0].startswith(("/", "@")):
        message = "names no host: a socket file of this machine is meant"
        raise NothingNamedError(message)
    written = with_ports([bracketed(host) for host in hosts], said.get("port", ""))
    return places(written, spoken("postgres"), "postgres", "")
