"""What comes of it all: a report for each dependency, and a verdict over them. No I/O, no third party."""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from gatekeeper.model import Reason, State


class Change(NamedTuple):
    """A change of state or reason, ``at`` seconds after the start."""

    at: float
    state: State
    reason: Reason
    detail: str


class Report(NamedTuple):
    """What came of one dependency; ``waited`` is in seconds; ``overdue`` means that its own time is up."""

    name: str
    kind: str
    target: str
    required: bool
    origin: str
    state: State
    reason: Reason
    detail: str
    attempts: int
    waited: float
    changes: tuple[Change, ...] = ()
    overdue: bool = False

    @property
    def why(self) -> str:
        """The reason with its detail, as ``refused: 10.0.0.7:5432``."""
        return f"{self.reason}: {self.detail}" if self.detail else str(self.reason)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data, ready for JSON: times in seconds."""
        plain = {key: _json(value) for key, value in self._asdict().items()}
        del plain["overdue"]
        plain["changes"] = [{key: _json(value) for key, value in each._asdict().items()} for each in self.changes]
        return plain


class Gate(StrEnum):
    """What the gate does in the end."""

    OPEN = "open"
    CLOSED = "closed"


class Cause(StrEnum):
    """Why the gate opened or stayed shut."""

    READY = "ready"
    TIMEOUT = "timeout"
    FAILED = "failed"
    SIGNAL = "signal"
    BYPASS = "bypass"
    CONTINUE = "continue"
    FAULT = "fault"


class Verdict(NamedTuple):
    """The whole report: what the gate does, why, and what came of each dependency. True when the gate is open.

    ``exports`` are the variables of the services behind the open gate, where they were asked for.
    """

    gate: Gate
    cause: Cause
    summary: str
    started: datetime
    waited: float
    dependencies: tuple[Report, ...]
    exports: Mapping[str, str] = MappingProxyType({})

    def __bool__(self) -> bool:
        """Tell whether the gate is open, so that ``if gatekeeper.check(...)`` means what it says."""
        return self.gate is Gate.OPEN

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data, ready for JSON: times in seconds, the start in RFC 3339 (UTC)."""
        return {
            "gate": self.gate.value,
            "cause": self.cause.value,
            "summary": self.summary,
            "started": self.started.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "waited": round(self.waited, 3),
            "dependencies": [report.as_dict() for report in self.dependencies],
        }


def _json(value: Any) -> Any:  # noqa: ANN401 - plain data of every type passes through here
    if isinstance(value, Enum):
        return value.value
    return round(value, 3) if isinstance(value, float) else value
