"""The nouns: what will be probed, and what an attempt finds. No I/O, nothing of ours, no third party.

Every record here is frozen. Data passes between the steps as these records and as nothing else.
"""

from collections.abc import Awaitable, Callable, Hashable
from enum import StrEnum
from typing import NamedTuple, Protocol, Self


class State(StrEnum):
    """Where a dependency stands. ``failed`` means that it can never become ready."""

    READY = "ready"
    WAITING = "waiting"
    FAILED = "failed"
    SKIPPED = "skipped"


class Reason(StrEnum):
    """Why a dependency stands where it stands: the closed list, the same words everywhere, each with its meaning."""

    meaning: str

    def __new__(cls, word: str, meaning: str) -> Self:
        """Make a word of the list."""
        reason = str.__new__(cls, word)
        reason._value_ = word
        reason.meaning = meaning
        return reason

    READY = ("ready", "it is there")
    READY_AUTH_REQUIRED = ("ready_auth_required", "it is up and wants credentials that it was not given")
    NOT_ATTEMPTED = ("not_attempted", "no attempt has ended yet; the detail says what it waits for")
    REFUSED = ("refused", "nothing listens at that address (connection refused)")
    TIMED_OUT = ("timed_out", "no answer within the attempt's time limit; the detail says at which step")
    UNRESOLVED = ("unresolved", "the name has no address, or no resolver answered")
    NO_DATA = ("no_data", "DNS: the name exists, but has too few records of this type")
    DNS_FAILED = ("dns_failed", "DNS: the server could not answer (SERVFAIL)")
    DNS_REFUSED = ("dns_refused", "DNS: the server refuses to answer (REFUSED)")
    UNREACHABLE = ("unreachable", "no route, or a firewall says no")
    RESET = ("reset", "the connection was reset")
    CLOSED = ("closed", "accepted, then hung up")
    TLS_FAILED = ("tls_failed", "the TLS handshake or the verification of the certificate failed")
    STARTING = ("starting", "it answers: not yet")
    UNWANTED_ANSWER = ("unwanted_answer", "it answers, with something else than what was declared")
    WRONG_PROTOCOL = ("wrong_protocol", "something answers, but does not speak this protocol")
    FORBIDDEN = ("forbidden", "it answers, and permission is denied")
    NOT_FOUND = ("not_found", "the object does not exist")
    STILL_THERE = ("still_there", "it should be gone and is not")
    NOT_STABLE = ("not_stable", "it is there, not yet often enough in a row or for long enough")
    OBJECT_FAILED = ("object_failed", "the object says that it has failed, and it does not try again")
    COMMAND_FAILED = ("command_failed", "the command ended with another exit status than wanted")
    EXHAUSTED = ("exhausted", "this machine has no descriptors, memory, threads or ports left for an attempt")


class Outcome(NamedTuple):
    """What one attempt found.

    ``detail`` is one line for people, without secrets and without the body of an answer. ``cheap`` says that a kernel
    gave the answer (nobody had to work for it, so it may be asked again soon). ``retry_after`` is the time in seconds
    that the answer itself asked for. ``gone`` is true only where the thing is definitely not there (refused, no such
    name, no such object). ``mark`` is what must not change while a ready outcome is watched for stability. ``confirm``
    finds out whether what counts as gone certainly is, where the answer alone leaves a doubt that only matters then.
    ``certain`` says that a failure is final as it is, where others must be said for some time before they count.
    ``questions`` is how many a name service was asked in vain, all names of the search list and both families counted.
    """

    state: State
    reason: Reason
    detail: str = ""
    cheap: bool = False
    retry_after: float | None = None
    gone: bool = False
    mark: Hashable = None
    confirm: Callable[[], Awaitable[bool]] | None = None
    certain: bool = False
    questions: int = 0


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
    """Tells that another attempt is worth making now (a file changed, say).

    ``told`` are the reasons that a notice puts an end to: all else is paced as if there were none. A signal that stays
    silent is doubted after ``doubted_after`` seconds.
    """

    told: frozenset[Reason]
    doubted_after: float

    async def changed(self) -> None:
        """Return at the first change since the last call of `changed` returned, or since the signal was made."""

    def close(self) -> None:
        """Let go of what the signal holds."""


class Probe(Protocol):
    """One kind with its options: what can be attempted.

    A probe may also have ``async watch() -> Signal | None``; the pace then attempts again at a change instead of
    polling. And it may have ``async refuted() -> str | None``, asked once before anything is attempted: what is wrong
    with the declaration, where only the world can tell (no port is declared, and DNS knows of none). And it may have
    ``async exports() -> Mapping[str, str] | Outcome``, asked once when the gate opens: the variables that a kubelet
    would make of it, or why there are none.
    """

    async def attempt(self) -> Outcome:
        """Make one attempt: no loop, no sleep, no time limit of its own, no logging; failure is returned."""


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


class Address(NamedTuple):
    """Where to listen: the path of a socket file, or a host (None for all of them) and a port."""

    path: str | None
    host: str | None = None
    port: int = 0


class GateOptions(NamedTuple):
    """The options of the gate as values. Times are seconds; limits are None for no limit.

    ``status`` is None for its usual place, where that can be made, and empty for nowhere.
    ``termination_log`` is None for its usual place (where that is there) and ``off`` for nowhere.
    ``log_format`` may also be ``story``, which no user says: one line in the end.
    """

    file: str | None = None
    from_env: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
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
    export_env: str | None = None
    termination_log: str | None = None
    report: str | None = None
    log_format: str = "auto"
    quiet: bool = False
    verbose: bool = False
    start_timeout: float | None = None
    stop_timeout: float | None = None
    watchdog: float | None = None
    status: tuple[Address, ...] | None = None
    keep_watching: bool = False
    pod_info: str | None = None
    context: str | None = None
    pod_condition: str | None = None
    event: bool = False
    notify_socket: str = "/run/gatekeeper/notify.sock"
    notify_uid: tuple[int, ...] = ()
    notify_access: str = "all"
    output: str = "text"


class Inferred(NamedTuple):
    """A dependency that nobody declared: its name, its target without secrets, the variables that tell it, a remark."""

    name: str
    target: str
    variables: tuple[str, ...]
    note: str = ""


class LeftOut(NamedTuple):
    """A variable that was looked at and tells of no dependency, and why."""

    variable: str
    why: str


class Inference(NamedTuple):
    """What an environment was found to tell; what was left out is as much a part of it."""

    found: tuple[Inferred, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


class Plan(NamedTuple):
    """What will be probed and how the gate behaves; ``settings`` say where each option of the gate came from.

    ``inference`` is None where nobody asked for one.
    """

    dependencies: tuple[Dependency, ...]
    options: GateOptions
    settings: tuple[Setting, ...] = ()
    inference: Inference | None = None
