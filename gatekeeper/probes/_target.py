"""The parts of a target that kinds share: a host with a port, a path, an argument vector."""

import os
import re
import shlex

from gatekeeper.values import BadValueError, quoted

_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?", re.ASCII)
_LAST_PORT = 65535
_LONGEST_PATH, _LONGEST_NAME = 4096, 255  # PATH_MAX with its NUL, NAME_MAX


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
    refuse_more(authority, example)
    if authority.startswith("["):
        bracketed = re.fullmatch(r"\[([^\]]*)\](?::(.*))?", authority)
        if not bracketed or not _is_ipv6(bracketed[1]):
            message = f"{quoted(authority)} is no IPv6 address in brackets: write [::1] or [::1]:5432"
            raise BadValueError(message)
        return bracketed[1], None if bracketed[2] is None else port_number(bracketed[2])
    if re.fullmatch(r"[^,]+:[0-9]+,.*", authority):
        message = "takes one server: write several as alternatives, with | between their whole targets"
        raise BadValueError(message)
    if authority.count(":") > 1:
        message = f"{quoted(authority)} looks like an IPv6 address: write it in brackets, as in [::1]:5432"
        raise BadValueError(message)
    host, colon, port = authority.partition(":")
    return host_name(host, example), port_number(port) if colon else None


def refuse_more(authority: str, example: str) -> None:
    """Refuse more than a host and a port: raises `BadValueError` for a user, a path, a query."""
    if "@" in authority:
        message = f"takes no user or password: write {example}"
        raise BadValueError(message)
    if re.search(r"[/?#]", authority):
        message = f"takes nothing behind the port: write {example}"
        raise BadValueError(message)


def host_name(host: str, example: str) -> str:
    """Return a host name or IPv4 address in the form that a resolver takes (IDNA for other scripts)."""
    if not host:
        message = f"has no host: write {example}"
        raise BadValueError(message)
    if re.search("[=;]", host):  # settings of some driver: a password may be one of them
        message = f"has settings where a host should be (they are not shown): write {example}"
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
    what = f"{quoted(text)} is no port"
    if not re.fullmatch("[0-9]*", text):  # where an @ was forgotten a password stands there
        what = "has no number as its port (it is not shown)"
    message = f"{what}: write a number from 1 to {_LAST_PORT}"
    raise BadValueError(message)


def absolute_path(url: str, example: str) -> str:
    """Return the path of ``kind:///path``, its %-escapes replaced (RFC 8089, 2); ``?`` and ``#`` belong to the path."""
    rest = rest_of(url)
    if not re.match("/|%2F", rest, re.IGNORECASE):  # a password may stand there
        message = f"needs an absolute path: write {example}"
        raise BadValueError(message)
    path = unescaped(rest)
    if len(os.fsencode(path)) >= _LONGEST_PATH or any(
        len(os.fsencode(part)) > _LONGEST_NAME for part in path.split("/")
    ):
        message = f"is longer than a path can be ({_LONGEST_PATH - 1} bytes, {_LONGEST_NAME} for each part)"
        raise BadValueError(message)
    return path


def unescaped(path: str) -> str:
    """Return a path with ``%20`` and the like replaced; a percent sign is written ``%25``."""
    if re.search(r"%(?![0-9A-Fa-f]{2})", path):
        message = "has a % that begins no escape: write %25 for a percent sign"  # unquoted: a password may stand there
        raise BadValueError(message)
    if re.search(r"%(?:[01][0-9A-Fa-f]|7[Ff])", path) or not _plain(path):
        message = "has a control character or half of a surrogate pair in its path"
        raise BadValueError(message)
    return os.fsdecode(re.sub(rb"%(..)", lambda match: bytes([int(match[1], 16)]), os.fsencode(path)))


def words(command: str) -> tuple[str, ...]:
    """Return the argument vector of a command, split as a POSIX shell splits words; no shell runs it."""
    try:
        argv = tuple(shlex.split(command))
    except ValueError as error:
        message = f"cannot be split into words: {error}"
        raise BadValueError(message) from None
    if "\0" in command or not all(map(_plain, argv[:1])) or not _encodable(command):
        message = "has a character that no command can hold"
        raise BadValueError(message)
    if not argv or not argv[0]:
        message = "has no command: write exec:'COMMAND ARGUMENT…'"
        raise BadValueError(message)
    return argv


def _plain(text: str) -> bool:
    # Paths are shown, on one line: nobody has control characters in them for a good reason.
    return _encodable(text) and not re.search(r"[\x00-\x1f\x7f]", text)


def _encodable(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def _is_ipv6(text: str) -> bool:
    import socket  # noqa: PLC0415 - only where there is an IPv6 literal

    try:
        socket.inet_pton(socket.AF_INET6, text.partition("%")[0])
    except OSError:
        return False
    return True
