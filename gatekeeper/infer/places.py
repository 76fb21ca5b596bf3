"""From ``HOST[:PORT]`` to targets: what stands in other people's settings in the place of a server.

Pure. No message holds a part of the value, because what is taken for a host may be a piece of a password.
"""

import ipaddress
import re
from functools import lru_cache
from typing import NamedTuple

from gatekeeper.probes._protocols import Spoken, usual_at

# A URL in a variable names a server, hardly ever a page of it that tells health: any answer but an error of the server.
_ANY_ANSWER = ("status", "100-499")
# No password is taken from a variable; without one, a Redis that has one tells at most that it is there.
_NO_LOGIN = ("login", "no")
# Nor does a variable say that a server of gRPC has the service that tells health, and without it the gate would fail.
_NO_HEALTH = ("accept_unimplemented", "yes")
_REDIS_KINDS = ("redis", "rediss", "valkey", "valkeys")
_GRPC_KINDS = ("grpc", "grpcs")
_HTTPS = 443
# Whose servers speak TLS alone, at the port that is otherwise for plain.
_ALWAYS_OVER_TLS = re.compile(
    r".+\.(confluent\.cloud|tmprl\.cloud|api\.temporal\.io|servicebus\.windows\.net|redis\.cache\.windows\.net|upstash\.io)\.?",
    re.IGNORECASE,
)
_WEB_KINDS = ("http", "https")
_LISTENS = re.compile(r"0\.0\.0\.0|\[?::\]?|\*|")
_LABEL = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = rf"\[[0-9A-Fa-f:.]+\]|{_LABEL}(\.{_LABEL})*\.?"
_PLACE = re.compile(rf"(?P<host>{_HOST})(:(?P<port>[0-9]{{1,5}}))?", re.ASCII)
_NO = re.compile("none|null|nil|false|true|off|on|no|yes|disabled|enabled|undefined|changeme|todo", re.IGNORECASE)
_LONGEST_NAME = 253
_LAST_PORT = 65535

NO_ADDRESS = "is neither a URL nor HOST:PORT"


class Named(NamedTuple):
    """The servers that a value names, any of which will do, as lines of a declaration; and what to say of them."""

    targets: tuple[str, ...]
    options: tuple[tuple[str, str], ...] = ()
    note: str = ""


class NothingNamedError(Exception):
    """Raised for a value that names no server; its message says why, for people, and holds nothing of the value."""


def places(texts: list[str], speaks: Spoken | None, word: str = "", port: str = "") -> Named:
    """Return the targets of ``HOST[:PORT]``, several; the port is its own, the neighbour's, or the usual one.

    ``word`` is what the protocol is called where there is no kind for it. Raises `NothingNamedError`.
    """
    found: list[tuple[str, int]] = []
    usual = speaks.port if speaks else None
    assumed = False
    for text in texts:
        host, own = _host(text)
        number = own or port or (str(usual) if usual else "")
        if not number:
            message = "names a host without a port, and no protocol that has a usual one"
            raise NothingNamedError(message)
        if not 1 <= int(number) <= _LAST_PORT:
            message = "has a port that is none"
            raise NothingNamedError(message)
        assumed = assumed or not (own or port)
        found.append((host, int(number)))
    kind = speaks.kind if speaks and speaks.kind else "tcp"
    # A list in which one port is for plain counts the servers of one machine, and says nothing of TLS.
    over_tls = kind != "tcp" and speaks is not None and all(_over_tls(speaks, *each) for each in found)
    notes = [f"{kind}, there being no kind for {word}"] if speaks and not speaks.kind and word else []
    likely = {usual_at(port) for _, port in found} if not speaks else set()
    notes += [f"tcp, as nothing but its port tells of {name}" for name in likely if name and len(likely) == 1]
    notes += [f"tcp, because {word} over TLS may be spoken there"] if over_tls else []
    notes += [f"the usual port {usual}"] if assumed else []
    kind = "tcp" if over_tls else kind
    targets = dict.fromkeys(f"{kind}://{host}:{number}" for host, number in found)
    return Named(tuple(targets), _options(kind), ", ".join(notes))


