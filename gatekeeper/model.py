"""The nouns: what is declared, what an attempt finds, what comes of it. No I/O, nothing of ours, no third party.

Every record here is frozen. Data passes between the steps as these records and as nothing else.
"""

from collections.abc import Hashable
from datetime import UTC, datetime
from enum import Enum, StrEnum
from typing import Any, NamedTuple, Protocol


class State(StrEnum):
    """Where a dependency stands. ``failed`` means that it can never become ready."""

    READY = "ready"
    WAITING = "waiting"
    FAILED = "failed"
    SKIPPED = "skipped"


class Reason(StrEnum):
    """Why a dependency stands where it stands: the closed list, the same words everywhere."""

    READY = "ready"
    READY_AUTH_REQUIRED = "ready_auth_required"
    NOT_ATTEMPTED = "not_attempted"
    REFUSED = "refused"
    TIMED_OUT = "timed_out"
    UNRESOLVED = "unresolved"
    NO_DATA = "no_data"
    DNS_FAILED = "dns_failed"
    DNS_REFUSED = "dns_refused"
    UNREACHABLE = "unreachable"
    RESET = "reset"
    CLOSED = "closed"
    TLS_FAILED = "tls_failed"
    STARTING = "starting"
    UNWANTED_ANSWER = "unwanted_answer"
    WRONG_PROTOCOL = "wrong_protocol"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    STILL_THERE = "still_there"
    NOT_STABLE = "not_stable"
    COMMAND_FAILED = "command_failed"
    EXHAUSTED = "exhausted"


REASONS: dict[Reason, str] = {
    Reason.READY: "it is there",
    Reason.READY_AUTH_REQUIRED: "it is up and wants credentials that it was not given",
    Reason.NOT_ATTEMPTED: "no attempt has ended yet; the detail says what it waits for",
    Reason.REFUSED: "nothing listens at that address (connection refused)",
    Reason.TIMED_OUT: "no answer within the attempt's time limit; the detail says at which step",
    Reason.UNRESOLVED: "the name has no address, or no resolver answered",
    Reason.NO_DATA: "DNS: the name exists, but has too few records of this type",
    Reason.DNS_FAILED: "DNS: the server could not answer (SERVFAIL)",
    Reason.DNS_REFUSED: "DNS: the server refuses to answer (REFUSED)",
    Reason.UNREACHABLE: "no route, or a firewall says no",
    Reason.RESET: "the connection was reset",
    Reason.CLOSED: "accepted, then hung up",
    Reason.TLS_FAILED: "the TLS handshake or the verification of the certificate failed",
    Reason.STARTING: "it answers: not yet",
    Reason.UNWANTED_ANSWER: "it answers, with something else than what was declared",
    Reason.WRONG_PROTOCOL: "something answers, but does not speak this protocol",
    Reason.FORBIDDEN: "it answers, and permission is denied",
    Reason.NOT_FOUND: "the object does not exist",
    Reason.STILL_THERE: "it should be gone and is not",
    Reason.NOT_STABLE: "it is there, not yet often enough in a row or for long enough",
    Reason.COMMAND_FAILED: "the command ended with another exit status than wanted",
    Reason.EXHAUSTED: "this machine has no descriptors, memory, threads or ports left for an attempt",
}


class Outcome(NamedTuple):
    """What one attempt found.

    ``detail`` is one line for people, without secrets and without the body of an answer. ``cheap`` says that a kernel
    gave the answer (nobody had to work for it, so it may be asked again soon). ``retry_after`` is the time in seconds
    that the answer itself asked for. ``gone`` is true only where the thing is definitely not there (refused, no such
    name, no such object). ``mark`` is what must not change while a ready outcome is watched for stability.
    """

    state: State
    reason: Reason
    detail: str = ""
    cheap: bool = False
    retry_after: float | None = None
    gone: bool = False
    mark: Hashable = None


def ready(detail: str = "", *, reason: Reason = Reason.READY, mark: Hashable = None) -> Outcome:
    """Return the outcome of an attempt that found what it wanted."""
    return Outcome(State.READY, reason, detail, mark=mark)


def waiting(
    reason: Reason, detail: str = "", *, cheap: bool = False, retry_after: float | None = None, gone: bool = False
) -> Outcome:
    """Return the outcome of an attempt that may succeed another time."""
    return Outcome(State.WAITING, reason, detail, cheap, retry_after, gone)


def failed(reason: Reason, detail: str = "", *, gone: bool = False) -> Outcome:
    """Return the outcome of an attempt that shows that no later one can succeed."""
    return Outcome(State.FAILED, reason, detail, gone=gone)


class Signal(Protocol):
    """Tells that another attempt is worth making now (a file changed, say)."""

    async def changed(self) -> None:
        """Return at the first change since the last call of `changed` returned, or since the signal was made."""

    def close(self) -> None:
        """Let go of what the signal holds."""


