"""Work that may take long, in a daemon thread of its own, so that the event loop and the exit never wait for it.

Not in asyncio's default executor: work that was given up would fill its few threads, and the exit waits for them.
"""

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar
from weakref import WeakKeyDictionary

from gatekeeper.model import Reason, waiting
from gatekeeper.probes._miss import MissError, during

T = TypeVar("T")
_looking: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, "asyncio.Future[None]"]] = WeakKeyDictionary()


async def reachable(path: str) -> None:
    """Return once the file system answers for a path, whether it is there or not.

    One that hangs (NFS, FUSE) holds whoever asks, without an end and deaf to signals. A look that hangs is joined by
    later attempts. Raises `MissError`.
    """
    looks = _looking.setdefault(asyncio.get_running_loop(), {})
    if path not in looks or looks[path].done():
        looks[path] = _begun(f"looking at {path}", lambda: _look(path))
    with during(f"looking at {path}"):
        await asyncio.wait([looks[path]])


async def aside(what: str, work: Callable[[], T]) -> T:
    """Return what ``work`` returns, or raise what it raises; a cancellation leaves the thread to itself at once.

    Raises `MissError` where no thread is left; ``what`` names the work.
    """
    return await _begun(what, work)


def _look(path: str) -> None:
    with suppress(OSError, ValueError):
        os.stat(path)


def _begun(what: str, work: Callable[[], T]) -> "asyncio.Future[T]":
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are the main thread's
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to the attempt, not to this thread
            deliver(answer.set_exception, error)
        else:
            deliver(answer.set_result, result)

    def deliver(settle: Callable[[T], None] | Callable[[Exception], None], result: object) -> None:
        try:
            loop.call_soon_threadsafe(lambda: answer.done() or settle(result))  # type: ignore[arg-type]
        except RuntimeError:  # the loop is closed: nobody waits
            return

    try:
        threading.Thread(target=run, name=what, daemon=True).start()
    except RuntimeError as error:
        raise MissError(waiting(Reason.EXHAUSTED, f"{what} (cannot start a thread: {error})")) from None
    return answer
