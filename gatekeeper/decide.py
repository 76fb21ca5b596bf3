"""Reports become a verdict. Pure: no clock, no I/O; nothing here waits or says anything."""

from collections.abc import Sequence
from datetime import datetime

from gatekeeper.model import Plan, State
from gatekeeper.values import shown
from gatekeeper.verdict import Cause, Gate, Report, Verdict

Decision = tuple[Gate, Cause]
_NAMED = 3


def so_far(plan: Plan, reports: Sequence[Report]) -> Decision | None:
    """Return what the gate does by now, or None while it depends on what is still being attempted."""
    if plan.options.any:
        return _any(plan, reports)
    missing = [report for report in reports if report.required and report.state is not State.READY]
    if any(report.state is State.FAILED for report in missing):
        return Gate.CLOSED, Cause.FAILED
    if any(report.overdue for report in missing) and plan.options.on_timeout == "fail":
        return Gate.CLOSED, Cause.TIMEOUT
    if not all(_over(report) for report in reports):
        return None
    return _out_of_time(plan) if missing else (Gate.OPEN, Cause.READY)


def at_deadline(plan: Plan, reports: Sequence[Report]) -> Decision:
    """Return what the gate does when its time is up: an optional dependency never keeps it shut."""
    if decision := so_far(plan, reports):
        return decision
    if not plan.options.any and all(report.state is State.READY for report in reports if report.required):
        return Gate.OPEN, Cause.READY
    return _out_of_time(plan)


def at_once(plan: Plan, reports: Sequence[Report]) -> Decision:
    """Return what one attempt at each dependency amounts to."""
    if decision := so_far(plan, reports):
        return decision
    if not plan.options.any and all(report.state is State.READY for report in reports if report.required):
        return Gate.OPEN, Cause.READY
    return Gate.CLOSED, Cause.TIMEOUT


def conclude(decision: Decision, reports: Sequence[Report], started: datetime, waited: float) -> Verdict:
    """Return the whole report of a gate that opened or stayed shut; ``waited`` is in seconds."""
    gate, cause = decision
    there = [report.name for report in reports if report.state is State.READY]
    if decision == (Gate.OPEN, Cause.READY) and any(r.required and r.state is not State.READY for r in reports):
        line = (
            f"{len(there)} of {len(reports)} ready: {', '.join(there[:_NAMED])}"  # one was enough: which is what counts
        )
    else:
        line = summary(reports)
    return Verdict(gate, cause, line, started, waited, tuple(reports))


def summary(reports: Sequence[Report]) -> str:
    """Return the state of all dependencies in a line, as ``1 of 3 not ready: db (refused: 10.0.0.7:5432)``."""
    missing = [report for report in reports if report.state is not State.READY]
    if not missing:
        return f"{len(reports)} of {len(reports)} ready"
    # What failed for good comes first, then what is required.
    missing.sort(key=lambda report: (report.state is not State.FAILED, not report.required))
    named = ", ".join(_named(report) for report in missing[:_NAMED])
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    return f"{len(missing)} of {len(reports)} not ready: {named}{more}"


def story(verdict: Verdict) -> str:
    """Return the line that tells it all in the end."""
    after = f"after {shown(verdict.waited)}" if verdict.waited else "at once"
    hopeless = any(report.state is State.FAILED for report in verdict.dependencies)
    head = {
        Cause.READY: f"open {after}",
        Cause.CONTINUE: f"open {after} although the time is up (on-timeout=continue)",
        Cause.BYPASS: "open, nothing was probed",
        Cause.TIMEOUT: f"closed, the time is up {after}",
        Cause.FAILED: f"closed {after}{', a required dependency can never become ready' if hopeless else ''}",
        Cause.SIGNAL: f"closed {after} by a signal",
        Cause.FAULT: f"closed {after}",
    }[verdict.cause]
    return f"{head}: {verdict.summary}"


def _any(plan: Plan, reports: Sequence[Report]) -> Decision | None:
    if any(report.state is State.READY for report in reports):
        return Gate.OPEN, Cause.READY
    if not all(_over(report) for report in reports):
        return None
    if not any(report.overdue for report in reports):
        return Gate.CLOSED, Cause.FAILED
    return _out_of_time(plan)


def _out_of_time(plan: Plan) -> Decision:
    return (Gate.OPEN, Cause.CONTINUE) if plan.options.on_timeout == "continue" else (Gate.CLOSED, Cause.TIMEOUT)


def _over(report: Report) -> bool:
    return report.overdue or report.state is not State.WAITING


def _named(report: Report) -> str:
    return f"{report.name} ({report.why}{'' if report.required else ', optional'})"
