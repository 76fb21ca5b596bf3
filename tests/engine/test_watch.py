"""All dependencies together, on virtual time: order, alternatives, deadlines, one report each whatever happens."""

import asyncio
from typing import Any

import pytest
from clock import NOT_YET, READY, REFUSED, Script, Silent, dependency, now, plan, play

from gatekeeper.decide import at_deadline, at_once, so_far
from gatekeeper.model import Dependency, Outcome, Plan, Reason, State, failed, ready
from gatekeeper.turns import SHARE, Turns
from gatekeeper.verdict import Cause, Change, Gate, Report
from gatekeeper.watch import Watch, unwatched

FORBIDDEN = failed(Reason.FORBIDDEN, "403")


class Wait:
    """One wait: what was decided and when, the reports of the end, and what was told on the way."""

    def __init__(self, watched: Plan, turns: Turns | None = None) -> None:
        """Wait on virtual time until the gate is decided."""
        self.changed: list[Report] = []
        self.attempted: list[tuple[str, Outcome]] = []
        play(self._run(watched, turns))

    async def _run(self, watched: Plan, turns: Turns | None) -> None:
        def attempted(report: Report, outcome: Outcome) -> None:
            self.attempted.append((report.name, outcome))

        watch = Watch(
            watched, changed=self.changed.append, attempted=attempted, turns=turns or Turns(at_once=64, cpu=_idle)
        )

        def decide(plan: Plan, reports: Any) -> Any:
            if (decision := so_far(plan, reports)) is not None:
                self.ended = now()
            return decision

        def give_up(plan: Plan, reports: Any) -> Any:
            self.ended = now()
            return at_deadline(plan, reports)

        self.decision = await watch.run(decide, give_up)
        self.left = now()
        self.reports = {report.name: report for report in watch.reports()}


def _idle() -> float:
    return 0.0


def opening(after: float) -> Script:
    """Return a probe that refuses until a moment and is there from then on."""

    class Opening(Script):
        async def attempt(self) -> Outcome:
            self.began.append(now())
            return READY if now() >= after else REFUSED

    return Opening((0, READY))


def silent(step: str = "connecting to 10.0.0.7:5432") -> Script:
    """Return a probe that never answers."""
    return Script((0, Silent(step)))


OPEN, FAILED, TIMED_OUT = (Gate.OPEN, Cause.READY), (Gate.CLOSED, Cause.FAILED), (Gate.CLOSED, Cause.TIMEOUT)
CONTINUED = (Gate.OPEN, Cause.CONTINUE)


def test_the_gate_opens_when_the_last_one_is_ready() -> None:
    """All are attempted together, and the slowest decides."""
    done = Wait(plan(*(dependency(f"d{n}", Script((n, READY))) for n in range(3))))
    assert (done.decision, done.ended, done.left) == (OPEN, 2, 2)
    assert [report.waited for report in done.reports.values()] == [0, 1, 2]


def test_one_that_fails_shuts_the_gate_at_once() -> None:
    """Nobody waits for the others, nor for the deadline, once it has failed for a second."""
    done = Wait(plan(dependency("a", silent()), dependency("b", Script((0.5, FORBIDDEN), (0, FORBIDDEN)))))
    assert done.decision == FAILED
    assert 1.5 <= done.ended <= 1.63
    assert done.reports["a"].why == "timed_out: connecting to 10.0.0.7:5432 when the wait ended"


def test_any_opens_with_the_first() -> None:
    """With any, one that is ready is enough, whatever became of the others."""
    done = Wait(plan(dependency("a", Script((0, FORBIDDEN))), dependency("b", Script((2, READY))), any=True))
    assert (done.decision, done.ended) == (OPEN, 2)


def test_alternatives_go_each_at_their_own_pace() -> None:
    """A silent alternative does not hold up one that opens."""
    opens = opening(5.0)
    done = Wait(plan(dependency("cache", silent(), opens)))
    assert done.decision == OPEN
    assert 5 <= done.ended <= 5.13
    assert done.reports["cache"].why == "ready: 10.0.0.7:5432"


