"""Attempts of one kind or another, each in an event loop of its own."""

import asyncio
import contextlib
import time

from badness import descriptors, left_over

from gatekeeper.model import Outcome, Probe
from gatekeeper.probes import load

PROMPTLY = 5.0  # seconds that no cancellation takes, however slow the machine


def probe_of(target: str, **options: str | tuple[str, ...]) -> Probe:
    """Return the probe of a target."""
    given = {key: (text,) if isinstance(text, str) else text for key, text in options.items()}
    probe: Probe = load(target.partition(":")[0]).parse(target, given)
    return probe


def attempt(target: str, seconds: float = 60.0, *, secret: str = "", **options: str | tuple[str, ...]) -> Outcome | str:
    """Make one attempt; return its outcome, or the step at which its time was over; see that nothing is left behind.

    A secret, where one is given, is in nothing that the probe and its outcome say of themselves.
    """
    probe = probe_of(target, **options)

    async def once() -> Outcome | str:
        await asyncio.sleep(0)
        before = descriptors()
        late = ""
        found: Outcome | None = None
        try:
            async with asyncio.timeout(seconds):
                found = await probe.attempt()
        except TimeoutError as error:
            with contextlib.suppress(AttributeError):
                late = str(error.__context__.__notes__[0])  # type: ignore[union-attr]
        assert left_over(before) == set()
        assert len(asyncio.all_tasks()) == 1
        assert not secret or secret not in str((probe, found, late))
        return found or late

    return asyncio.run(once())


def told(target: str, seconds: float = 60.0, **options: str) -> tuple[str, str]:
    """Make one attempt; return its state and its reason; where its time was over, `late` and the step."""
    found = attempt(target, seconds, **options)
    return (found.state, found.reason) if isinstance(found, Outcome) else ("late", found)


def found(target: str, **options: str | tuple[str, ...]) -> tuple[str, str]:
    """Make one attempt; return its state and reason."""
    outcome = attempt(target, **options)
    assert isinstance(outcome, Outcome), outcome
    return str(outcome.state), str(outcome.reason)


def cancelled_at_every_turn(target: str, turns: int, apart: float = 0.0, **options: str | tuple[str, ...]) -> None:
    """Cancel attempts after so many turns of the loop and fewer, ``apart`` in seconds; see that nothing is left."""

    async def run() -> None:
        probe = probe_of(target, **options)
        await asyncio.gather(_for_a_while(probe))  # loads what is needed
        before = descriptors()
        for number in range(turns):
            task = asyncio.ensure_future(probe.attempt())
            for _ in range(number):
                await asyncio.sleep(apart)
            task.cancel()
            began = time.monotonic()
            await asyncio.wait([task])
            assert time.monotonic() - began < PROMPTLY
            assert task.cancelled() or isinstance(task.result(), Outcome)
            assert len(asyncio.all_tasks()) == 1
            assert left_over(before) == set()

    asyncio.run(run())


async def _for_a_while(probe: Probe) -> None:
    try:
        async with asyncio.timeout(1.0):
            await probe.attempt()
    except TimeoutError:
        pass