class Probe(Protocol):
    """One kind with its options: what can be attempted.

    A probe may also have ``watch() -> Signal | None``; the pace then attempts again at a change instead of polling. And
    it may have ``async refuted() -> str | None``, asked once before anything is attempted: what is wrong with the
    declaration, where only the world can tell (no port is declared, and DNS knows of none).
    """

    async def attempt(self) -> Outcome:
        """Make one attempt: no loop, no sleep, no time limit of its own, no logging; failure is returned."""


class Problem(NamedTuple):
    """What is wrong with a declaration: where, and what would be right. Both are free of secrets."""

    place: str
    message: str

    def __str__(self) -> str:
        """Return the line that a person reads."""
        return f"{self.place}: {self.message}"


class BadDeclarationError(ValueError):
    """Raised for a declaration that cannot be used; holds every problem that was found, not only the first."""

    def __init__(self, problems: list[Problem], options: "GateOptions | None" = None) -> None:
        """Take the problems, in the order in which they were found, and the options that were good."""
        self.problems = tuple(problems)
        self.options = options
        super().__init__("\n".join(map(str, problems)))


class Given(NamedTuple):
    """An option as text: its values (none for a bare flag) and where it was said."""

    key: str
    values: tuple[str, ...]
    place: str


class Declaration(NamedTuple):
    """A dependency as text. ``targets`` are alternatives, each with the options that only it has."""

    name: str | None
    targets: tuple["Target", ...]
    options: tuple[Given, ...]
    origin: str


class Target(NamedTuple):
    """One target of a declaration: a URL whose scheme is the kind, the options that are its own, and its place."""

    url: str
    options: tuple[Given, ...]
    place: str


class Source(NamedTuple):
    """What one place declares: options of the gate, and dependencies."""

    settings: tuple[Given, ...] = ()
    dependencies: tuple[Declaration, ...] = ()


class Setting(NamedTuple):
    """A value with its text form and its origin, as ``gatekeeper plan`` prints them."""

    key: str
    text: str
    origin: str


class Alternative(NamedTuple):
    """One of the targets that will do for a dependency; ``target`` is its text without secrets, ``place`` its place."""

    kind: str
    target: str
    probe: Probe
    place: str = ""


class Dependency(NamedTuple):
    """One dependency of the plan. Times are seconds; ``timeout`` and ``attempt_timeout`` are None for no limit."""

    name: str
    origin: str
    alternatives: tuple[Alternative, ...]
    need: int = 1
    timeout: float | None = None
    attempt_timeout: float | None = 3.0
    interval: float | None = None
    max_interval: float | None = None
    successes: int = 1
    stable_for: float = 0.0
    delay: float = 0.0
    optional: bool = False
    invert: bool = False
    after: tuple[str, ...] = ()
    settings: tuple[Setting, ...] = ()

    @property
    def kind(self) -> str:
        """The probe kind, or ``any`` where alternatives are of several kinds."""
        kinds = {alternative.kind for alternative in self.alternatives}
        return kinds.pop() if len(kinds) == 1 else "any"

    @property
    def target(self) -> str:
        """The targets as text, without secrets."""
        return "|".join(alternative.target for alternative in self.alternatives)


class GateOptions(NamedTuple):
    """The options of the gate as values. Times are seconds; limits are None for no limit.

    ``termination_log`` is None for its usual place (where that is there) and ``off`` for nowhere.
    """

    file: str | None = None
    timeout: float | None = 300.0
    attempt_timeout: float | None = 3.0
    interval: float | None = None
    max_interval: float | None = None
    successes: int = 1
    stable_for: float = 0.0
    any: bool = False
    on_timeout: str = "fail"
    bypass: str | None = None
    notify: str = "auto"
    notify_fd: int | None = None
    ready_file: str | None = None
    termination_log: str | None = None
    report: str | None = None
    log_format: str = "auto"
    quiet: bool = False
    verbose: bool = False
    output: str = "text"


class Plan(NamedTuple):
    """What will be probed and how the gate behaves; ``settings`` say where each option of the gate came from."""

    dependencies: tuple[Dependency, ...]
    options: GateOptions
    settings: tuple[Setting, ...] = ()


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
    """The whole report: what the gate does, why, and what came of each dependency. True when the gate is open."""

    gate: Gate
    cause: Cause
    summary: str
    started: datetime
    waited: float
    dependencies: tuple[Report, ...]

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
            "dependencies": [_plain(report) for report in self.dependencies],
        }


def _plain(report: Report) -> dict[str, Any]:
    plain = {key: _json(value) for key, value in report._asdict().items()}
    del plain["overdue"]
    plain["changes"] = [{k: _json(v) for k, v in change._asdict().items()} for change in report.changes]
    return plain


def _json(value: Any) -> Any:  # noqa: ANN401 - plain data of every type passes through here
    if isinstance(value, Enum):
        return value.value
    return round(value, 3) if isinstance(value, float) else value
