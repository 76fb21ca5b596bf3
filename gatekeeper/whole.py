"""How it all stands at a moment, for those who ask: the gate, its dependencies, and the program behind it."""

from collections.abc import Sequence
from typing import Any

from gatekeeper.announce import metrics
from gatekeeper.announce.status import Answer, View
from gatekeeper.decide import summary
from gatekeeper.lifecycle import Life, Phase
from gatekeeper.verdict import Report, Verdict
from gatekeeper.watch import Watch


class Whole:
    """What is known so far; each part is put in as it comes, and `view` says what that amounts to."""

    def __init__(self, *, starts_with_the_gate: bool = False) -> None:
        """Know nothing yet; a sidecar counts as started when the gate is open, for what it holds back starts then."""
        self._starts_with_the_gate = starts_with_the_gate
        self.watch: Watch | None = None
        self.verdict: Verdict | None = None
        self.life = Life()
        self.said = ""  # what the program says of itself
        self.why = ""  # why it was ended
        self.lost: dict[str, str] = {}  # dependencies that were there and no longer are, and why

    def view(self) -> View:
        """Return what is answered to those who ask."""
        how = self._how()
        has_started = bool(self.verdict) if self._starts_with_the_gate else self.life.been_ready
        started = Answer(has_started, "started" if has_started else how)
        ready = Answer(self.life.ready and not self.lost, how)
        live = Answer(self.life.alive, "alive" if self.life.alive else how)
        return View({"/startupz": started, "/readyz": ready, "/livez": live}, self._report, self._metrics)

    def _how(self) -> str:
        if self.life.phase is Phase.WAITING:
            return f"waiting: {summary(self._reports())}"
        if self.lost:
            named = ", ".join(f"{name} ({why})" for name, why in self.lost.items())
            return f"{self.life.phase.value}, but lost: {named}"
        more = self.why or " ".join(self.said.split())
        return f"{self.life.phase.value}: {more}" if more else self.life.phase.value

    def _report(self) -> dict[str, Any]:
        if self.verdict:
            report = self.verdict.as_dict()
        else:
            waited = self.watch.waited if self.watch else 0.0
            report = {
                "gate": "closed",
                "summary": summary(self._reports()),
                "waited": round(waited, 3),
                "dependencies": [each.as_dict() for each in self._reports()],
            }
        return {"phase": self.life.phase.value, "status": self.said, "lost": self.lost, **report}

    def _metrics(self) -> str:
        waited = self.verdict.waited if self.verdict else self.watch.waited if self.watch else 0.0
        return metrics.text(
            self._reports(),
            self.life.phase.value,
            [phase.value for phase in Phase],
            is_open=bool(self.verdict),
            lost=self.lost,
            waited=waited,
        )

    def _reports(self) -> Sequence[Report]:
        if self.verdict:
            return self.verdict.dependencies
        return self.watch.reports() if self.watch else ()
