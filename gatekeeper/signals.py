"""SIGTERM, SIGINT and SIGHUP while waiting: noted at once, whatever the program is doing, as PID 1 too.

The kernel drops a signal to PID 1 that has no handler, and a signal that arrives between two steps must not be lost:
one plain handler stands from the first moment to the hand-over, and wakes the event loop where one runs.
"""

import asyncio
import signal
from collections.abc import Callable
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_MAY_BE_IGNORED = (signal.SIGINT, signal.SIGHUP)


class Signals:
    """The signals that end the wait; ``received`` is the number of the first of them, None so far."""

    def __init__(self) -> None:
        """Take over the signals, but for those that were ignored on entry (nohup, a background job)."""
        self.received: int | None = None
        self._wake: Callable[[], None] | None = None
        for number in ENDING:
            if number in _MAY_BE_IGNORED and signal.getsignal(number) is signal.SIG_IGN:
                continue
            signal.signal(number, self._note)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)

    def last_look(self) -> int | None:
        """Return the number of a signal that came; what comes from now on is held back for who has the process next."""
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        late = signal.sigpending() & set(ENDING)
        return self.received if self.received is not None else min(late, default=None)

    async def wait(self) -> int:
        """Return the number of the first signal, which may have come before."""
        loop = asyncio.get_running_loop()
        came = asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(came.set)

        self._wake = wake
        try:
            while self.received is None:
                await came.wait()
            return self.received
        finally:
            self._wake = None

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.received is None:
            self.received = number
        if self._wake:
            self._wake()