def test_as_many_alternatives_as_needed_must_be_ready() -> None:
    """Of three alternatives two are needed: the second one opens, the third is let go."""
    done = Wait(plan(dependency("c", Script((1, READY)), Script((2, READY)), silent(), need=2)))
    assert (done.decision, done.ended) == (OPEN, 2)


@pytest.mark.parametrize(("need", "decision"), [(1, OPEN), (2, FAILED)])
def test_alternatives_fail_where_too_few_are_left(need: int, decision: tuple[Gate, Cause]) -> None:
    """One hopeless alternative of two matters only where both are needed."""
    done = Wait(plan(dependency("c", Script((0, FORBIDDEN)), Script((1, READY)), need=need)))
    assert done.decision == decision
    assert 1 <= done.ended <= 1.13


def test_the_report_of_alternatives_names_what_is_missing() -> None:
    """Where no alternative is there, the details of all that are still open are told."""
    done = Wait(plan(dependency("c", Script((0, REFUSED)), Script((0, NOT_YET))), timeout=5))
    assert done.reports["c"].why == "refused: 10.0.0.7:5432, 503"


def test_an_optional_one_is_waited_for_and_skipped() -> None:
    """The gate waits for an optional dependency until its own timeout, then goes on and says so."""
    done = Wait(plan(dependency("a", Script((0, READY))), dependency("b", silent(), optional=True, timeout=10)))
    assert (done.decision, done.ended) == (OPEN, 10)
    report = done.reports["b"]
    assert (report.state, report.reason, report.required, report.overdue) == (
        State.SKIPPED,
        Reason.TIMED_OUT,
        False,
        True,
    )
    assert done.changed[-1] == report


def test_an_optional_one_that_comes_in_time_is_ready() -> None:
    """What is optional and there counts like any other."""
    done = Wait(plan(dependency("b", opening(3.0), optional=True, timeout=10)))
    assert done.decision == OPEN
    assert done.reports["b"].state is State.READY


def test_an_optional_one_that_fails_is_gone_without() -> None:
    """A failure for good of an optional dependency ends the wait for it and shuts nothing."""
    done = Wait(plan(dependency("a", Script((2, READY))), dependency("b", Script((0, FORBIDDEN)), optional=True)))
    assert (done.decision, done.ended) == (OPEN, 2)
    assert done.reports["b"].state is State.FAILED


def test_order_is_kept() -> None:
    """What comes after another is not attempted before that one is ready."""
    second = Script((1, READY))
    done = Wait(plan(dependency("b", second, after=("a",)), dependency("a", Script((2, READY)))))
    assert (done.decision, done.ended) == (OPEN, 3)
    assert second.began == [2]


def test_what_waits_for_its_turn_says_so() -> None:
    """At the deadline, a dependency that was never attempted names those that it comes after."""
    done = Wait(plan(dependency("a", silent()), dependency("b", Script((0, READY)), after=("a",)), timeout=4))
    assert done.reports["b"].why == "not_attempted: after a"
    assert done.reports["b"].attempts == 0


def test_what_has_had_its_turn_does_not_blame_the_order() -> None:
    """Once those before are ready, the detail no longer says that it waits for them."""
    late = dependency("b", Script((0, READY)), after=("a",), delay=60)
    done = Wait(plan(dependency("a", Script((0, READY))), late, timeout=4))
    assert done.reports["b"].why == "not_attempted"


def test_an_optional_one_may_be_given_up_in_the_order() -> None:
    """What comes after an optional dependency is attempted when that one was given up, or failed."""
    third = Script((0, READY))
    done = Wait(
        plan(
            dependency("a", silent(), optional=True, timeout=2),
            dependency("b", Script((0, FORBIDDEN)), optional=True),
            dependency("c", third, after=("a", "b")),
        )
    )
    assert (done.decision, done.ended) == (OPEN, 2)
    assert third.began == [2]


def test_what_comes_after_something_given_up_is_never_attempted() -> None:
    """With on_timeout=continue, what follows a required dependency that is overdue is skipped, and the gate opens."""
    second = Script((0, READY))
    done = Wait(
        plan(
            dependency("a", silent(), timeout=1),
            dependency("b", second, after=("a",)),
            on_timeout="continue",
        )
    )
    assert (done.decision, done.ended) == (CONTINUED, 1)
    assert second.began == []
    assert (done.reports["b"].state, done.reports["b"].why) == (State.SKIPPED, "not_attempted: after a")


