"""Where one dependency stands while it is being watched: what its alternatives amount to, and how that changed."""

import asyncio
from collections.abc import Sequence

from gatekeeper.model import Dependency, Outcome, Reason, State
from gatekeeper.verdict import Change, Report


class Standing:
    """Where one dependency stands: what changes while it is being watched."""

    def __init__(self, dependency: Dependency) -> None:
        """Take a dependency of which nothing is known yet."""
        self.dependency = dependency
        self.outcomes: list[Outcome | None] = [None] * len(dependency.alternatives)
        self.state, self.reason, self.detail = State.WAITING, Reason.NOT_ATTEMPTED, ""
        self.attempts = 0
        self.changes: list[Change] = []
        self.overdue = False
        self.ended: float | None = None
        self.settled = asyncio.Event()
        self._kind, self._target = dependency.kind, dependency.target
        self._standing: Report | None = None

    def at_last_change(self) -> Report:
        """Return the report of the last change: a thousand dependencies are looked over at every settled one."""
        if self._standing is None or self._standing.overdue != self.overdue:
            self._standing = self.report(0.0)
        return self._standing

    def update(self, at: float) -> bool:
        """Draw what the alternatives amount to; tell whether the state or the reason changed."""
        heard = [outcome for outcome in self.outcomes if outcome]
        passed = [outcome for outcome in heard if outcome.state is State.READY]
        hopeless = sum(outcome.state is State.FAILED for outcome in heard)
        need = self.dependency.need
        if len(passed) >= need:
            return self.change(State.READY, passed[0].reason, _joined(passed), at)
        open_ones = [outcome for outcome in heard if outcome.state is State.WAITING]
        state = State.FAILED if len(self.outcomes) - hopeless < need else State.WAITING
        missing = (
            open_ones if state is State.WAITING and open_ones else [o for o in heard if o.state is not State.READY]
        )
        if not missing:
            return False
        return self.change(state, missing[0].reason, _joined(missing), at)

    def change(self, state: State, reason: Reason, detail: str, at: float) -> bool:
        """Stand somewhere else; tell whether that is news (another detail alone is not)."""
        news = (state, reason) != (self.state, self.reason)
        self.state, self.reason, self.detail = state, reason, detail
        self._standing = None
        if news:
            self.changes.append(Change(at, state, reason, detail))
        return news

    def report(self, waited: float) -> Report:
        """Return the report of now, ``waited`` seconds after the start."""
        dependency = self.dependency
        return Report(
            name=dependency.name,
            kind=self._kind,
            target=self._target,
            required=not dependency.optional,
            origin=dependency.origin,
            state=self.state,
            reason=self.reason,
            detail=self.detail,
            attempts=self.attempts,
            waited=waited if self.ended is None else self.ended,
            changes=tuple(self.changes),
            overdue=self.overdue,
        )


def _joined(outcomes: Sequence[Outcome]) -> str:
    details = [outcome.detail for outcome in outcomes]
    return details[0] if len(details) == 1 else ", ".join(detail for detail in details[:4] if detail)
