"""How an attempt ends early: with an outcome, and with a word on the step at which it was cancelled."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gatekeeper.model import Outcome


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