def test_any_opens_before_followers_have_their_turn() -> None:
    """With any, the first one in the order opens the gate, and nothing after it is attempted."""
    second = Script((0, READY))
    done = Wait(plan(dependency("b", second, after=("a",)), dependency("a", Script((1, READY))), any=True))
    assert (done.decision, done.ended) == (OPEN, 1)


def test_any_with_an_order_ends_when_the_first_fails() -> None:
    """Where the only one that may be attempted fails for good, nothing is left to wait for."""
    done = Wait(
        plan(dependency("a", Script((0, FORBIDDEN))), dependency("b", Script((0, READY)), after=("a",)), any=True)
    )
    assert done.decision == FAILED
    assert 1 <= done.ended <= 1.13


def test_a_dependency_has_its_own_timeout() -> None:
    """The first required dependency whose time is up shuts the gate, before the gate's deadline."""
    done = Wait(plan(dependency("a", Script((0, REFUSED)), timeout=2.5), dependency("b", silent())))
    assert (done.decision, done.ended) == (TIMED_OUT, 2.5)
    assert (done.reports["a"].overdue, done.reports["b"].overdue) == (True, False)


def test_a_timeout_counts_from_its_turn() -> None:
    """The time of a dependency begins when those before it are ready."""
    done = Wait(
        plan(
            dependency("a", Script((5, READY)), attempt_timeout=9.0), dependency("b", silent(), timeout=3, after=("a",))
        )
    )
    assert (done.decision, done.ended) == (TIMED_OUT, 8)


@pytest.mark.parametrize(
    "state",
    [
        dependency("first attempt", silent(), attempt_timeout=None),
        dependency("later attempt", Script((0, REFUSED), (0, Silent("reading")))),
        dependency("cheap pause", Script((0, REFUSED))),
        dependency("dear pause", Script((0, NOT_YET))),
        dependency("long pause", Script((0, NOT_YET)), interval=60.0),
        dependency("delay", Script((0, READY)), delay=60.0),
        dependency("streak", Script((0, READY)), successes=1000, interval=1.0),
        dependency("stability", Script((0, READY)), stable_for=60.0),
        dependency("alternatives", silent(), Script((0, REFUSED)), need=2),
        dependency("own timeout at the same moment", silent(), timeout=7.25),
    ],
    ids=lambda state: state.name,
)
def test_the_deadline_is_exact_in_every_state(state: Dependency) -> None:
    """Whatever a dependency is doing, the gate is decided at its deadline and left by then."""
    done = Wait(plan(state, timeout=7.25))
    assert (done.decision, done.ended, done.left) == (TIMED_OUT, 7.25, 7.25)
    assert [report.waited for report in done.reports.values()] == [7.25]


def test_leaving_never_waits_long() -> None:
    """An attempt that does not let go is left behind after some milliseconds."""

    class Clinging(Script):
        async def attempt(self) -> Outcome:
            try:
                return await super().attempt()
            finally:
                await asyncio.sleep(60)

    done = Wait(plan(dependency("a", Clinging((0, Silent("closing")))), timeout=2))
    assert (done.decision, done.ended) == (TIMED_OUT, 2)
    assert done.left == pytest.approx(2.03)


def test_clinging_alternatives_delay_the_opening_by_milliseconds() -> None:
    """An alternative that does not let go holds up the ready one by no more than it has for closing."""

    class Clinging(Script):
        async def attempt(self) -> Outcome:
            try:
                return await super().attempt()
            finally:
                await asyncio.sleep(60)

    done = Wait(plan(dependency("a", Clinging((0, Silent("closing"))), Script((1, READY)))))
    assert done.decision == OPEN
    assert done.ended <= 1.03 + 1e-6


