"""Reports become a verdict: tables of states and what the gate does of them, and the words for it."""

from datetime import UTC, datetime

import pytest
from clock import plan

from gatekeeper.decide import Decision, at_deadline, at_once, conclude, so_far, story, summary
from gatekeeper.model import GateOptions, Plan, Reason, State
from gatekeeper.verdict import Cause, Change, Gate, Report, Verdict

READY = Gate.OPEN, Cause.READY
CONTINUE = Gate.OPEN, Cause.CONTINUE
FAILED = Gate.CLOSED, Cause.FAILED
TIMEOUT = Gate.CLOSED, Cause.TIMEOUT

# A word for each report: r(eady), w(aiting), f(ailed), s(kipped), and o(verdue: waiting, its own time up);
# a question mark behind it says that the dependency is optional.
_STATES = {"r": State.READY, "w": State.WAITING, "f": State.FAILED, "s": State.SKIPPED, "o": State.WAITING}


def reports(words: str) -> list[Report]:
    """Return a report for each word."""
    return [
        Report(
            name=f"d{number}",
            kind="tcp",
            target=f"tcp://d{number}:1",
            required=not word.endswith("?"),
            origin="test",
            state=_STATES[word[0]],
            reason=Reason.READY if word[0] == "r" else Reason.REFUSED,
            detail="",
            attempts=1,
            waited=1.0,
            # An optional one that is skipped has run out of its time; a required one never had its turn.
            overdue=word in ("o", "o?", "s?"),
        )
        for number, word in enumerate(words.split(), 1)
    ]


ALL: list[tuple[str, Decision | None, Decision]] = [
    # reports      so far     at the deadline
    ("r", READY, READY),
    ("w", None, TIMEOUT),
    ("r r", READY, READY),
    ("r w", None, TIMEOUT),
    ("r f", FAILED, FAILED),
    ("w f", FAILED, FAILED),
    ("o w", TIMEOUT, TIMEOUT),
    ("o f", FAILED, FAILED),
    ("r o", TIMEOUT, TIMEOUT),
    ("r w?", None, READY),
    ("r s?", READY, READY),
    ("r f?", READY, READY),
    ("w s?", None, TIMEOUT),
    ("w f?", None, TIMEOUT),
    ("s?", READY, READY),
    ("w?", None, READY),
    ("f? w?", None, READY),
    ("f? s?", READY, READY),
    ("f w?", FAILED, FAILED),
    ("r o s", TIMEOUT, TIMEOUT),
]


@pytest.mark.parametrize(("words", "now", "finally_"), ALL)
def test_all_that_is_required_must_be_ready(words: str, now: Decision | None, finally_: Decision) -> None:
    """By default every required dependency counts, and the optional ones are waited for until they are over."""
    assert so_far(plan(), reports(words)) == now
    assert at_deadline(plan(), reports(words)) == finally_


CONTINUING: list[tuple[str, Decision | None, Decision]] = [
    ("r", READY, READY),
    ("w", None, CONTINUE),
    ("r w", None, CONTINUE),
    ("r o", CONTINUE, CONTINUE),
    ("w o", None, CONTINUE),
    ("r o s", CONTINUE, CONTINUE),
    ("r f", FAILED, FAILED),
    ("o f", FAILED, FAILED),
    ("r w?", None, READY),
    ("r s?", READY, READY),
    ("o s?", CONTINUE, CONTINUE),
    ("w s?", None, CONTINUE),
]


@pytest.mark.parametrize(("words", "now", "finally_"), CONTINUING)
def test_continue_opens_when_the_time_is_up(words: str, now: Decision | None, finally_: Decision) -> None:
    """With on_timeout=continue, time that is up opens the gate and says so; a failure for good does not."""
    continuing = plan(on_timeout="continue")
    assert so_far(continuing, reports(words)) == now
    assert at_deadline(continuing, reports(words)) == finally_


ANY: list[tuple[str, Decision | None, Decision, Decision | None, Decision]] = [
    # reports   so far    at the deadline   the same two with on_timeout=continue
    ("r w", READY, READY, READY, READY),
    ("r f", READY, READY, READY, READY),
    ("r? w", READY, READY, READY, READY),
    ("r o", READY, READY, READY, READY),
    ("w w", None, TIMEOUT, None, CONTINUE),
    ("w f", None, TIMEOUT, None, CONTINUE),
    ("w o", None, TIMEOUT, None, CONTINUE),
    ("o o", TIMEOUT, TIMEOUT, CONTINUE, CONTINUE),
    ("o f", TIMEOUT, TIMEOUT, CONTINUE, CONTINUE),
    ("o s", TIMEOUT, TIMEOUT, CONTINUE, CONTINUE),
    ("f s?", TIMEOUT, TIMEOUT, CONTINUE, CONTINUE),
    ("f f", FAILED, FAILED, FAILED, FAILED),
    ("f f?", FAILED, FAILED, FAILED, FAILED),
    ("f s", FAILED, FAILED, FAILED, FAILED),
    ("w? w?", None, TIMEOUT, None, CONTINUE),
]


@pytest.mark.parametrize(("words", "now", "finally_", "now_continuing", "finally_continuing"), ANY)
def test_any_needs_one(
    words: str,
    now: Decision | None,
    finally_: Decision,
    now_continuing: Decision | None,
    finally_continuing: Decision,
) -> None:
    """With any, one that is ready opens; the gate shuts when nothing can come, and has failed where no time ran out."""
    assert so_far(plan(any=True), reports(words)) == now
    assert at_deadline(plan(any=True), reports(words)) == finally_
    continuing = plan(any=True, on_timeout="continue")
    assert so_far(continuing, reports(words)) == now_continuing
    assert at_deadline(continuing, reports(words)) == finally_continuing


