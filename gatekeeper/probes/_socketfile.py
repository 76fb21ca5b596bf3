"""Connections to Unix sockets: by the path of a socket file, or by ``@name`` in the abstract namespace (unix(7))."""

import errno
import os
import socket
import stat
from contextlib import suppress

from gatekeeper.model import Outcome, Reason, waiting
from gatekeeper.probes._connect import outcome_of
from gatekeeper.probes._local import file_path
from gatekeeper.probes._miss import MissError
from gatekeeper.values import BadValueError

_LONGEST = 107  # bytes of sun_path without its NUL (unix(7))


def socket_path(text: str) -> str:
    """Return the path of a socket file, or an abstract name, that an address has room for; raises `BadValueError`."""
    path = file_path(text)
    if len(os.fsencode(path)) > _LONGEST:
        message = f"is longer than the {_LONGEST} bytes that the address of a Unix socket can have"
        raise BadValueError(message)
    return path


def connect_file(path: str) -> socket.socket:
    """Return a connected non-blocking socket; never waits; raises `MissError`."""
    # Not asyncio's sock_connect: it takes EAGAIN for a connect under way, which on a Unix socket means a full backlog,
    # and would call the unconnected socket connected. Here connect(2) never blocks.
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise MissError(outcome_of(error, path)) from None
    try:
        sock.connect(os.fsencode("\0" + path[1:] if path.startswith("@") else path))
    except OSError as error:
        sock.close()
        raise MissError(_miss(error, path)) from None
    return sock


def _miss(error: OSError, path: str) -> Outcome:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return waiting(Reason.NOT_FOUND, path, cheap=True, gone=True)
    if isinstance(error, ConnectionRefusedError) and _is_other_file(path):
        return waiting(Reason.WRONG_PROTOCOL, f"{path} (not a socket)", cheap=True)
    if isinstance(error, PermissionError):
        return waiting(Reason.FORBIDDEN, path, cheap=True)
    if isinstance(error, BlockingIOError):
        return waiting(Reason.STARTING, f"{path} (its backlog is full)", cheap=True)
    if error.errno == errno.EPROTOTYPE:
        return waiting(Reason.WRONG_PROTOCOL, f"{path} (not a stream socket)", cheap=True)
    return outcome_of(error, path)


def _is_other_file(path: str) -> bool:
    if not path.startswith("@"):
        with suppress(OSError):
            return not stat.S_ISSOCK(os.stat(path).st_mode)
    return False
