"""unix:///path or unix://@name: a socket file (or abstract socket) that accepts a connection and keeps it."""

import asyncio
import errno
import os
import re
import socket
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from gatekeeper.model import Outcome, Reason, Signal, failed, waiting
from gatekeeper.probes._connect import MissError, outcome_of
from gatekeeper.probes._exchange import exchange
from gatekeeper.probes._options import Options, build, option
from gatekeeper.probes._target import absolute_path, rest_of, unescaped
from gatekeeper.values import BadValueError, duration, escaped, pattern

_LONGEST = 107  # bytes of sun_path without its NUL (unix(7))


@dataclass(frozen=True, slots=True)
class Unix:
    """A Unix stream socket that accepts a connection and keeps it."""

    EXAMPLE: ClassVar[str] = "docker=unix:///run/docker.sock"

    path: str
    linger: float | None = option(
        duration, "watch a new connection so long for a hang-up; 0 does not (two round trips)"
    )
    send: bytes | None = option(escaped, r"bytes to send, with \r \n \t \0 \\ \xNN", secret=True)
    expect: re.Pattern[bytes] | None = option(pattern, "regular expression that the answer must match")

    @classmethod
    def parse(cls, target: str, options: Options) -> Self:
        """Make the probe of a target; raises `BadOptionsError`."""
        return build(cls, options, lambda: _path_of(target))

    async def attempt(self) -> Outcome:
        """Connect, and see whether the connection is kept or answered."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            with self._connect() as sock:
                took = loop.time() - began
                return await exchange(sock, self.path, took, linger=self.linger, send=self.send, expect=self.expect)
        except MissError as miss:
            return miss.outcome

    def watch(self) -> Signal | None:
        """Return a signal that tells when the socket file comes or goes; None where the kernel does not tell."""
        if self.path.startswith("@"):
            return None
        from gatekeeper.probes._inotify import watch  # noqa: PLC0415 - loads ctypes, needed only while waiting

        return watch(self.path)

    def _connect(self) -> socket.socket:
        # Not asyncio's sock_connect: it takes EAGAIN for a connect under way, which on a Unix socket means a full
        # backlog, and would call the unconnected socket connected. Here connect(2) never blocks.
        address = "\0" + self.path[1:] if self.path.startswith("@") else self.path
        try:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            raise MissError(outcome_of(error, self.path)) from None
        try:
            sock.connect(os.fsencode(address))
        except OSError as error:
            sock.close()
            raise MissError(self._miss(error)) from None
        return sock

    def _miss(self, error: OSError) -> Outcome:
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return waiting(Reason.NOT_FOUND, self.path, cheap=True, gone=True)
        if isinstance(error, ConnectionRefusedError) and self._is_other_file():
            return waiting(Reason.WRONG_PROTOCOL, f"{self.path} (not a socket)", cheap=True)
        if isinstance(error, PermissionError):
            return waiting(Reason.FORBIDDEN, self.path, cheap=True)
        if isinstance(error, BlockingIOError):
            return waiting(Reason.STARTING, f"{self.path} (its backlog is full)", cheap=True)
        if error.errno == errno.EPROTOTYPE:
            return failed(Reason.WRONG_PROTOCOL, f"{self.path} (not a stream socket)")
        return outcome_of(error, self.path)

    def _is_other_file(self) -> bool:
        if not self.path.startswith("@"):
            with suppress(OSError):
                return not stat.S_ISSOCK(os.stat(self.path).st_mode)
        return False


def _path_of(target: str) -> Mapping[str, Any]:
    example = "unix:///run/app.sock or unix://@name"
    name = rest_of(target)
    path = unescaped(name) if name.startswith("@") else absolute_path(target, example)
    if path in ("@", "/"):
        message = f"names no socket: write {example}"
        raise BadValueError(message)
    if len(os.fsencode(path)) > _LONGEST:
        message = f"is longer than the {_LONGEST} bytes that the address of a Unix socket can have"
        raise BadValueError(message)
    return {"path": path}
