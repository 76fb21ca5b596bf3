"""All dependencies together: their order, alternatives and deadlines; one report each, whatever happens.

What changes is handed on as records; this file logs nothing and decides nothing. An exception out of a kind passes
through `Watch.run` as it is: it is a fault of ours, and the caller keeps the gate shut.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from gatekeeper.model import Outcome, Plan, State
from gatekeeper.pace import pace
from gatekeeper.standing import Standing
from gatekeeper.turns import Turns
from gatekeeper.verdict import Report

T = TypeVar("T")
AT_A_TIME = 16
LETTING_GO = 0.03  # seconds that cancelled attempts have for closing what they opened


class Watch:
    """A plan being watched. ``changed`` is called with a report at each change of its state or reason.

    ``attempted`` is called with a report and the outcome of each attempt.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        changed: Callable[[Report], None] = lambda _: None,
        attempted: Callable[[Report, Outcome], None] | None = None,
        turns: Turns | None = None,
        began: float | None = None,
    ) -> None:
        """Start the clock, or take over one that ``began`` at that moment of the running event loop's time."""
        self.plan = plan
        self._changed, self._attempted = changed, attempted
        self._turns = turns or Turns()
        self._now = asyncio.get_running_loop().time
        self._began = self._now() if began is None else began
        self._news = asyncio.Event()
        self._fault: BaseException | None = None
        self._over = False
        self._wards = {dependency.name: Standing(dependency) for dependency in plan.dependencies}

    @property
    def waited(self) -> float:
        """Seconds since the start."""
        return self._now() - self._began

    @property
    def _deadline(self) -> float | None:
        timeout = self.plan.options.timeout
        return None if timeout is None else self._began + timeout

    def reports(self) -> list[Report]:
        """Return where every dependency stands now."""
        waited = self.waited
        return [ward.report(waited) for ward in self._wards.values()]

    async def run(
        self,
        so_far: Callable[[Plan, Sequence[Report]], T | None],
        at_deadline: Callable[[Plan, Sequence[Report]], T],
    ) -> T:
        """Attempt at everything until ``so_far`` returns a decision or the deadline passes, and return the decision."""
        tasks: list[asyncio.Task[None]] = []
        try:
            async with asyncio.timeout_at(self._deadline) as bound:
                for index, ward in enumerate(self._wards.values()):
                    if index % AT_A_TIME == AT_A_TIME - 1:  # a signal must not wait for a thousand first attempts
                        await asyncio.sleep(0)
                    tasks.append(asyncio.create_task(self._tend(ward)))
                    tasks[-1].add_done_callback(self._tended)
                return await self._decision(so_far)
        except TimeoutError:
            if not bound.expired():
                raise
            for ward in self._wards.values():
                if ward.dependency.optional and ward.state is State.WAITING:
                    self._skip(ward)
            return at_deadline(self.plan, self.reports())
        finally:
            self._over = True
            await _let_go(tasks)

    async def once(self) -> list[Report]:
        """Make one attempt at each dependency, whatever its order, and return the reports."""
        tasks = [asyncio.create_task(self._look(ward)) for ward in self._wards.values()]
        try:
            async with asyncio.timeout_at(self._deadline) as bound:
                await asyncio.gather(*tasks)
        except TimeoutError:
            if not bound.expired():
                raise
        finally:
            await _let_go(tasks)
        return self.reports()

    async def _look(self, ward: Standing) -> None:
        try:
            async with asyncio.timeout(ward.dependency.timeout) as bound:
                await self._alternatives(ward, once=True)
        except TimeoutError:
            if not bound.expired():
                raise
        ward.ended = self.waited

    async def _decision(self, so_far: Callable[[Plan, Sequence[Report]], T | None]) -> T:
        while True:
            await self._news.wait()
            self._news.clear()
            if self._fault:
                raise self._fault
            if (decision := so_far(self.plan, [ward.at_last_change() for ward in self._wards.values()])) is not None:
                return decision

    async def _tend(self, ward: Standing) -> None:
        """See one dependency through, from its place in the order to its end."""
        if await self._those_before(ward):
            try:
                async with asyncio.timeout(ward.dependency.timeout) as bound:
                    await self._alternatives(ward)
            except TimeoutError:
                if not bound.expired():
                    raise
                ward.overdue = True
                if ward.dependency.optional:
                    self._skip(ward)
        else:
            self._skip(ward)
        self._settle(ward)

    async def _those_before(self, ward: Standing) -> bool:
        """Wait for the dependencies that this one comes after; tell whether it may be attempted at all."""
        before = [self._wards[name] for name in ward.dependency.after]
        if before:
            ward.detail = f"after {', '.join(ward.dependency.after)}"
        for other in before:
            await other.settled.wait()
        may = all(other.state is State.READY or other.dependency.optional for other in before)
        if may:
            ward.detail = ""
        return may

    async def _alternatives(self, ward: Standing, *, once: bool = False) -> None:
        """Attempt at all alternatives, each at its own pace, until the dependency stands where it will stay."""
        rules = ward.dependency
        ends = [self._deadline, None if rules.timeout is None else self._now() + rules.timeout]
        until = min((end for end in ends if end is not None), default=None)

        async def one(index: int) -> None:
            def tell(outcome: Outcome) -> None:
                self._heard(ward, index, outcome)

            await pace(rules.alternatives[index].probe, rules, self._turns, tell, until=until, once=once)

        if len(rules.alternatives) == 1:
            await one(0)
            return
        tasks = [asyncio.create_task(one(index)) for index in range(len(rules.alternatives))]
        try:
            left = set(tasks)
            while left and (once or ward.state is State.WAITING):
                done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            await _let_go(tasks)

    def _heard(self, ward: Standing, index: int, outcome: Outcome) -> None:
        waited = self.waited
        ward.attempts += 1
        ward.outcomes[index] = outcome
        change = ward.update(waited)
        if self._attempted:
            self._attempted(ward.report(waited), outcome)
        if change and not self._over:
            self._changed(ward.report(waited))

    def _skip(self, ward: Standing) -> None:
        """Go on without a dependency that is optional, or whose turn can never come."""
        ward.change(State.SKIPPED, ward.reason, ward.detail, self.waited)
        self._changed(ward.report(self.waited))

    def _settle(self, ward: Standing) -> None:
        ward.ended = self.waited
        ward.settled.set()
        self._news.set()

    def _tended(self, task: "asyncio.Task[None]") -> None:
        if self._over:
            return
        error = asyncio.InvalidStateError("an attempt was cancelled") if task.cancelled() else task.exception()
        if error:
            self._fault = self._fault or error
            self._news.set()


def unwatched(plan: Plan) -> list[Report]:
    """Return the reports of a plan of which nothing was attempted."""
    return [Standing(dependency).report(0.0) for dependency in plan.dependencies]


async def _let_go(tasks: Sequence["asyncio.Task[None]"]) -> None:
    """Cancel what still runs and give it a moment to close what it opened, and no longer: leaving never waits."""
    running = [task for task in tasks if not task.done()]
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running, timeout=LETTING_GO)
