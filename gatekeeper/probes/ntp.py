"""ntp://HOST[:PORT]: a time server that is synchronised (NTP version 4, RFC 5905; a client's mode 3).

One datagram, as SNTP has it (14): nothing of this machine is in it, and the random number in the place of its clock is
what an answer is known by.
"""

import asyncio
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from gatekeeper.model import Outcome, Reason, failed, ready, waiting
from gatekeeper.probes._connect import outcome_of, over_endpoints
from gatekeeper.probes._miss import during
from gatekeeper.probes._options import Options, build, option
from gatekeeper.probes._race import Endpoints, endpoints
from gatekeeper.probes._target import rest_of, split_port
from gatekeeper.resolve import Peer

_PORT = 123
_LENGTH = 48  # bytes of a header (7.3)
_CLIENT = 4 << 3 | 3  # version 4, mode 3
_SERVER = 4  # the mode of an answer
_UNSYNCHRONISED = 3  # the leap indicator that says so
_KISS, _TOO_FAR = 0, 16  # strata (7.3)
_DENIED, _RATE = (b"DENY", b"RSTR"), b"RATE"  # kiss codes (7.4)
_RATE_PAUSE = 64.0  # seconds: the shortest poll interval of a client by default (7.2, 2^6)
_MOST = 2048  # bytes of a datagram: more is no answer
_MOST_STRAY = 32  # datagrams that answer something else


@dataclass(frozen=True, slots=True)
class Ntp:
    """A time server that is synchronised."""

    EXAMPLE: ClassVar[str] = "clock=ntp://ntp.example.org"
    OVER_THE_NETWORK: ClassVar[bool] = True

    host: str
    port: int
    endpoints: Endpoints = option(endpoints, "how many of the addresses must pass: any, all or a number", default="any")

    @classmethod
    def parse(cls, target: str, options: Options) -> Self:
        """Make the probe of a target; raises `BadOptionsError`."""

        def read() -> Mapping[str, Any]:
            host, port = split_port(rest_of(target), "ntp://HOST:PORT")
            return {"host": host, "port": _PORT if port is None else port}

        return build(cls, options, read)

    async def attempt(self) -> Outcome:
        """Ask each address that is wanted for the time."""
        return await over_endpoints(self.host, self.port, self.endpoints, _ask)


async def _ask(peer: Peer) -> Outcome:
    loop, cookie = asyncio.get_running_loop(), secrets.token_bytes(8)
    request = bytes([_CLIENT]).ljust(_LENGTH - len(cookie), b"\0") + cookie
    try:
        with (
            socket.socket(peer.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock,
            during(f"waiting for an answer of {peer}"),
        ):
            sock.connect(peer.address)  # so that an ICMP refusal and only the answers of this address come back
            sock.send(request)
            for _ in range(_MOST_STRAY):
                answer = await loop.sock_recv(sock, _MOST)
                await asyncio.sleep(0)  # a socket that always has more to give never suspends sock_recv
                if len(answer) < _LENGTH or answer[0] & 7 != _SERVER:
                    break
                if answer[24:32] == cookie:  # the origin timestamp
                    return _judged(answer, str(peer))
    except OSError as error:
        return outcome_of(error, str(peer))
    return waiting(Reason.WRONG_PROTOCOL, f"{peer} (it answers in another protocol)")


def _judged(answer: bytes, where: str) -> Outcome:
    leap, stratum, code = answer[0] >> 6, answer[1], answer[12:16]
    if stratum == _KISS and code in _DENIED:
        return failed(Reason.FORBIDDEN, f"{where} (it denies its service)")
    if stratum == _KISS and code == _RATE:
        return waiting(Reason.STARTING, f"{where} (it was asked too often)", retry_after=_RATE_PAUSE)
    if leap == _UNSYNCHRONISED or not _KISS < stratum < _TOO_FAR:
        return waiting(Reason.STARTING, f"{where} (its clock is not synchronised)")
    return ready(where)
