"""Whose turn it is: attempts over the whole plan, bounded in number at once and in what they cost.

A few dependencies never notice. A thousand that refuse would keep a core busy, so repeated attempts take turns, first
come first served, at a rate at which they use `SHARE` of a core. The rate follows from what attempts have cost so far
on this machine, so that it holds on a slow one too.
"""

import asyncio
import resource
import time
from collections.abc import Callable
from types import TracebackType

SHARE = 0.1  # of one core; a quarter is promised, and loading a large plan and its first attempts come on top
BURST = 0.1  # seconds of saved-up turns that may be spent at once
FASTEST, SLOWEST = 1 / 400, 1.0  # seconds for a turn; a command that computes for long is not run for ever less often
_MOST_AT_ONCE = 2048
_OURS = 32  # descriptors that are not those of attempts
_WEIGH_EVERY, _WEIGH_AFTER = 50, 1.0  # attempts, or seconds


class Turns:
    """Turns for attempts: ``await turns.share()`` before each but the first, ``async with turns.place()`` during each.

    The first attempt at a dependency does not queue for its share of the processor, only for a place.
    """

    def __init__(self, at_once: int | None = None, cpu: Callable[[], float] | None = None) -> None:
        """Bound the attempts at once (by default by the descriptors there are).

        ``cpu`` returns seconds of processor time used, by default of this process and of the commands that it ran.
        """
        cpu = cpu or _used
        self._places = asyncio.Semaphore(at_once or _places())
        self._cpu = cpu
        self._cost = FASTEST
        self._used = cpu()
        self._weighed: float | None = None
        self._ended = 0
        self._due = 0.0

    async def share(self) -> None:
        """Wait for one share of the processor, in order of arrival."""
        now = asyncio.get_running_loop().time()
        self._weigh(now)
        # The generic cell rate algorithm (ITU-T I.371): each turn is due one cost after the one before.
        self._due = max(self._due, now) + self._cost
        if (early := self._due - now - BURST) > 0:
            await asyncio.sleep(early)

    def place(self) -> "_Turn":
        """Return a place for one attempt, to be waited for and held by ``async with``, in order of arrival."""
        return _Turn(self._places, self._note_end)

    def _note_end(self) -> None:
        self._ended += 1

    def _weigh(self, now: float) -> None:
        """Learn, now and then, what an attempt has cost of late."""
        if self._weighed is None:
            self._weighed = now
        if self._ended >= _WEIGH_EVERY or (self._ended and now - self._weighed >= _WEIGH_AFTER):
            used = self._cpu()
            cost = (used - self._used) / self._ended / SHARE
            self._cost = min(max(cost, FASTEST), SLOWEST)
            self._used, self._weighed, self._ended = used, now, 0


class _Turn:
    __slots__ = ("_note_end", "_places")

    def __init__(self, places: asyncio.Semaphore, note_end: Callable[[], None]) -> None:
        self._places, self._note_end = places, note_end

    async def __aenter__(self) -> None:
        await self._places.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._places.release()
        self._note_end()


def make_room(attempts: int) -> None:
    """Raise the soft limit of descriptors towards the hard one, as far as so many attempts at once need it.

    For a process that is ours alone: what it becomes is to find the limit as it was.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * min(attempts, _MOST_AT_ONCE) + _OURS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))


def _used() -> float:
    commands = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + commands.ru_utime + commands.ru_stime


def _places() -> int:
    """Return how many attempts may run at once: half of the descriptors, for one that tries two addresses has two."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MOST_AT_ONCE
    return max(1, min(_MOST_AT_ONCE, (soft - _OURS) // 2))
