"""Several addresses behind a name: one after the other as a real client tries them (happy eyeballs, RFC 8305), or all.

What is attempted at each is the caller's; whatever is still on its way when it is decided ends with it.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from gatekeeper.model import Outcome, Reason, State, ready, waiting
from gatekeeper.probes._miss import MissError
from gatekeeper.probes._together import together
from gatekeeper.values import BadValueError, quoted, whole

T = TypeVar("T")
P = TypeVar("P")  # what is attempted at: a peer, or whatever leads to one
Endpoints = str | int

HEAD_START = 0.25  # RFC 8305, 5: the Connection Attempt Delay
_SHORTEST_HEAD_START = 0.01  # RFC 8305, 5: the least that is allowed
_ALL_WITHIN = 1.0  # seconds: well within an attempt
_AT_ONCE = 32
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


def endpoints(text: str) -> Endpoints:
    """Return ``any``, ``all`` or a whole number."""
    if text in ("any", "all"):
        return text
    try:
        return whole(1, 10_000)(text)
    except BadValueError:
        message = f"{quoted(text)} is neither any, all nor a whole number from 1"
        raise BadValueError(message) from None


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
