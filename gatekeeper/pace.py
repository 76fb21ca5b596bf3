"""One dependency over time: when it is attempted, for how long at most, and when it counts as ready.

`asyncio.timeout` owns the attempt, tenacity the pauses; results are judged, never exceptions, so that a cancellation
or a fault passes through. Logs nothing and knows no other dependency.

Pauses grow with the time already waited and with how dear the last answer was, so that a gate opens within a few per
cent of the wait and a struggling dependency is left alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import TYPE_CHECKING

from gatekeeper.model import Dependency, Outcome, Probe, Reason, Signal, State, ready, waiting
from gatekeeper.turns import Turns
from gatekeeper.values import shown

if TYPE_CHECKING:
    from tenacity import RetryCallState

# Of the time waited; shortest and longest in seconds.
CHEAP = (0.01, 0.02, 0.25)
CHEAP_LATER = (0.01, 0.02, 1.0)
LATER = 300.0
DEAR = (0.05, 0.1, 2.0)
# Of a name service, for a dependency whose name is not there: a short name in a pod is eight questions each time, the
# service is everybody's, and each question leaves an entry in its node's table of connections for minutes.
QUESTIONS = 8.0  # a second; sooner only while less time than the pause has passed, so that the first second is quick
JITTER = 0.2
MOST_ASKED_FOR = 30.0  # and at most half of what is left: a service that is up sooner is not missed for having asked
CERTAIN_AFTER = 1.0  # seconds for which "never" must be said: a server that starts may answer 403 or nonsense at first
WOKEN_AT_MOST_EVERY = 0.01
NEARLY = 1e-6  # a timer may fire a rounding error early, and need not be set again for that
WATCHED_WITHIN = 0.25  # seconds that the first attempt waits for a signal to be made


async def pace(
    probe: Probe,
    rules: Dependency,
    turns: Turns,
    tell: Callable[[Outcome], None],
    *,
    until: float | None = None,
    once: bool = False,
) -> Outcome:
    """Attempt at a probe until it is ready for good or can never be, and return that outcome.

    Every judged outcome is told as it comes. ``until`` is the moment of the loop's time at which the caller cancels.
    With ``once`` there is one attempt, and no rule of repetition counts.
    """
    if once:
        rules = rules._replace(successes=1, stable_for=0.0, delay=0.0)
    watch = getattr(probe, "watch", None)
    # Made before the first attempt, so that no change falls between the two.
    signal: Signal | None = await _watched(watch) if watch and not once else None
    run = _Run(probe, rules, turns, tell, signal, until, 0.0 if once else CERTAIN_AFTER)
    try:
        await asyncio.sleep(rules.delay)
        outcome = await run.attempt()
        if once or _settled(outcome):
            return outcome
        return await _again(run, outcome)
    finally:
        if signal:
            signal.close()


async def _watched(watch: Callable[[], Awaitable[Signal | None]]) -> Signal | None:
    """Return the signal; none where the file system does not answer, which the attempt will tell."""
    try:
        async with asyncio.timeout(WATCHED_WITHIN) as bound:
            return await watch()
    except TimeoutError:
        if not bound.expired():
            raise
        return None


async def _again(run: "_Run", outcome: Outcome) -> Outcome:
    from tenacity import AsyncRetrying, retry_if_result  # noqa: PLC0415 - not needed where the first attempt succeeds

    await run.rest(run.pause_after(outcome))

    def wait(state: "RetryCallState") -> float:
        return run.pause_after(state.outcome.result())  # type: ignore[union-attr]  # set once an attempt has ended

    retrying = AsyncRetrying(
        retry=retry_if_result(lambda outcome: not _settled(outcome)), wait=wait, sleep=run.rest, reraise=True
    )
    return await retrying(run.attempt)


def _settled(outcome: Outcome) -> bool:
    return outcome.state in (State.READY, State.FAILED)


class _Run:
    """The state of one dependency's wait: since when, how often, ready since when."""

    def __init__(
        self,
        probe: Probe,
        rules: Dependency,
        turns: Turns,
        tell: Callable[[Outcome], None],
        signal: Signal | None,
        until: float | None,
        certain_after: float,
    ) -> None:
        self._probe, self._rules, self._turns, self._tell, self._signal = probe, rules, turns, tell, signal
        self._until, self._certain_after = until, certain_after
        self._hopeless_since: float | None = None
        self._now = asyncio.get_running_loop().time
        self._began: float | None = None
        self._took = 0.0
        self._streak, self._since = 0, 0.0
        self._mark: Hashable = None

    async def attempt(self) -> Outcome:
        first = self._began is None
        async with self._turns.place():
            began = self._now()
            if self._began is None:
                self._began = began
            try:
                outcome = await self._limited()
            except asyncio.CancelledError as cancelled:
                if first:  # nothing else is known of it when the wait ends here
                    self._tell(waiting(Reason.TIMED_OUT, f"{_step(cancelled)} when the wait ended"))
                raise
            self._took = self._now() - began
        outcome = self._certain(self._steady(_inverted(outcome) if self._rules.invert else outcome))
        self._tell(outcome)
        return outcome

    async def _limited(self) -> Outcome:
        try:
            async with asyncio.timeout(self._rules.attempt_timeout) as bound:
                outcome = await self._probe.attempt()
                if self._rules.invert and outcome.gone and outcome.confirm:
                    outcome = outcome._replace(gone=await outcome.confirm())
                return outcome
        except TimeoutError as error:
            if not bound.expired():
                raise
            took = shown(self._rules.attempt_timeout)
            # The cancellation is the context, and from Python 3.11.3 on the cause as well.
            return waiting(Reason.TIMED_OUT, f"{_step(error.__context__)} took over {took}")

    def _certain(self, outcome: Outcome) -> Outcome:
        """Wait on although this can never succeed, until that has been said for some time without a break."""
        if outcome.state is not State.FAILED or outcome.certain:
            self._hopeless_since = None
            return outcome
        now = self._now()
        if self._hopeless_since is None:
            self._hopeless_since = now
        sure = now - self._hopeless_since >= self._certain_after
        return outcome if sure else outcome._replace(state=State.WAITING)

    def _steady(self, outcome: Outcome) -> Outcome:
        """Hold a ready outcome back until it has come often enough and for long enough, unchanged."""
        if outcome.state is not State.READY:
            self._streak = 0
            return outcome
        now = self._now()
        if not self._streak or outcome.mark != self._mark:
            self._streak, self._since, self._mark = 0, now, outcome.mark
        self._streak += 1
        if self._streak < self._rules.successes:
            return waiting(Reason.NOT_STABLE, f"ready {self._streak} of {self._rules.successes} times in a row")
        if now - self._since < self._rules.stable_for - NEARLY:
            for_long = f"ready for {shown(now - self._since)} of {shown(self._rules.stable_for)}"
            return waiting(Reason.NOT_STABLE, for_long)
        return outcome

    def pause_after(self, outcome: Outcome) -> float:
        """Return the seconds to rest after this outcome."""
        from random import uniform  # noqa: PLC0415 - not needed where the first attempt succeeds

        waited = self._now() - (self._began or 0.0)
        share, shortest, longest = DEAR
        if outcome.cheap:
            share, shortest, longest = CHEAP if waited < LATER else CHEAP_LATER
        pause = min(max(share * waited, shortest), longest)
        if outcome.questions:
            pause = max(pause, min(outcome.questions / QUESTIONS, waited))
        if outcome.retry_after is not None:
            pause = max(pause, self._as_asked(outcome.retry_after))
        if outcome.reason is Reason.TIMED_OUT:
            pause = max(pause - self._took, CHEAP[1])  # it has been its own pause
        # What is hopeless has to be seen once more before it counts, which no signal tells.
        if self._signal and outcome.reason in self._signal.told and self._hopeless_since is None:
            pause = max(pause, self._signal.doubted_after)
        rules = self._rules
        # Jitter only lengthens, so that the shortest pause is what it says.
        pause = max(pause, rules.interval or 0.0) * uniform(1, 1 + JITTER)  # noqa: S311 - no secret
        if rules.max_interval is not None:
            pause = min(pause, rules.max_interval)
        if outcome.reason is Reason.NOT_STABLE and self._streak >= rules.successes:
            pause = max(min(pause, self._since + rules.stable_for - self._now()), rules.interval or 0.0)
        return max(pause, 0.0)

    def _as_asked(self, seconds: float) -> float:
        asked = min(seconds, MOST_ASKED_FOR)
        return asked if self._until is None else min(asked, (self._until - self._now()) / 2)

    async def rest(self, seconds: float) -> None:
        """Rest so long, or until the signal says that another attempt is worth it, and until it is our turn.

        Waiting for a turn belongs to the rest: tenacity takes its time over an attempt that is cancelled, and at a
        deadline a thousand of them would be too much.
        """
        await self._pause(seconds)
        await self._turns.share()

    async def _pause(self, seconds: float) -> None:
        if not self._signal:
            await asyncio.sleep(seconds)
            return
        # A file that is written all the time must not keep us busy, nor undercut the shortest pause that was asked for.
        unwoken = min(max(WOKEN_AT_MOST_EVERY, self._rules.interval or 0.0), seconds)
        await asyncio.sleep(unwoken)
        try:
            async with asyncio.timeout(seconds - unwoken) as bound:
                await self._signal.changed()
        except TimeoutError:
            if not bound.expired():
                raise


def _step(cancelled: BaseException | None) -> str:
    """Return the step that was interrupted: the cancellation carries a note of it (probes/_miss.during)."""
    steps = getattr(cancelled, "__notes__", None)
    return steps[0] if steps else "the attempt"


def _inverted(outcome: Outcome) -> Outcome:
    """Turn presence and definite absence round; what is neither (a timeout, an unreadable answer) stays not ready."""
    if outcome.gone:
        return ready(f"gone: {outcome.reason}{f' {outcome.detail}' if outcome.detail else ''}")
    if outcome.state is State.READY:
        return waiting(Reason.STILL_THERE, outcome.detail)
    return outcome._replace(state=State.WAITING)
