"""What is said while the gate is shut: to the log or the terminal, and to the service manager.

Follows a watch and changes nothing of it. The service manager is asked for time no longer than the gate's own.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from gatekeeper.announce.sdnotify import Notifier
from gatekeeper.decide import summary
from gatekeeper.log import INFERRED, STILL_WAITING, WAITING, Log
from gatekeeper.model import Inference, Outcome, Plan
from gatekeeper.screen import Screen
from gatekeeper.values import shown
from gatekeeper.verdict import Report
from gatekeeper.watch import Watch

if TYPE_CHECKING:
    from gatekeeper.announce.pod import PodVoice  # loads a client of the API

HEARTBEAT = 10.0
HELD_LONG = 30.0
REPAINT = 0.1
STATUS_AT_MOST_EVERY = 0.25
EXTEND_EVERY, EXTEND_BY = 5.0, 20.0
TO_TELL_WHY = 1.0  # seconds behind the deadline in which the reason is said before a service manager cuts it short


class Progress:
    """The voices that accompany one watch; ``screen`` is None where there is no terminal, ``pod`` where nobody asks."""

    def __init__(self, log: Log, screen: Screen | None, notifier: Notifier, pod: "PodVoice | None" = None) -> None:
        """Take the voices."""
        self._log, self._screen, self._notifier = log, screen, notifier
        self._pod = pod
        self._status = ""
        self._plan: Plan | None = None
        self.attempted: Callable[[Report, Outcome], None] | None = log.attempted if log.verbose else None

    def begin(self, plan: Plan) -> None:
        """Take the plan that is going to be watched."""
        self._plan = plan

    def changed(self, report: Report) -> None:
        """Tell of a change at once where it is a line; the terminal shows it at its next painting."""
        if self._screen is None:
            self._say_waiting()
            self._log.changed(report)

    async def accompany(self, watch: Watch) -> None:
        """Go on telling until cancelled."""
        await asyncio.sleep(0)  # the first attempts are on their way while structlog is loaded
        if self._screen is None:
            self._say_waiting()
        seen = self._paint(watch, self._screen) if self._screen else self._beat(watch)
        await asyncio.gather(self._notify(watch), self._extend(watch), self._tell_pod(watch), seen)

    def _say_waiting(self) -> None:
        """Say, before anything else, what is waited for and for how long."""
        if self._plan:
            deadline = next(setting for setting in self._plan.settings if setting.key == "timeout")
            timeout = f"{deadline.text} ({deadline.origin})"
            self._log.say("info", WAITING, dependencies=len(self._plan.dependencies), timeout=timeout)
            if self._plan.inference:
                self._log.say("info", INFERRED, **_told(self._plan.inference))
        self._plan = None

    def end(self, watch: Watch) -> None:
        """Leave the terminal as it should be seen in the end."""
        if self._screen:
            self._screen.paint(watch.reports(), watch.waited, watch.plan.options.timeout)

    async def _beat(self, watch: Watch) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT)
            self._log.say(
                "info", STILL_WAITING, summary=summary(watch.reports()), waited=watch.waited, left=_left(watch)
            )

    async def _paint(self, watch: Watch, screen: Screen) -> None:
        while True:
            screen.paint(watch.reports(), watch.waited, watch.plan.options.timeout)
            await asyncio.sleep(REPAINT)

    async def _notify(self, watch: Watch) -> None:
        while self._notifier:
            status = summary(watch.reports())
            if status != self._status and self._notifier.status(status):
                self._status = status
            await asyncio.sleep(STATUS_AT_MOST_EVERY)

    async def _tell_pod(self, watch: Watch) -> None:
        if self._pod:
            await asyncio.sleep(max(HELD_LONG - watch.waited, 0.0))
            await self._pod.held(f"held for {shown(watch.waited)}: {summary(watch.reports())}")

    async def _extend(self, watch: Watch) -> None:
        while self._notifier:
            left = _left(watch)
            wanted = EXTEND_BY if left is None else min(EXTEND_BY, left + TO_TELL_WHY)
            self._notifier.extend_timeout(wanted)
            await asyncio.sleep(EXTEND_EVERY)


def _told(inference: Inference) -> dict[str, str]:
    """Return in two lines what was inferred from which variables, and what was left out."""
    found = [
        f"{name} from {', '.join(variables)}: {target}{f' ({note})' if note else ''}"
        for name, target, variables, note in inference.found
    ]
    left = [f"{each.variable} ({each.why})" for each in inference.left_out]
    return {"summary": "; ".join(found) or "nothing", **({"left_out": "; ".join(left)} if left else {})}


def _left(watch: Watch) -> float | None:
    timeout = watch.plan.options.timeout
    return None if timeout is None else max(timeout - watch.waited, 0.0)
