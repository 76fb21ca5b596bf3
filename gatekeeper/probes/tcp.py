"""tcp://HOST:PORT: a port that accepts a connection and keeps it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from gatekeeper.model import Outcome
from gatekeeper.probes._connect import connect, over_endpoints
from gatekeeper.probes._exchange import escaped, exchange
from gatekeeper.probes._options import Options, build, later, option
from gatekeeper.probes._race import Endpoints, endpoints
from gatekeeper.probes._target import host_and_port, rest_of
from gatekeeper.resolve import Peer
from gatekeeper.values import duration

if TYPE_CHECKING:
    from gatekeeper.probes._pattern import Pattern

_PATTERN = later("_pattern", "pattern")


@dataclass(frozen=True, slots=True)
class Tcp:
    """A TCP port that accepts a connection and keeps it."""

    EXAMPLE: ClassVar[str] = "db=tcp://postgres:5432"
    OVER_THE_NETWORK: ClassVar[bool] = True

    host: str
    port: int
    endpoints: Endpoints = option(endpoints, "how many of the addresses must pass: any, all or a number", default="any")
    linger: float | None = option(
        duration, "watch a new connection so long for a hang-up; 0 does not", unset="two round trips"
    )
    send: bytes | None = option(escaped, r"bytes to send, in quotes: '\r \n \t \0 \\ \xNN'", secret=True)
    expect: "Pattern | None" = option(_PATTERN, "regular expression that the answer must match")

    @classmethod
    def parse(cls, target: str, options: Options) -> Self:
        """Make the probe of a target; raises `BadOptionsError`."""

        def read() -> Mapping[str, Any]:
            host, port = host_and_port(rest_of(target), "tcp://HOST:PORT")
            return {"host": host, "port": port}

        return build(cls, options, read)

    async def attempt(self) -> Outcome:
        """Connect, and see whether the connection is kept or answered."""
        return await over_endpoints(self.host, self.port, self.endpoints, self._attempt_at)

    async def _attempt_at(self, peer: Peer) -> Outcome:
        loop = asyncio.get_running_loop()
        began = loop.time()
        sock = await connect(peer)
        with sock:
            took = loop.time() - began
            return await exchange(sock, str(peer), took, linger=self.linger, send=self.send, expect=self.expect)
