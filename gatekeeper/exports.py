"""The variables of the services behind an open gate, asked for once: what the kubelet would have made of them by now.

Bounded in time; what was asked for and cannot be made is an error for the caller, who keeps the gate shut.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gatekeeper.model import Dependency, Outcome, Plan, State
from gatekeeper.options import spelled
from gatekeeper.verdict import Report

WITHIN = 3.0  # seconds for all of them, who are there already

_ONE_ADDRESS = "a variable has one value, so wait for one of them elsewhere"


class Exported(NamedTuple):
    """The variables, or why they cannot be made; the problem is empty where they can."""

    variables: Mapping[str, str]
    problem: str = ""


class _NotMadeError(Exception):
    """Raised where variables cannot be made; its message says whose and why."""


async def exported(plan: Plan, reports: Sequence[Report]) -> Exported:
    """Return the variables of the services that are ready.

    A dependency that is not ready is one that the gate opened without, and so is done without here.
    """
    try:
        return Exported(await _made(plan, reports))
    except _NotMadeError as error:
        return Exported({}, f"{spelled('export_env')}: {error}")


def with_exports(environ: Mapping[str, str], exports: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment of a command: with the variables of services, where there are any."""
    if not exports:
        return environ
    from gatekeeper.probes._variables import merged  # noqa: PLC0415 - for this one option

    return merged(environ, exports)


async def _made(plan: Plan, reports: Sequence[Report]) -> dict[str, str]:
    ready = {report.name for report in reports if report.state is State.READY}
    asked = [dependency for dependency in plan.dependencies if dependency.name in ready]
    made: dict[str, str] = {}
    for dependency, variables in zip(asked, await asyncio.gather(*map(_of, asked)), strict=True):
        more = _more(variables, made)
        for name, value in more.items():
            if made.setdefault(name, value) != value:
                message = f"{dependency.name} and another dependency would both set {name}: {_ONE_ADDRESS}"
                raise _NotMadeError(message)
    lacking = [name for name in plan.options.needs if not made.get(name) and not os.environ.get(name)]
    if lacking and len(asked) == len(plan.dependencies):
        message = f"{', '.join(lacking)} would still not be set: no service that was waited for has such a port"
        raise _NotMadeError(message)
    return made


def _more(variables: Mapping[str, str], made: Mapping[str, str]) -> Mapping[str, str]:
    """Return what a service adds to the variables: of one that was waited for before, all but those of its first port.

    The order of a service's ports is not in DNS: the one that was declared first counts as the first.
    """
    host = next((name for name in variables if name.endswith("_SERVICE_HOST")), "")
    if not host or made.get(host) != variables[host]:
        return variables
    stem = host.removesuffix("_SERVICE_HOST")
    return {name: value for name, value in variables.items() if name not in (f"{stem}_SERVICE_PORT", f"{stem}_PORT")}


async def _of(dependency: Dependency) -> Mapping[str, str]:
    """Return the variables of one dependency; of its alternatives, those that are there will do."""
    asking = [each.probe.exports() for each in dependency.alternatives if hasattr(each.probe, "exports")]
    try:
        async with asyncio.timeout(WITHIN):
            answers: list[Mapping[str, str] | Outcome] = await asyncio.gather(*asking)
    except TimeoutError:
        message = f"the variables of {dependency.name} could not be made within {WITHIN:g} s"
        raise _NotMadeError(message) from None
    made: dict[str, str] = {}
    missing = [answer for answer in answers if isinstance(answer, Outcome)]
    if missing and (len(missing) == len(answers) or len(answers) - len(missing) < dependency.need):
        message = f"the variables of {dependency.name} cannot be made: {missing[0].reason.value}: {missing[0].detail}"
        raise _NotMadeError(message)
    for answer in answers:
        made |= {} if isinstance(answer, Outcome) else answer
    return made
