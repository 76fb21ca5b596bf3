"""gatekeeper holds a program's start until what it needs is really there, and never opens by mistake.

The way through: declare -> plan -> watch(pace(probe)) -> decide -> announce -> hand over. The names of the steps are
the names of the files. `gatekeeper.cli` is the way in for people and scripts; this is the way in for Python:

    report = gatekeeper.wait("tcp://db:5432", "http://api/healthz", timeout=30)     # raises gatekeeper.NotReady
    report = await gatekeeper.wait_async("tcp://db:5432")
    report = gatekeeper.check("tcp://cache:6379")                                   # does not raise for 'not ready'

Dependencies are lines as on the command line; options are those of ``gatekeeper wait`` that decide when the gate
opens, with underscores. References such as ``${DB_HOST}`` are replaced from the environment; ``GATEKEEPER_*``
variables are not read.
"""

from __future__ import annotations

TYPE_CHECKING = False  # that of typing, which takes longer to load than this package may
if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from gatekeeper.declaration import BadDeclarationError as BadDeclaration
    from gatekeeper.model import Plan
    from gatekeeper.verdict import Report, Verdict

__all__ = ["BadDeclaration", "NotReady", "Report", "Verdict", "__version__", "check", "wait", "wait_async"]
__version__ = "0.1.0"


class NotReady(Exception):  # noqa: N818 - the name says what is the case, and users catch it by this name
    """Raised when the gate stays shut; ``report`` says why, as ``gatekeeper wait --report`` does."""

    def __init__(self, report: Verdict) -> None:
        """Take the report."""
        super().__init__(report)
        self.report = report

    def __str__(self) -> str:
        """Return the summary."""
        return self.report.summary


def wait(*dependencies: str, **options: Any) -> Verdict:  # noqa: ANN401 - as many types as there are options
    """Wait until the dependencies are there, and return the report.

    Durations are seconds or text such as ``2m``. Raises `NotReady`, or `BadDeclaration` with every problem before
    anything is probed. Inside a running event loop, use `wait_async`.
    """
    return _run(wait_async(*dependencies, **options))


async def wait_async(*dependencies: str, **options: Any) -> Verdict:  # noqa: ANN401 - as many types as options
    """Wait like `wait`, in the running event loop; a cancellation ends the wait at once."""
    from gatekeeper.gate import bypassed, hold  # noqa: PLC0415 - nothing is loaded by the import of the package

    plan = _plan(dependencies, options)
    report = bypassed(plan) if plan.options.bypass else await hold(plan)
    if not report:
        raise NotReady(report)
    return report


def check(*dependencies: str, **options: Any) -> Verdict:  # noqa: ANN401 - as many types as there are options
    """Make one attempt at each dependency and return the report, which is true when all that is required is there."""
    from gatekeeper.gate import bypassed, look  # noqa: PLC0415 - nothing is loaded by the import of the package

    plan = _plan(dependencies, options)
    return bypassed(plan) if plan.options.bypass else _run(look(plan))


def _run(waiting: Coroutine[Any, Any, Verdict]) -> Verdict:
    import asyncio  # noqa: PLC0415 - nothing is loaded by the import of the package

    try:
        return asyncio.run(waiting)
    finally:
        waiting.close()  # where a loop runs already, it was never begun


def _plan(dependencies: tuple[str, ...], options: dict[str, Any]) -> Plan:
    import os  # noqa: PLC0415 - nothing is loaded by the import of the package

    from gatekeeper.declaration import Given, Problem, Source  # noqa: PLC0415 - as above
    from gatekeeper.declare.line import parse_line  # noqa: PLC0415 - as above
    from gatekeeper.options import GATE, OF_THE_GATE  # noqa: PLC0415 - as above
    from gatekeeper.plan import make_plan  # noqa: PLC0415 - as above

    here = f"is for the command line only: take {', '.join(OF_THE_GATE)}"
    problems = [Problem(key, here) for key in options if key in GATE and key not in OF_THE_GATE]
    places = [(text, f"argument {number}") for number, text in enumerate(dependencies, 1)]
    problems += [
        Problem(place, "is no text: write a line, as 'tcp://db:5432'")
        for text, place in places
        if not isinstance(text, str)
    ]
    places = [(text, place) for text, place in places if isinstance(text, str)]
    lines = [parse_line(text, place, problems, os.environ) for text, place in places]
    settings = [
        Given(key, (str(value).lower() if value is True or value is False else str(value),), key)
        for key, value in options.items()
    ]
    source = Source(tuple(settings), tuple(line for line in lines if line))
    return make_plan([source], problems)


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module attribute
    if name == "BadDeclaration":
        from gatekeeper.declaration import BadDeclarationError  # noqa: PLC0415 - nothing is loaded by the import

        return BadDeclarationError
    if name in ("Report", "Verdict"):
        from gatekeeper import verdict  # noqa: PLC0415 - as above

        return getattr(verdict, name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
