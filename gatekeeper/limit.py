"""Time limits of what is tended, on the running event loop's clock, and the times that messages hold (sd_notify(3))."""

import asyncio
from collections.abc import Callable

MICROSECONDS = 1_000_000
LONGEST = 10 * 365 * 86400.0  # seconds that anybody may ask for


def number_of(text: str | None) -> int | None:
    """Return the number that an assignment holds, None where it holds none."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 20 else None  # noqa: PLR2004 - 64 bits


class Limit:
    """A time limit that may be armed, put off and disarmed."""

    def __init__(self, over: Callable[[], None]) -> None:
        """Call ``over`` when it is over."""
        self._over, self._loop = over, asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def arm(self, seconds: float | None) -> None:
        """Count from now; None disarms."""
        self.disarm()
        if seconds is not None:
            self._timer = self._loop.call_later(seconds, self._over)

    def put_off(self, seconds: float) -> None:
        """Where armed, be over in so many seconds at the earliest: never sooner than it would have been."""
        if self._timer and self._timer.when() < self._loop.time() + seconds:
            self.arm(seconds)

    def disarm(self) -> None:
        """Be never over."""
        if self._timer:
            self._timer.cancel()
        self._timer = None