def test_the_deadline_counts_from_the_start_of_the_program() -> None:
    """A watch that takes over a clock that runs already ends when that clock says so."""

    async def run() -> float:
        watch = Watch(plan(dependency("a", silent()), timeout=10), began=asyncio.get_running_loop().time() - 4)
        assert watch.waited == 4
        assert await watch.run(so_far, at_deadline) == TIMED_OUT
        return now()

    assert play(run()) == 6


def test_no_deadline_is_no_deadline() -> None:
    """With timeout=0 the gate waits on for days."""
    done = Wait(plan(dependency("a", Script((300_000, READY)), attempt_timeout=None), timeout=None))
    assert (done.decision, done.ended) == (OPEN, 300_000)


@pytest.mark.parametrize("own", [None, 3.0])
def test_continue_opens_all_the_same(own: float | None) -> None:
    """With on_timeout=continue, the deadline, or the timeouts of all that is missing, open the gate and say so."""
    done = Wait(
        plan(
            dependency("a", Script((0, READY))),
            dependency("b", silent(), timeout=own),
            timeout=9,
            on_timeout="continue",
        )
    )
    assert (done.decision, done.ended) == (CONTINUED, own or 9)
    assert done.reports["b"].state is State.WAITING


def test_continue_does_not_open_on_a_failure() -> None:
    """What can never become ready shuts the gate, whatever is to happen at the deadline."""
    done = Wait(plan(dependency("a", Script((0, FORBIDDEN))), on_timeout="continue"))
    assert done.decision == FAILED


def test_an_optional_one_never_keeps_the_gate_shut() -> None:
    """At the deadline, all that is required being ready, an optional dependency that is still open shuts nothing."""
    done = Wait(
        plan(dependency("a", Script((0, READY))), dependency("b", silent(), optional=True, timeout=60), timeout=5)
    )
    assert (done.decision, done.ended) == (OPEN, 5)


def test_changes_are_recorded_once_for_each_state_and_reason() -> None:
    """A line for each change of state or reason, not for each attempt, and not for another detail."""
    other = REFUSED._replace(detail="10.0.0.8:5432")
    script = Script((0, REFUSED), (0, other), (0, REFUSED), (0, NOT_YET), (0, NOT_YET), (0, REFUSED), (0, READY))
    done = Wait(plan(dependency("a", script)))
    report = done.reports["a"]
    assert report.attempts == 7
    assert [(change.state, change.reason) for change in report.changes] == [
        (State.WAITING, Reason.REFUSED),
        (State.WAITING, Reason.STARTING),
        (State.WAITING, Reason.REFUSED),
        (State.READY, Reason.READY),
    ]
    assert report.changes[0] == Change(0, State.WAITING, Reason.REFUSED, "10.0.0.7:5432")
    assert [changed.reason for changed in done.changed] == [change.reason for change in report.changes]
    assert len(done.attempted) == 7


def test_a_report_shows_the_latest_detail() -> None:
    """Another detail is no news, and is what the report tells in the end."""
    other = REFUSED._replace(detail="10.0.0.8:5432")
    done = Wait(plan(dependency("a", Script((0, REFUSED), (0, other))), timeout=5))
    assert done.reports["a"].why == "refused: 10.0.0.8:5432"
    assert len(done.changed) == 1


def test_nothing_is_told_once_it_is_over() -> None:
    """What attempts in flight say when they are cut short is in the report and is no change on the way."""
    done = Wait(plan(dependency("a", silent()), timeout=1))
    assert done.changed == []
    assert done.reports["a"].reason is Reason.TIMED_OUT


@pytest.mark.parametrize("probes", [1, 2])
@pytest.mark.parametrize("others", [(), (dependency("other", Script((9, READY))),)])
def test_a_fault_surfaces_at_once(probes: int, others: tuple[Dependency, ...]) -> None:
    """An exception out of a kind ends the wait at that moment, whoever else is being waited for."""
    broken = Script((0, REFUSED), (0, ZeroDivisionError("of ours")))
    faulty = dependency("a", *(broken, silent())[:probes])
    with pytest.raises(ZeroDivisionError, match="of ours"):
        Wait(plan(faulty, *others))


