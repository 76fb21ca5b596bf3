"""Dependencies after the gate has opened: attempted now and then, gently, and told of where one is lost or back.

Off unless asked for. What is lost makes nobody stop; it changes the answer to who asks whether the program is ready.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from random import uniform

from gatekeeper.model import Dependency, Outcome, Plan, State
from gatekeeper.pace import pace
from gatekeeper.turns import Turns

# Seconds between two looks, and between one that found nothing there and the next; `interval` and `max_interval` count.
EVERY, AGAIN = 10.0, 1.0
JITTER = 0.2


async def keep(
    plan: Plan, names: Collection[str], lost: Callable[[str, Outcome], None], back: Callable[[str], None]
) -> None:
    """Look at the dependencies of these names until cancelled.

    ``lost`` is called with a name and what was found when a dependency has not been there for longer than its
    ``stable_for`` and at two looks at least, ``back`` when it is there again.
    """
    turns = Turns()
    async with asyncio.TaskGroup() as group:
        for dependency in plan.dependencies:
            if dependency.name in names:
                group.create_task(_keep(dependency, turns, lost, back))


async def _keep(
    dependency: Dependency, turns: Turns, lost: Callable[[str, Outcome], None], back: Callable[[str], None]
) -> None:
    now = asyncio.get_running_loop().time
    since: float | None = None
    told = False
    while True:
        pause = EVERY if since is None or told else AGAIN
        pause = max(pause, dependency.interval or 0.0)
        if dependency.max_interval is not None:
            pause = min(pause, dependency.max_interval)
        await asyncio.sleep(pause * uniform(1, 1 + JITTER))  # noqa: S311 - no secret
        await turns.share()
        missing = await _missing(dependency, turns)
        if missing is None:
            since = None
            if told:
                told = False
                back(dependency.name)
        elif since is None:
            since = now()
        elif not told and now() - since > dependency.stable_for:
            told = True
            lost(dependency.name, missing)


async def _missing(dependency: Dependency, turns: Turns) -> Outcome | None:
    """Return what was found instead, or None where as many alternatives as are needed are there."""
    outcomes: Sequence[Outcome] = await asyncio.gather(
        *(pace(each.probe, dependency, turns, lambda _: None, once=True) for each in dependency.alternatives)
    )
    missing = [outcome for outcome in outcomes if outcome.state is not State.READY]
    return missing[0] if len(outcomes) - len(missing) < dependency.need else None
