"""From a plan to a verdict, in an event loop: watch, decide, and whoever accompanies the wait.

Every way out is a verdict, or a `FaultError` that carries one; none but `decide` opens the gate.
"""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from gatekeeper import decide
from gatekeeper.announce.progress import Progress
from gatekeeper.decide import Decision
from gatekeeper.declaration import BadDeclarationError, Problem
from gatekeeper.exports import Exported, exported
from gatekeeper.model import Plan, State
from gatekeeper.signals import Signals
from gatekeeper.verdict import Cause, Gate, Verdict
from gatekeeper.watch import LETTING_GO, Watch, unwatched

T = TypeVar("T")
REFUTED_WITHIN = 0.5  # seconds; then the rest must not wait for a nameserver that hangs


class FaultError(RuntimeError):
    """Raised for a fault in gatekeeper itself; ``verdict`` is the whole report, with the gate closed."""

    def __init__(self, verdict: Verdict) -> None:
        """Take the verdict that the fault amounts to."""
        super().__init__(verdict.summary)
        self.verdict = verdict


async def hold(
    plan: Plan,
    progress: Progress | None = None,
    signals: Signals | None = None,
    began: float | None = None,
    watching: Callable[[Watch], object] = lambda _: None,
) -> Verdict:
    """Hold until the gate opens or can no longer open, or a signal ends the wait.

    The deadline counts from ``began``, a moment of the monotonic clock, by default from now. ``watching`` is called
    with the watch once there is one.
    """
    late = 0.0 if began is None else asyncio.get_running_loop().time() - began
    started = datetime.now(UTC) - timedelta(seconds=late)
    if progress:
        progress.begin(plan)
        watch = Watch(plan, changed=progress.changed, attempted=progress.attempted, began=began)
    else:
        watch = Watch(plan, began=began)
    watching(watch)
    told: list[Exported] = []
    try:
        decision = await _decided(watch, progress, signals, told)
    except BadDeclarationError:
        raise
    except Exception as error:
        raise FaultError(_fault(error, watch, started)) from error
    finally:
        if progress:
            progress.end(watch)
    verdict = decide.conclude(decision, watch.reports(), started, watch.waited)
    if verdict and told:
        verdict = verdict._replace(exports=told[0].variables)
        if told[0].problem:
            verdict = verdict._replace(gate=Gate.CLOSED, cause=Cause.FAULT, summary=told[0].problem)
    return verdict


async def look(plan: Plan, signals: Signals | None = None) -> Verdict:
    """Make one attempt at each dependency and return what that amounts to."""
    started = datetime.now(UTC)
    watch = Watch(plan)

    async def once() -> Decision:
        await believe(plan)
        return decide.at_once(plan, await watch.once())

    try:
        decision = await _first_of(once(), signals, None)
    except BadDeclarationError:
        raise
    except Exception as error:
        raise FaultError(_fault(error, watch, started)) from error
    return decide.conclude(decision, watch.reports(), started, watch.waited)


def held(plan: Plan, progress: Progress, signals: Signals, began: float) -> Verdict:
    """Hold in an event loop of its own, and return a verdict whatever happens; raises `BadDeclarationError` only."""
    try:
        return in_loop(hold(plan, progress, signals, began))
    except FaultError as fault:
        return fault.verdict
    except BadDeclarationError:
        raise
    except BaseException as error:  # noqa: BLE001 - a kind that calls sys.exit, a task that was cancelled
        return faulty(plan, error)


def looked(plan: Plan, signals: Signals) -> Verdict:
    """Look in an event loop of its own, and return a verdict whatever happens; raises `BadDeclarationError` only."""
    try:
        return in_loop(look(plan, signals))
    except FaultError as fault:
        return fault.verdict
    except BadDeclarationError:
        raise
    except BaseException as error:  # noqa: BLE001 - as above
        return faulty(plan, error)


