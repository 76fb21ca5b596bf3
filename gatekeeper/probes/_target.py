"""The parts of a target that kinds share: a host with a port, a path, an argument vector."""

import re
import shlex

from gatekeeper.values import BadValueError, quoted

_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?", re.ASCII)
_LAST_PORT = 65535


def rest_of(url: str) -> str:
    """Return what follows the kind and its ``//``."""
    return url.partition(":")[2].removeprefix("//")


def host_and_port(authority: str, example: str) -> tuple[str, int]:
    """Return the host (IPv6 without its brackets) and the port of ``HOST:PORT``; ``example`` shows the right form."""
    host, port = split_port(authority, example)
    if port is None:
        message = f"has no port: write {example}"
        raise BadValueError(message)
    return host, port


def split_port(authority: str, example: str) -> tuple[str, int | None]:
    """Return the host (IPv6 without its brackets) and the port, None where there is none."""
    if "@" in authority:
        message = f"takes no user or password: write {example}"
        raise BadValueError(message)
    if re.search(r"[/?#]", authority):
        message = f"takes nothing behind the port: write {example}"
        raise BadValueError(message)
    if authority.startswith("["):
        bracketed = re.fullmatch(r"\[([^\]]*)\](?::(.*))?", authority)
        if not bracketed or not _is_ipv6(bracketed[1]):
            message = f"{quoted(authority)} is no IPv6 address in brackets: write [::1] or [::1]:5432"
            raise BadValueError(message)
        return bracketed[1], None if bracketed[2] is None else port_number(bracketed[2])
    if authority.count(":") > 1:
        message = f"{quoted(authority)} looks like an IPv6 address: write it in brackets, as in [::1]:5432"
        raise BadValueError(message)
    host, colon, port = authority.partition(":")
    return host_name(host, example), port_number(port) if colon else None


def host_name(host: str, example: str) -> str:
    """Return a host name or IPv4 address in the form that a resolver takes (IDNA for other scripts)."""
    if not host:
        message = f"has no host: write {example}"
        raise BadValueError(message)
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError as error:
            message = f"{quoted(host)} is no host name: {error}"
            raise BadValueError(message) from None
    if not _HOST.fullmatch(host) or any(not 0 < len(label) < 64 for label in host.removesuffix(".").split(".")):  # noqa: PLR2004 - RFC 1035 2.3.4
        message = f"{quoted(host)} is no host name"
        raise BadValueError(message)
    return host


def port_number(text: str) -> int:
    """Return a port from 1 to 65535."""
    if re.fullmatch(r"[0-9]{1,6}", text) and 0 < int(text) <= _LAST_PORT:
        return int(text)
    message = f"{quoted(text)} is no port: write a number from 1 to {_LAST_PORT}"
    raise BadValueError(message)


def absolute_path(url: str, example: str) -> str:
    """Return the path of ``kind:///path``."""
    path = rest_of(url)
    if not path.startswith("/"):
        message = f"needs an absolute path: write {example}"
        raise BadValueError(message)
    if "\0" in path:
        message = "has a NUL byte in its path"
        raise BadValueError(message)
    return path


def words(command: str) -> tuple[str, ...]:
    """Return the argument vector of a command, split as a POSIX shell splits words; no shell runs it."""
    try:
        argv = tuple(shlex.split(command))
    except ValueError as error:
        message = f"cannot be split into words: {error}"
        raise BadValueError(message) from None
    if not argv or not argv[0]:
        message = "has no command: write exec:'COMMAND ARGUMENT…'"
        raise BadValueError(message)
    return argv


def _is_ipv6(text: str) -> bool:
    import socket  # noqa: PLC0415 - only where there is an IPv6 literal

    try:
        socket.inet_pton(socket.AF_INET6, text.partition("%")[0])
    except OSError:
        return False
    return True
