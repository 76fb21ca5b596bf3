"""Tasks that live no longer than the attempt that started them. Knows nothing of what they do."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")


@asynccontextmanager
async def together(discard: Callable[[Any], None] | None = None) -> AsyncIterator[set["asyncio.Future[Any]"]]:
    """Hold tasks that end with the block; a cancellation is told which of their steps it interrupted.

    ``discard`` lets go of the result of a task that is still held when the block ends.
    """
    tasks: set[asyncio.Future[Any]] = set()
    try:
        yield tasks
    except asyncio.CancelledError as cancelled:
        for step in await _let_go(tasks, discard):
            cancelled.add_note(step)
        raise
    finally:
        await _let_go(tasks, discard)


async def _let_go(tasks: set["asyncio.Future[Any]"], discard: Callable[[Any], None] | None) -> list[str]:
    """Cancel these tasks and wait for their end; return the steps at which they were, and forget them."""

    def drop(task: "asyncio.Future[Any]") -> None:
        if not task.cancelled() and not task.exception() and discard:
            discard(task.result())

    ending, steps = set(tasks), list[str]()
    tasks.clear()
    for task in ending:
        task.add_done_callback(drop)
        task.cancel()
    if ending:
        await asyncio.wait(ending)
    for task in ending:
        if task.cancelled():
            try:
                task.result()
            except asyncio.CancelledError as cancelled:
                steps += getattr(cancelled, "__notes__", [])
    return steps


async def obeying(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of other people's work, which ends with a cancellation even where it swallows one.

    So does `asyncio.wait_for` in Python 3.11, when the cancellation comes together with the result.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task})
        return task.result()
    finally:
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)
