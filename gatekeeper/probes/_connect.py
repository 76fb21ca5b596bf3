"""Connections: from a host to a connected socket, with every failure as an outcome.

Whatever opens a socket here closes it when it fails or is cancelled.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from gatekeeper.model import Outcome, Reason, waiting
from gatekeeper.probes._miss import MissError, during
from gatekeeper.probes._race import Endpoints, first_of, over_peers
from gatekeeper.resolve import Peer, UnresolvedError, resolve

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.EAGAIN)


def outcome_of(error: OSError, where: str) -> Outcome:
    """Return what an error of the operating system says about the other side."""
    if isinstance(error, ConnectionRefusedError):
        return waiting(Reason.REFUSED, where, cheap=True, gone=True)
    # A connection that was reset between two calls is one that is not connected.
    if isinstance(error, ConnectionError) or error.errno == errno.ENOTCONN:
        return waiting(Reason.RESET, where, cheap=True)
    if isinstance(error, TimeoutError):
        return waiting(Reason.TIMED_OUT, f"connecting to {where}")
    # Not the error's own text: asyncio puts the address into it once more.
    why = f"{where} ({os.strerror(error.errno) if error.errno else error})"
    return waiting(Reason.EXHAUSTED if error.errno in _EXHAUSTED else Reason.UNREACHABLE, why)


async def addresses(host: str, port: int) -> tuple[Peer, ...]:
    """Return the addresses of a host; raises `MissError`."""
    try:
        with during(f"resolving {host}"):
            return await resolve(host, port)
    except UnresolvedError as error:
        miss = waiting(Reason.UNRESOLVED, f"{host} ({error})", gone=error.definite)
        raise MissError(miss._replace(confirm=partial(_nobody_knows, host), questions=_questions(host))) from None
    except OSError as error:
        raise MissError(outcome_of(error, f"resolving {host}")) from None


def _questions(host: str) -> int:
    """Return how many questions getaddrinfo(3) asks for a name that is not there."""
    from gatekeeper.probes import _resolvconf  # noqa: PLC0415 - what is there needs no count

    try:
        conf = _resolvconf.read(_resolvconf.RESOLV_CONF, _resolvconf.DNS_PORT)
    except OSError:
        return 0
    return 2 * len(_resolvconf.candidates(host, conf))


async def _nobody_knows(host: str) -> bool:
    """Tell whether DNS says for certain that there is no such name: getaddrinfo(3) says so of some failures as well."""
    from gatekeeper.probes._dns import Resolver, look_up  # noqa: PLC0415 - only who waits for an end needs to be certain

    try:
        await look_up(Resolver(), host, ("A", "AAAA"), bool)
    except MissError as miss:
        return miss.outcome.gone
    return False


async def connect(peer: Peer) -> socket.socket:
    """Return a connected non-blocking socket; raises `MissError`."""
    try:
        sock = socket.socket(peer.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise MissError(outcome_of(error, str(peer))) from None
    try:
        with during(f"connecting to {peer}"):
            await asyncio.get_running_loop().sock_connect(sock, peer.address)
        # Without a listener, a port of the ephemeral range may be given to our own end: a connection to oneself.
        if sock.getsockname() == sock.getpeername():
            raise MissError(waiting(Reason.REFUSED, str(peer), cheap=True, gone=True))
    except OSError as error:
        sock.close()
        raise MissError(outcome_of(error, str(peer))) from None
    except BaseException:
        sock.close()
        raise
    return sock


async def connect_to(host: str, port: int) -> tuple[socket.socket, Peer]:
    """Return a connection to the first address that takes one, and that address; raises `MissError`."""
    return await connect_to_any(await addresses(host, port))


async def connect_to_any(peers: Sequence[Peer]) -> tuple[socket.socket, Peer]:
    """Return a connection to the first of these that takes one, and which that is; raises `MissError`."""

    async def dial(peer: Peer) -> tuple[socket.socket, Peer]:
        return await connect(peer), peer

    return await first_of(peers, dial, discard=lambda won: won[0].close())


async def over_endpoints(
    host: str, port: int, wanted: Endpoints, attempt: Callable[[Peer], Awaitable[Outcome]]
) -> Outcome:
    """Attempt at the addresses of a host until ``wanted`` of them are ready; ``attempt`` may raise `MissError`."""
    try:
        peers = await addresses(host, port)
    except MissError as miss:
        return miss.outcome
    return await over_peers(peers, wanted, attempt)
