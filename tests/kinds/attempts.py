"""One attempt at a declared target, as the tests of several kinds make it."""

import asyncio
import contextlib

from badness import descriptors, left_over

from gatekeeper.model import Outcome
from gatekeeper.probes import load


def attempt(target: str, seconds: float = 30.0, **options: str) -> Outcome | str:
    """Make one attempt; return its outcome, or the step at which its time was over; see that nothing is left behind."""
    probe = load(target.partition(":")[0]).parse(target, {key: (value,) for key, value in options.items()})

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
        return found or late

    return asyncio.run(once())


def told(target: str, seconds: float = 30.0, **options: str) -> tuple[str, str]:
    """Make one attempt; return its state and its reason; where its time was over, `late` and the step."""
    found = attempt(target, seconds, **options)
    return (found.state, found.reason) if isinstance(found, Outcome) else ("late", found)
