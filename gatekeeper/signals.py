"""The signals that end the wait, SIGTERM above all: noted at once, whatever the program is doing, as PID 1 too.

The kernel drops a signal to PID 1 that has no handler, and a signal that arrives between two steps must not be lost:
one plain handler stands from the first moment to the hand-over, and wakes the event loop where one runs.
"""

import asyncio
import signal
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# What else ends a process that does not catch it (signal(7)), but for those that tell of a fault in the process itself.
OTHERS_THAT_END = (
    *(signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF),
    *(signal.SIGIO, signal.SIGPWR, signal.SIGXCPU),
    *range(signal.SIGRTMIN, signal.SIGRTMAX + 1),
)


class EndedError(BaseException):
    """Raised where a signal arrives and nothing has to be told; not to be caught by anything that expects errors."""

    def __init__(self, number: int) -> None:
        """Take the number of the signal."""
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.number = number


class Signals:
    """The signals that end the wait; ``received`` is the number of the first of them, None so far."""

    def __init__(self) -> None:
        """Take over the signals, but for those that were ignored on entry (nohup, a background job)."""
        self.received: int | None = None
        self._wake: Callable[[], None] | None = None
        self._lethal = False
        self.take_over(ENDING)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would take the exit statuses of commands away

    def take_over(self, numbers: Collection[int]) -> None:
        """Let these signals end the wait from now on, but for those, SIGTERM excepted, that were ignored on entry."""
        for number in numbers:
            if number == signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._note)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)

    @contextmanager
    def lethal(self) -> Iterator[None]:
        """Let a signal raise `EndedError` at once: noting it would not end a read or a write that hangs."""
        self._lethal = True
        try:
            self._raise_received()
            yield
        finally:
            self._lethal = False
        self._raise_received()

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
        elif self._lethal:
            self._raise_received()

    def _raise_received(self) -> None:
        if self.received is not None:
            raise EndedError(self.received)