def test_a_fault_counts_even_where_any_would_do() -> None:
    """A fault shuts the gate although another dependency would open it a moment later."""
    with pytest.raises(ZeroDivisionError):
        Wait(plan(dependency("a", Script((1, READY))), dependency("b", Script((0.99, ZeroDivisionError()))), any=True))


def test_an_attempt_that_is_cancelled_from_inside_is_a_fault() -> None:
    """A kind that cancels itself must not make its dependency disappear."""
    with pytest.raises(asyncio.InvalidStateError, match="cancelled"):
        Wait(plan(dependency("a", Script((0, asyncio.CancelledError()))), dependency("b", Script((1, READY)))))


def test_an_alternative_that_is_cancelled_from_inside_is_a_fault() -> None:
    """The same for one of several alternatives, although another one is still open."""
    with pytest.raises(asyncio.InvalidStateError, match="cancelled"):
        Wait(plan(dependency("a", Script((0, asyncio.CancelledError())), Script((5, READY)), attempt_timeout=None)))


def test_an_exception_in_who_is_told_is_a_fault() -> None:
    """What goes wrong while telling of a change ends the wait too."""

    def tell(_report: Report) -> None:
        raise OSError(28, "No space left on device")

    async def run() -> None:
        await Watch(plan(dependency("a", Script((0, READY)))), changed=tell).run(so_far, at_deadline)

    with pytest.raises(OSError, match="No space"):
        play(run())


def look(watched: Plan) -> list[Report]:
    """Return the reports of one attempt each."""

    async def run() -> list[Report]:
        return await Watch(watched, turns=Turns(at_once=64, cpu=_idle)).once()

    return play(run())


def test_a_look_is_one_attempt_each_whatever_the_order() -> None:
    """Looking attempts at everything once, at all alternatives and without order or delay."""
    first, second = Script((0, REFUSED)), Script((1, READY))
    watched = plan(
        dependency("a", first, after=("b",), delay=60),
        dependency("b", Script((0, NOT_YET)), second, successes=9),
        dependency("c", Script((0, FORBIDDEN))),
    )
    reports = look(watched)
    assert [(report.name, report.state, report.attempts) for report in reports] == [
        ("a", State.WAITING, 1),
        ("b", State.READY, 2),
        ("c", State.FAILED, 1),
    ]
    assert at_once(watched, reports) == FAILED
    assert first.began == second.began == [0]


def test_a_look_ends_at_the_deadline() -> None:
    """The gate's deadline bounds a look, and everyone has a report."""
    reports = look(
        plan(dependency("a", silent(), attempt_timeout=None), dependency("b", Script((0, READY))), timeout=2)
    )
    assert [report.why for report in reports] == [
        "timed_out: connecting to 10.0.0.7:5432 when the wait ended",
        "ready: 10.0.0.7:5432",
    ]


def test_a_fault_while_looking_surfaces() -> None:
    """A TimeoutError out of a kind is a fault and no deadline."""
    with pytest.raises(TimeoutError, match="of ours"):
        look(plan(dependency("a", Script((0, TimeoutError("of ours")))), timeout=2))


def test_what_was_never_watched_has_reports_too() -> None:
    """A plan that nobody attempted at gives a report for each dependency."""
    (report,) = unwatched(plan(dependency("a", silent(), optional=True)))
    assert (report.name, report.kind, report.target) == ("a", "scripted", "scripted:a")
    assert (report.why, report.attempts, report.required) == ("not_attempted", 0, False)


MANY = 1000


def test_a_thousand_that_are_there_take_no_turns() -> None:
    """First attempts wait for a place only: a thousand dependencies that are there open the gate at once."""
    done = Wait(plan(*(dependency(f"d{n}", Script((0, READY))) for n in range(MANY))))
    assert (done.decision, done.ended) == (OPEN, 0)
    assert {(report.state, report.attempts) for report in done.reports.values()} == {(State.READY, 1)}


class Crowded:
    """Counts who is attempting at once, over all dependencies."""

    def __init__(self, seconds: float, answer: Outcome) -> None:
        """Take how long an attempt takes and what it finds."""
        self.seconds, self.answer = seconds, answer
        self.running = self.most = 0
        self.began: list[float] = []

    async def attempt(self) -> Outcome:
        """Make one attempt."""
        self.began.append(now())
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.running -= 1
        return self.answer


