"""unix:///path or unix://@name: a socket file (or abstract socket) that accepts a connection and keeps it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from gatekeeper.model import Outcome, Signal
from gatekeeper.probes._aside import reachable
from gatekeeper.probes._exchange import escaped, exchange
from gatekeeper.probes._miss import MissError
from gatekeeper.probes._options import Options, build, later, option
from gatekeeper.probes._socketfile import connect_file, socket_path
from gatekeeper.probes._target import absolute_path, rest_of, unescaped
from gatekeeper.values import BadValueError, duration

if TYPE_CHECKING:
    from gatekeeper.probes._pattern import Pattern

_PATTERN = later("_pattern", "pattern")


@dataclass(frozen=True, slots=True)
class Unix:
    """A Unix stream socket that accepts a connection and keeps it."""

    EXAMPLE: ClassVar[str] = "docker=unix:///run/docker.sock"

    path: str
    linger: float | None = option(
        duration, "watch a new connection so long for a hang-up; 0 does not", unset="two round trips"
    )
    send: bytes | None = option(escaped, r"bytes to send, in quotes: '\r \n \t \0 \\ \xNN'", secret=True)
    expect: "Pattern | None" = option(_PATTERN, "regular expression that the answer must match")

    @classmethod
    def parse(cls, target: str, options: Options) -> Self:
        """Make the probe of a target; raises `BadOptionsError`."""
        return build(cls, options, lambda: _path_of(target))

    async def attempt(self) -> Outcome:
        """Connect, and see whether the connection is kept or answered."""
        loop = asyncio.get_running_loop()
        try:
            if not self.path.startswith("@"):
                await reachable(self.path)
            began = loop.time()
            with connect_file(self.path) as sock:
                took = loop.time() - began
                return await exchange(sock, self.path, took, linger=self.linger, send=self.send, expect=self.expect)
        except MissError as miss:
            return miss.outcome

    async def watch(self) -> Signal | None:
        """Return a signal that tells when the socket file comes or goes; None where the kernel does not tell."""
        if self.path.startswith("@"):
            return None
        await reachable(self.path)
        from gatekeeper.probes._inotify import watch  # noqa: PLC0415 - loads ctypes, needed only while waiting

        return watch(self.path)


def _path_of(target: str) -> Mapping[str, Any]:
    example = "unix:///run/app.sock or unix://@name"
    name = rest_of(target)
    path = unescaped(name) if name.startswith("@") else absolute_path(target, example)
    if path in ("@", "/"):
        message = f"names no socket: write {example}"
        raise BadValueError(message)
    return {"path": socket_path(path)}
