"""What a stub resolver is told in resolv.conf(5): whom to ask, and under which names. Asks nobody.

Read as glibc reads it, because the application's answers come about that way; what glibc ignores is ignored here.
"""

import socket
from typing import NamedTuple

from gatekeeper.resolve import Peer

RESOLV_CONF = "/etc/resolv.conf"
DNS_PORT = 53

_MOST_SERVERS = 3  # resolv.conf(5): MAXNS
_MOST_DOTS = 15
_MOST_READ = 64 * 1024
_LONGEST_NAME = 254  # RFC 1035, 2.3.4, as text with the trailing dot


class ResolvConf(NamedTuple):
    """The nameservers in order, the search list, and the dots from which on a name is first tried as it is."""

    servers: tuple[Peer, ...]
    search: tuple[str, ...]
    ndots: int


def read(path: str, port: int) -> ResolvConf:
    """Return what the file says, with the defaults of resolv.conf(5) for what it does not say, or where it is missing.

    ``port`` is where its nameservers listen. Raises OSError where there is a file that cannot be read.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read(_MOST_READ).splitlines()
    except FileNotFoundError:
        lines = []
    servers: list[Peer] = []
    search, ndots = _own_domain(), 1
    for line in lines:
        match line.split():
            case [first, *_] if first[0] in "#;":
                continue
            case ["nameserver", address, *_]:
                servers += _peer(address, port)
            case ["search", *domains]:
                search = tuple(domains)
            case ["domain", domain, *_]:
                search = (domain,)
            case ["options", *options]:
                ndots = _ndots(options, ndots)
    return ResolvConf(tuple(servers[:_MOST_SERVERS]) or tuple(_peer("127.0.0.1", port)), search, ndots)


def candidates(name: str, conf: ResolvConf) -> tuple[str, ...]:
    """Return the absolute names to try for a name, in the order of glibc; a name with a trailing dot is tried alone."""
    if name.endswith("."):
        return (name,)
    searched = [f"{name}.{domain.strip('.')}.".replace("..", ".") for domain in conf.search]
    as_it_is = f"{name}."
    order = [as_it_is, *searched] if name.count(".") >= conf.ndots else [*searched, as_it_is]
    return tuple(dict.fromkeys(text for text in order if _is_name(text)))


def _own_domain() -> tuple[str, ...]:
    domain = socket.gethostname().partition(".")[2]
    return (domain,) if domain else ()


def _peer(address: str, port: int) -> list[Peer]:
    try:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):  # not an address: glibc passes over the line
        return []
    return [Peer(family, sockaddr) for family, _, _, _, sockaddr in found]  # type: ignore[arg-type]  # AF_INET and AF_INET6


def _ndots(options: list[str], ndots: int) -> int:
    for option in options:
        key, _, value = option.partition(":")
        if key == "ndots" and value.isascii() and value.isdigit():
            ndots = min(int(value[:4]), _MOST_DOTS)
    return ndots


def _is_name(name: str) -> bool:
    labels = name[:-1].split(".")
    return len(name) <= _LONGEST_NAME and name.isascii() and all(0 < len(label) < 64 for label in labels)  # noqa: PLR2004 - RFC 1035, 2.3.4
