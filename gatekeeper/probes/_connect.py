"""Connections: from a host to a connected socket, address by address, with every failure as an outcome.

Addresses are tried as a real client tries them (happy eyeballs, RFC 8305), or all of them where that is asked for.
Whatever opens a socket here closes it when it fails or is cancelled.
"""

import asyncio
import errno
import os
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from gatekeeper.model import Outcome, Reason, State, ready, waiting
from gatekeeper.probes._together import together
from gatekeeper.resolve import Peer, UnresolvedError, resolve
from gatekeeper.values import BadValueError, quoted, whole

T = TypeVar("T")
P = TypeVar("P")  # what is attempted at: a peer, or whatever leads to one
Endpoints = str | int

HEAD_START = 0.25  # RFC 8305, 5: the Connection Attempt Delay
_SHORTEST_HEAD_START = 0.01  # RFC 8305, 5: the least that is allowed
_ALL_WITHIN = 1.0  # seconds: well within an attempt
_AT_ONCE = 32
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.EAGAIN)
# Of several failed addresses, the one that got furthest says most.
_TELLING = (
    Reason.CLOSED,
    Reason.RESET,
    Reason.UNWANTED_ANSWER,
    Reason.TIMED_OUT,
    Reason.REFUSED,
    Reason.EXHAUSTED,  # behind refused: where IPv6 is switched off, ::1 counts as 'no address left'
    Reason.UNREACHABLE,
)


class MissError(Exception):
    """Raised inside a kind to end the attempt with this outcome."""

    def __init__(self, outcome: Outcome) -> None:
        """Take the outcome that ``attempt`` returns."""
        super().__init__(outcome.detail)
        self.outcome = outcome


@contextmanager
def during(step: str | Callable[[], str]) -> Iterator[None]:
    """Note on a cancellation which step it interrupted, so that a timed-out attempt can say where it stood."""
    try:
        yield
    except asyncio.CancelledError as cancelled:
        cancelled.add_note(step if isinstance(step, str) else step())
        raise


def endpoints(text: str) -> Endpoints:
    """Return ``any``, ``all`` or a whole number."""
    if text in ("any", "all"):
        return text
    try:
        return whole(1, 10_000)(text)
    except BadValueError:
        message = f"{quoted(text)} is neither any, all nor a whole number from 1"
        raise BadValueError(message) from None


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
        raise MissError(miss._replace(confirm=partial(_nobody_knows, host))) from None
    except OSError as error:
        raise MissError(outcome_of(error, f"resolving {host}")) from None


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


async def over_peers(
    peers: Sequence[P],
    wanted: Endpoints,
    attempt: Callable[[P], Awaitable[Outcome]],
    *,
    head_start: float | None = None,
) -> Outcome:
    """Attempt at each of these until ``wanted`` of them are ready; ``attempt`` may raise `MissError`."""
    if wanted != "any":
        return await enough_of(peers, len(peers) if wanted == "all" else int(wanted), attempt)
    try:
        return await first_of(peers, _raising(attempt), head_start=head_start)
    except MissError as miss:
        return miss.outcome


async def first_of(
    peers: Sequence[P],
    attempt: Callable[[P], Awaitable[T]],
    *,
    discard: Callable[[T], None] | None = None,
    head_start: float | None = None,
) -> T:
    """Return the first success; each peer gets a head start of so many seconds, or until the one before fails.

    By default that of RFC 8305, and less where there are so many that the last would never be tried.

    ``discard`` lets go of a success that came second. Raises `MissError` with the most telling failure.
    """
    if len(peers) == 1:
        return await attempt(peers[0])
    if head_start is None:
        head_start = max(min(HEAD_START, _ALL_WITHIN / len(peers)), _SHORTEST_HEAD_START)
    misses: list[Outcome] = []
    won: list[T] = []
    kept = 0
    left = deque(peers)
    try:
        async with together(discard) as running:
            while (left or running) and not won:
                if left:
                    running.add(asyncio.ensure_future(attempt(left.popleft())))
                done, _ = await asyncio.wait(
                    running, timeout=head_start if left else None, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    running.discard(task)
                    try:
                        won.append(task.result())
                    except MissError as miss:
                        misses.append(miss.outcome)
        kept = 1
    finally:
        for late in won[kept:]:
            if discard:
                discard(late)
    if not won:
        raise MissError(_sum_up(misses))
    return won[0]


async def enough_of(peers: Sequence[P], need: int, attempt: Callable[[P], Awaitable[Outcome]]) -> Outcome:
    """Attempt at every address; ready when ``need`` of them are."""
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(peer: P) -> Outcome:
        async with room:
            try:
                return await attempt(peer)
            except MissError as miss:
                return miss.outcome

    passed = 0
    misses: list[Outcome] = []
    async with together() as running:
        running.update(asyncio.ensure_future(one(peer)) for peer in peers)
        while running and passed < need:  # a silent address must not hold back the others that are enough
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            running.difference_update(done)
            outcomes = [task.result() for task in done]
            misses += [outcome for outcome in outcomes if outcome.state is not State.READY]
            passed += sum(outcome.state is State.READY for outcome in outcomes)
    if passed >= need:
        return ready(f"{passed} of {len(peers)} addresses")
    if not misses:
        return waiting(Reason.NO_DATA, f"{len(peers)} of {need} wanted addresses exist")
    worst = _sum_up(misses)
    detail = f"{passed} of {max(need, len(peers))} addresses; {worst.detail}"
    return worst._replace(detail=detail, gone=worst.gone and passed == 0)


def _raising(attempt: Callable[[P], Awaitable[Outcome]]) -> Callable[[P], Awaitable[Outcome]]:
    """Make an attempt whose return is a success: what is not ready is raised."""

    async def strict(peer: P) -> Outcome:
        outcome = await attempt(peer)
        if outcome.state is not State.READY:
            raise MissError(outcome)
        return outcome

    return strict


def _sum_up(misses: Sequence[Outcome]) -> Outcome:
    """Return the most telling of several failures, with the addresses that failed likewise."""

    def rank(outcome: Outcome) -> int:
        return _TELLING.index(outcome.reason) if outcome.reason in _TELLING else -1

    # Where one address can never be ready, another one still can.
    best = min([miss for miss in misses if miss.state is State.WAITING] or misses, key=rank)
    alike = ", ".join(miss.detail for miss in misses[:8] if miss.reason is best.reason)
    gone, cheap = all(miss.gone for miss in misses), all(miss.cheap for miss in misses)
    doubted = [miss.confirm for miss in misses if miss.confirm]
    return best._replace(detail=alike, gone=gone, cheap=cheap, confirm=partial(_all_of, doubted) if doubted else None)


async def _all_of(doubted: Sequence[Callable[[], Awaitable[bool]]]) -> bool:
    return all([await confirm() for confirm in doubted])