def in_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine; raises what it raises, or what was raised in a callback, which the loop would only print."""
    # Not asyncio.run: that would join threads on its way out, and one may hang in getaddrinfo.
    loop = asyncio.new_event_loop()
    task = loop.create_task(coroutine)
    faults: list[BaseException] = []

    def take(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if "handle" in context and "exception" in context:
            faults.append(context["exception"])
            task.cancel()

    loop.set_exception_handler(take)
    try:
        return loop.run_until_complete(task)
    except asyncio.CancelledError as cancelled:
        raise (faults[0] if faults else cancelled) from None


def bypassed(plan: Plan) -> Verdict:
    """Return the verdict of a gate that opens without a look."""
    reports = [report._replace(state=State.SKIPPED) for report in unwatched(plan)]
    summary = f"bypassed: {plan.options.bypass}"
    return Verdict(Gate.OPEN, Cause.BYPASS, summary, datetime.now(UTC), 0.0, tuple(reports))


def faulty(plan: Plan, error: BaseException) -> Verdict:
    """Return the verdict of a gate that a fault keeps shut, where no watch can tell more."""
    return Verdict(Gate.CLOSED, Cause.FAULT, fault_of(error), datetime.now(UTC), 0.0, tuple(unwatched(plan)))


def fault_of(error: BaseException) -> str:
    """Return what an exception was and where, without its message: that may quote what nobody should read."""
    trace, place = error.__traceback__, ""
    while trace:
        code = trace.tb_frame.f_code
        place = f" in {code.co_filename.rpartition('/gatekeeper/')[2]}, line {trace.tb_lineno}"
        trace = trace.tb_next
    why = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
    return f"a fault in gatekeeper, please report it: {type(error).__name__}{why}{place}"


async def believe(plan: Plan) -> None:
    """Ask all at once those declarations that only the world can refute; raises `BadDeclarationError`.

    No answer within `REFUTED_WITHIN` seconds refutes nothing.
    """
    doubted = [
        (alternative.place, alternative.probe.refuted)
        for dependency in plan.dependencies
        for alternative in dependency.alternatives
        if hasattr(alternative.probe, "refuted")
    ]
    if not doubted:
        return
    asked = [asyncio.ensure_future(refuted()) for _, refuted in doubted]
    done, late = await asyncio.wait(asked, timeout=min(REFUTED_WITHIN, plan.options.timeout or REFUTED_WITHIN))
    for task in late:
        task.cancel()
    places = [place for place, _ in doubted]
    told = [(place, task.result()) for place, task in zip(places, asked, strict=True) if task in done]
    if problems := [Problem(place, answer) for place, answer in told if answer]:
        raise BadDeclarationError(problems, plan.options)


async def _decided(watch: Watch, progress: Progress | None, signals: Signals | None, told: list[Exported]) -> Decision:
    """Return the decision; ``told`` takes the variables of the services, where those were asked for."""

    async def deciding() -> Decision:
        await believe(watch.plan)
        gate, cause = await watch.run(decide.so_far, decide.at_deadline)
        if gate is Gate.OPEN and watch.plan.options.export_env:
            told.append(await exported(watch.plan, watch.reports()))
        return gate, cause

    return await _first_of(deciding(), signals, progress.accompany(watch) if progress else None)


async def _first_of(
    deciding: Coroutine[Any, Any, Decision], signals: Signals | None, accompanied: Coroutine[Any, Any, None] | None
) -> Decision:
    """Return the decision, or that a signal came; a signal that comes together with a decision counts."""
    decided = asyncio.ensure_future(deciding)
    tasks: list[asyncio.Future[Any]] = [decided]
    if accompanied:
        tasks.append(asyncio.ensure_future(accompanied))
    if signals:
        tasks.append(asyncio.ensure_future(signals.wait()))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done() and task.exception():
                task.result()
        if signals and signals.received is not None:
            return Gate.CLOSED, Cause.SIGNAL
        return decided.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=2 * LETTING_GO)


def _fault(error: BaseException, watch: Watch, started: datetime) -> Verdict:
    return Verdict(Gate.CLOSED, Cause.FAULT, fault_of(error), started, watch.waited, tuple(watch.reports()))
