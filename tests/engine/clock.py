"""Virtual time for tests: an event loop that jumps to its next timer, and probes that play a script.

A second of virtual time costs nothing, and two runs of a test see the same times. The probes implement the public
`Probe` protocol; nothing of ours is replaced.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from gatekeeper.model import Alternative, Dependency, GateOptions, Outcome, Plan, Probe, Reason, ready, waiting
from gatekeeper.probes._miss import during

T = TypeVar("T")
START = 1000.0  # not 0, so that a time that was never set does not look like the start

REFUSED = waiting(Reason.REFUSED, "10.0.0.7:5432", cheap=True, gone=True)
NOT_YET = waiting(Reason.STARTING, "503")
READY = ready("10.0.0.7:5432")


class _Jumping(selectors.SelectSelector):
    """Waits for nobody: where nothing is ready, the time is what it would be after the wait."""

    now = START

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                message = "nothing is ready and no timer is set: this would wait for ever"
                raise RuntimeError(message)
            self.now = round(self.now + max(timeout, 0), 9)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only while nothing else happens."""

    def __init__(self) -> None:
        """Start at `START`."""
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._jumping.now


def play(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def now() -> float:
    """Return the virtual seconds since the start."""
    return round(asyncio.get_running_loop().time() - START, 9)


class Silent:
    """A row of a script that never answers, interrupted in a step."""

    def __init__(self, step: str) -> None:
        """Take the step as a person would name it."""
        self.step = step


Row = tuple[float, Outcome | Silent | BaseException]


class Script:
    """A probe that plays rows of (delay, outcome), and its last row for ever; ``began`` are the times of attempts."""

    def __init__(self, *rows: Row) -> None:
        """Take the rows."""
        self.rows = rows
        self.began: list[float] = []
        self.running = 0
        self.most_at_once = 0

    async def attempt(self) -> Outcome:
        """Play the next row."""
        delay, what = self.rows[min(len(self.began), len(self.rows) - 1)]
        self.began.append(now())
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            await asyncio.sleep(delay)
            if isinstance(what, Silent):
                with during(what.step):
                    await asyncio.Event().wait()
            if isinstance(what, BaseException):
                raise what
        finally:
            self.running -= 1
        assert isinstance(what, Outcome)
        return what

    @property
    def pauses(self) -> list[float]:
        """The seconds from each attempt to the next; the attempts themselves take no time where rows say 0."""
        return [later - earlier for earlier, later in zip(self.began, self.began[1:], strict=False)]


def dependency(name: str, *probes: Probe, **rules: Any) -> Dependency:
    """Return a dependency on what will answer as the scripts say."""
    alternatives = tuple(Alternative("scripted", f"scripted:{name}", probe) for probe in probes)
    return Dependency(name, "test", alternatives, **rules)


def plan(*dependencies: Dependency, **options: Any) -> Plan:
    """Return a plan of these dependencies."""
    return Plan(dependencies, GateOptions(**options))