def _over_tls(speaks: Spoken, host: str, port: int) -> bool:
    """Tell whether a server most likely takes nobody without TLS, where what names it does not say so."""
    if speaks.kind in _WEB_KINDS or speaks.upgrades or speaks.is_secure:
        return False
    return port in (_HTTPS, *speaks.secure_ports) or bool(_ALWAYS_OVER_TLS.fullmatch(host))


def _options(kind: str) -> tuple[tuple[str, str], ...]:
    """Return what a server is asked by, of which a variable tells no more than that it is there."""
    if kind in _WEB_KINDS:
        return (_ANY_ANSWER,)
    if kind in _GRPC_KINDS:
        return (_NO_HEALTH,)
    return (_NO_LOGIN,) if kind in _REDIS_KINDS else ()


def only_reached(named: Named, why: str, kinds: str = "https?") -> Named:
    """Return the same servers, none of these kinds (a regular expression) asked for anything; ``why`` is said of it."""
    targets = tuple(re.sub(f"^({kinds})://", "tcp://", target) for target in named.targets)
    return named if targets == named.targets else Named(targets, (), ", ".join(filter(None, (why, named.note))))


def with_ports(hosts: list[str], ports: str) -> list[str]:
    """Return ``HOST[:PORT]`` of hosts and of ports with commas, of which one is for all; raises `NothingNamedError`."""
    each = ports.split(",")
    each = each * len(hosts) if len(each) == 1 else each
    if len(each) != len(hosts):
        message = "has not as many ports as hosts"
        raise NothingNamedError(message)
    return [f"{host}:{port}" if port else host for host, port in zip(hosts, each, strict=True)]


def is_place(text: str) -> bool:
    """Tell whether a text is ``HOST[:PORT]``, several with commas, and nothing else."""
    return all(found and _port_of(found) for found in map(_PLACE.fullmatch, text.split(",")))


def bracketed(text: str) -> str:
    """Return a host with brackets around it where it is an IPv6 address without them."""
    return f"[{text}]" if text.count(":") > 1 and is_address(text, 6) else text


@lru_cache(1024)  # asked of each variable of a service anew, and a namespace may have thousands
def is_address(text: str, version: int = 0) -> bool:
    """Tell whether a text is an IP address, of this version where one is said."""
    try:
        return ipaddress.ip_address(text).version in ((version,) if version else (4, 6))
    except ValueError:
        return False


def _port_of(found: re.Match[str]) -> bool:
    return found["port"] is None or int(found["port"]) <= _LAST_PORT


def _host(text: str) -> tuple[str, str]:
    """Return host and port (empty where there is none) of one place."""
    text = text.strip()
    if not text.isprintable():
        message = "holds a control character"
        raise NothingNamedError(message)
    if _LISTENS.fullmatch(re.sub(r":[0-9]*$", "", text)) and (":" in text or "." in text or not text):
        message = "is an address to listen at" if text else "names no host"
        raise NothingNamedError(message)
    if _NO.fullmatch(text):
        message = "is a word for yes or no"
        raise NothingNamedError(message)
    if text.count(":") > 1 and is_address(text, 6):
        message = "is an IPv6 address without brackets: where it ends and a port begins cannot be told"
        raise NothingNamedError(message)
    found = _PLACE.fullmatch(text)
    if not found or not _is_host(found["host"]):
        raise NothingNamedError(NO_ADDRESS)
    return found["host"], found["port"] or ""


def _is_host(host: str) -> bool:
    if host.startswith("["):
        return is_address(host[1:-1], 6)
    if re.fullmatch(r"[0-9.]+|.*\.[0-9]+\.?", host):  # RFC 1123, 2.1: no name ends in a number
        return is_address(host, 4)
    return len(host) <= _LONGEST_NAME