@pytest.mark.parametrize(
    ("words", "options", "decision"),
    [
        ("r r", {}, READY),
        ("r w", {}, TIMEOUT),
        ("r w?", {}, READY),
        ("r f?", {}, READY),
        ("w f", {}, FAILED),
        ("r w", {"any": True}, READY),
        ("w w", {"any": True}, TIMEOUT),
        ("w w?", {"any": True}, TIMEOUT),
        ("f f", {"any": True}, FAILED),
        ("r w", {"on_timeout": "continue"}, TIMEOUT),
        ("w w", {"on_timeout": "continue", "any": True}, TIMEOUT),
    ],
)
def test_a_look_is_open_only_where_all_that_is_required_is_there(
    words: str, options: dict[str, object], decision: Decision
) -> None:
    """One attempt each opens nothing that is not there, whatever is to happen at a deadline."""
    assert at_once(plan(**options), reports(words)) == decision


@pytest.mark.parametrize("options", [GateOptions(), GateOptions(any=True), GateOptions(on_timeout="continue")])
def test_only_what_is_there_opens_as_ready(options: GateOptions) -> None:
    """Over all mixtures of three reports, cause ready means that all that is required, or with any one, is ready."""
    words = [f"{state}{mark}" for state in "rwfso" for mark in ("", "?")]
    for mixture in (f"{a} {b} {c}" for a in words for b in words for c in words):
        found = reports(mixture)
        is_there = (
            any(report.state is State.READY for report in found)
            if options.any
            else all(report.state is State.READY for report in found if report.required)
        )
        for decision in (so_far(Plan((), options), found), at_deadline(Plan((), options), found)):
            assert (decision == READY) <= is_there, mixture
            if options.on_timeout == "fail" and decision:
                assert (decision[0] is Gate.OPEN) == (decision == READY), mixture


def test_the_summary_names_what_is_missing_most_important_first() -> None:
    """What failed for good comes first, then what is required, then what is optional; three are named."""
    found = reports("w? w r f w")
    found[3] = found[3]._replace(reason=Reason.FORBIDDEN, detail="403")
    assert summary(found) == "4 of 5 not ready: d4 (forbidden: 403), d2 (refused), d5 (refused) and 1 more"
    assert summary(found[:1]) == "1 of 1 not ready: d1 (refused, optional)"
    assert summary(reports("r r")) == "2 of 2 ready"


@pytest.mark.parametrize(
    ("cause", "line"),
    [
        (Cause.READY, "open after 1.5s: all"),
        (Cause.CONTINUE, "open after 1.5s although the time is up (on-timeout=continue): all"),
        (Cause.BYPASS, "open, nothing was probed: all"),
        (Cause.TIMEOUT, "closed, the time is up after 1.5s: all"),
        (Cause.FAILED, "closed after 1.5s, a required dependency can never become ready: all"),
        (Cause.SIGNAL, "closed after 1.5s by a signal: all"),
        (Cause.FAULT, "closed after 1.5s: all"),
    ],
)
def test_the_story_tells_it_all(cause: Cause, line: str) -> None:
    """One line says what the gate did, after how long, why, and what is missing."""
    assert story(Verdict(Gate.OPEN, cause, "all", datetime.now(UTC), 1.5, tuple(reports("r w f")))) == line


def test_the_story_blames_no_dependency_for_a_command_that_cannot_start() -> None:
    """A failure that is none of a dependency is told as it is."""
    verdict = Verdict(Gate.CLOSED, Cause.FAILED, "./app was not found", datetime.now(UTC), 0, tuple(reports("r w")))
    assert story(verdict) == "closed at once: ./app was not found"


def test_the_whole_report_as_plain_data() -> None:
    """The report has the keys and the form that INTERFACE promises: words, rounded seconds, an instant in UTC."""
    (report,) = reports("w?")
    report = report._replace(
        detail="10.0.0.7:5432",
        waited=1.23456,
        overdue=True,
        changes=(Change(0.00412, State.WAITING, Reason.REFUSED, "x"),),
    )
    verdict = conclude(TIMEOUT, [report], datetime(2026, 1, 1, tzinfo=UTC), 12.34567)
    assert verdict.as_dict() == {
        "gate": "closed",
        "cause": "timeout",
        "summary": "1 of 1 not ready: d1 (refused: 10.0.0.7:5432, optional)",
        "started": "2026-01-01T00:00:00.000Z",
        "waited": 12.346,
        "dependencies": [
            {
                "name": "d1",
                "kind": "tcp",
                "target": "tcp://d1:1",
                "required": False,
                "origin": "test",
                "state": "waiting",
                "reason": "refused",
                "detail": "10.0.0.7:5432",
                "attempts": 1,
                "waited": 1.235,
                "changes": [{"at": 0.004, "state": "waiting", "reason": "refused", "detail": "x"}],
            }
        ],
    }
    assert {type(value) for value in verdict.as_dict().values()} == {str, float, list}


@pytest.mark.parametrize("gate", list(Gate))
def test_a_verdict_is_true_when_the_gate_is_open(gate: Gate) -> None:
    """The truth value of a report is that of the gate, not of a tuple with something in it."""
    assert bool(Verdict(gate, Cause.READY, "", datetime.now(UTC), 0, ())) == (gate is Gate.OPEN)