@pytest.mark.parametrize(("seconds", "answer"), [(1.0, READY), (0.5, REFUSED)])
def test_attempts_at_once_are_bounded(seconds: float, answer: Outcome) -> None:
    """No more attempts run at once than there are places, and everyone has a first one in order of arrival."""
    crowd = Crowded(seconds, answer)
    done = Wait(plan(*(dependency(f"d{n}", crowd) for n in range(200)), timeout=8), Turns(at_once=50, cpu=_idle))
    assert crowd.most == 50
    assert crowd.began[:200] == [seconds * (n // 50) for n in range(200)]
    assert min(report.attempts for report in done.reports.values()) >= 1
    assert done.left <= 8.03


def test_a_thousand_that_refuse_take_turns() -> None:
    """Repeated attempts come at a bounded rate over the whole plan, and everyone gets its turn about equally often."""
    crowd = Crowded(0.0, REFUSED)
    done = Wait(plan(*(dependency(f"d{n}", crowd) for n in range(MANY)), timeout=10))
    repeated = sorted(crowd.began[MANY:])
    assert crowd.began[:MANY] == [0.0] * MANY
    for second in range(10):
        assert sum(second <= began < second + 1 for began in repeated) <= 400 + 40
    attempts = [report.attempts for report in done.reports.values()]
    assert max(attempts) - min(attempts) <= 1
    assert sum(attempts) >= 400 * 9


def test_a_slow_machine_takes_fewer_turns() -> None:
    """Where attempts have cost more processor time, repeated ones come less often."""
    used = 0.0

    class Costly(Crowded):
        async def attempt(self) -> Outcome:
            nonlocal used
            used += 0.003
            return await super().attempt()

    crowd = Costly(0.0, REFUSED)
    Wait(plan(*(dependency(f"d{n}", crowd) for n in range(MANY)), timeout=20), Turns(at_once=64, cpu=lambda: used))
    late = [began for began in crowd.began if began >= 10]
    assert len(late) / 10 == pytest.approx(SHARE / 0.003, rel=0.1)
    assert SHARE <= 0.25


def test_one_that_opens_among_a_thousand_is_found_in_its_turn() -> None:
    """Among 999 that refuse, one that opens is found within a round of turns."""
    opens = opening(2.0)
    refusing = [dependency(f"d{n}", Crowded(0.0, REFUSED)) for n in range(MANY - 1)]
    done = Wait(plan(*refusing, dependency("opens", opens), timeout=60, any=True))
    assert done.decision == OPEN
    assert done.ended <= 2.0 + MANY / 400 + 0.3


def test_a_turn_is_given_back_whatever_happens() -> None:
    """Attempts that are cut short or break leave their place to the next."""

    async def run() -> None:
        turns = Turns(at_once=1, cpu=_idle)
        for error in (ValueError, asyncio.CancelledError):
            with pytest.raises(error):
                async with turns.place():
                    raise error
        async with asyncio.timeout(1), turns.place():
            pass

    play(run())


def test_the_places_follow_from_the_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the descriptors that there are, at least one place, at most 2,048."""
    import resource  # noqa: PLC0415 - for this test only

    async def places() -> int:
        turns = Turns()
        count = 0
        while True:
            try:
                async with asyncio.timeout(0):
                    await turns.place().__aenter__()
            except TimeoutError:
                return count
            count += 1

    for soft, expected in [(1024, 496), (40, 4), (16, 1), (1_000_000, 2048), (resource.RLIM_INFINITY, 2048)]:
        monkeypatch.setattr(resource, "getrlimit", lambda _, soft=soft: (soft, soft))
        assert play(places()) == expected


def test_a_ready_one_says_what_passed() -> None:
    """The detail of a ready dependency with several alternatives names those that are ready."""
    scripts = (Script((0, ready("a:1"))), Script((0, ready("b:1"))), silent())
    done = Wait(plan(dependency("c", *scripts, need=2)))
    assert done.reports["c"].why == "ready: a:1, b:1"
