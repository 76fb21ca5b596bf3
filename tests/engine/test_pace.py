"""One dependency over time, on virtual time: attempts, pauses, limits, streaks and signals."""

import asyncio
import subprocess
import sys
from collections.abc import Callable

import pytest
from clock import NOT_YET, READY, REFUSED, Script, Silent, dependency, now, play

from gatekeeper.model import Outcome, Probe, Reason, State, failed, ready, waiting
from gatekeeper.pace import CHEAP, CHEAP_LATER, DEAR, LATER, pace
from gatekeeper.probes._inotify import Notices
from gatekeeper.turns import Turns

FOREVER = 10_000.0


class Course:
    """What a paced probe went through: the judged outcomes with their times, and the last one."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self.told: list[tuple[float, Outcome]] = []
        self.last: Outcome | None = None
        self.ended = 0.0

    def tell(self, outcome: Outcome) -> None:
        """Take one outcome."""
        self.told.append((now(), outcome))


def course(
    probe: Probe, *, seconds: float = FOREVER, once: bool = False, until: float | None = None, **rules: object
) -> Course:
    """Pace a probe until it ends or so many virtual seconds have passed."""
    seen = Course()

    async def run() -> None:
        turns = Turns(cpu=lambda: 0.0)
        try:
            async with asyncio.timeout(seconds):
                it = dependency("it", probe, **rules)
                end = None if until is None else asyncio.get_running_loop().time() + until
                seen.last = await pace(probe, it, turns, seen.tell, until=end, once=once)
        except TimeoutError:
            pass
        seen.ended = now()

    play(run())
    return seen


def jittered(low: float) -> Callable[[float], bool]:
    """Return a test for what is at least so long and at most a fifth longer."""
    return lambda pause: low - 1e-6 <= pause <= low * 1.2 + 1e-6


def test_the_first_attempt_is_immediate() -> None:
    """What is there is found at once."""
    probe = Script((0, READY))
    assert course(probe).last == READY
    assert probe.began == [0]


def test_an_outcome_that_can_never_change_ends_it() -> None:
    """A failed outcome is final when nothing else was said for a second; until then it is waited for."""
    probe = Script((0, failed(Reason.FORBIDDEN, "403")))
    seen = course(probe)
    assert seen.last == failed(Reason.FORBIDDEN, "403")
    assert 1 <= seen.ended <= 1.13
    assert {(outcome.state, outcome.reason) for _, outcome in seen.told[:-1]} == {(State.WAITING, Reason.FORBIDDEN)}


def test_a_server_that_starts_may_say_never_at_first() -> None:
    """A failed outcome that another one follows was not final, and the second begins anew."""
    never = failed(Reason.WRONG_PROTOCOL, "garbage")
    probe = Script((0, never), (0.9, NOT_YET), (0, never), (0.5, never), (0, READY))
    seen = course(probe)
    assert seen.last == READY


def test_one_attempt_says_never_at_once() -> None:
    """With once there is no second attempt that could say otherwise."""
    assert course(Script((0, failed(Reason.FORBIDDEN, "403"))), once=True).last.state is State.FAILED


def test_the_classes_of_pauses_are_those_of_the_design() -> None:
    """At most 2 % of the wait from 20 ms to 250 ms (later 1 s) where it is cheap, 5 % from 100 ms to 2 s where dear."""
    assert 0.01 <= CHEAP[0] == CHEAP_LATER[0] <= 0.02
    assert (CHEAP[1:], CHEAP_LATER[1:], LATER) == ((0.02, 0.25), (0.02, 1.0), 300)
    assert DEAR == (0.05, 0.1, 2.0)


@pytest.mark.parametrize(("answer", "pauses"), [(REFUSED, CHEAP), (NOT_YET, DEAR)], ids=["cheap", "dear"])
def test_pauses_grow_with_the_time_waited(answer: Outcome, pauses: tuple[float, float, float]) -> None:
    """Every pause is the share of the time waited for this class of answer, between its bounds, and up to 20 % more."""
    share, shortest, longest = pauses
    probe = Script((0, answer))
    course(probe, seconds=120)
    for began, pause in zip(probe.began, probe.pauses, strict=False):
        assert jittered(min(max(share * began, shortest), longest))(pause), (began, pause)
    assert jittered(shortest)(probe.pauses[0])
    assert jittered(longest)(probe.pauses[-1])


def test_what_is_cheap_to_ask_is_asked_less_often_after_five_minutes() -> None:
    """From five minutes on, cheap answers are asked for about once a second."""
    probe = Script((0, REFUSED))
    course(probe, seconds=360)
    before = [pause for began, pause in zip(probe.began, probe.pauses, strict=False) if 200 < began < 300]
    later = [pause for began, pause in zip(probe.began, probe.pauses, strict=False) if began >= 300]
    assert before
    assert later
    assert all(map(jittered(0.25), before))
    assert all(map(jittered(1.0), later))


def test_pauses_are_jittered() -> None:
    """Two that start together do not go on together."""
    first, second = Script((0, REFUSED)), Script((0, REFUSED))
    course(first, seconds=5)
    course(second, seconds=5)
    assert first.began != second.began


def test_an_opened_gate_is_late_by_a_few_per_cent() -> None:
    """What opens while being waited for is found within 2 % of the wait and its jitter."""
    probe = Script((0, REFUSED))
    course(probe, seconds=10)
    for opened in (1.0, 2.5, 5.0, 9.0):
        found = next(began for began in probe.began if began >= opened)
        assert found - opened <= max(0.02, 0.02 * opened) * 1.2 + 1e-6


def test_a_timed_out_attempt_has_been_its_own_pause() -> None:
    """After an attempt that took its whole limit, the next one follows after the shortest pause."""
    probe = Script((0, Silent("connecting")))
    seen = course(probe, seconds=20)
    assert all(jittered(0.02)(pause - 3) for pause in probe.pauses)
    assert seen.told[0] == (3.0, waiting(Reason.TIMED_OUT, "connecting took over 3s"))


def test_a_short_limit_leaves_the_rest_of_the_pause() -> None:
    """Where the limit is shorter than the pause, only the difference is left to wait."""
    probe = Script((0, Silent("connecting")))
    course(probe, seconds=60, attempt_timeout=0.5)
    for began, pause in zip(probe.began, probe.pauses, strict=False):
        whole = min(max(0.05 * (began + 0.5), 0.1), 2.0)
        assert jittered(max(whole - 0.5, 0.02))(pause - 0.5), (began, pause)


def test_an_attempt_that_names_no_step_is_timed_out_as_a_whole() -> None:
    """The detail of a timed-out attempt without a note says that the attempt took too long."""
    probe = Script((5, READY))
    seen = course(probe, once=True, attempt_timeout=0.25)
    assert seen.told == [(0.25, waiting(Reason.TIMED_OUT, "the attempt took over 250ms"))]


def test_no_limit_lets_an_attempt_take_its_time() -> None:
    """attempt_timeout=0 is no limit."""
    probe = Script((900, READY))
    seen = course(probe, attempt_timeout=None)
    assert (seen.last, seen.ended) == (READY, 900)


def test_a_timeout_error_out_of_a_probe_is_a_fault() -> None:
    """A TimeoutError that is not the limit's own passes through like any other exception."""
    with pytest.raises(TimeoutError, match="its own"):
        play(pace(Script((0, TimeoutError("its own"))), dependency("it"), turns(), lambda _: None))


def turns() -> Turns:
    """Return turns, made where no loop runs yet."""
    return Turns(at_once=10, cpu=lambda: 0.0)


@pytest.mark.parametrize("rows", [[(0.0, ValueError("x"))], [(0.0, REFUSED), (0.0, ValueError("x"))]])
def test_an_exception_out_of_a_probe_passes_through(rows: list[tuple[float, Outcome | BaseException]]) -> None:
    """A fault of a kind is not retried, at the first attempt and at a later one."""
    probe = Script(*rows)
    with pytest.raises(ValueError, match="x"):
        play(pace(probe, dependency("it", probe), turns(), lambda _: None))
    assert len(probe.began) == len(rows)


@pytest.mark.parametrize(("seconds", "attempts"), [(1.0, 1), (3.01, 1), (5.0, 2)], ids=["first", "pause", "second"])
def test_a_cancellation_passes_through(seconds: float, attempts: int) -> None:
    """A wait that is cancelled ends at that moment, in an attempt or in a pause, and attempts no more."""
    probe = Script((0, Silent("reading")))

    async def run() -> None:
        task = asyncio.create_task(pace(probe, dependency("it", probe), turns(), lambda _: None))
        await asyncio.sleep(seconds)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert now() == seconds
        await asyncio.sleep(100)

    play(run())
    assert len(probe.began) == attempts


def test_a_first_attempt_that_is_cut_short_says_where_it_stood() -> None:
    """When the wait ends during the first attempt, its step is told, because nothing else is known."""
    probe = Script((0, Silent("the TLS handshake")))
    seen = course(probe, seconds=1)
    assert seen.told == [(1.0, waiting(Reason.TIMED_OUT, "the TLS handshake when the wait ended"))]


def test_a_later_attempt_that_is_cut_short_changes_nothing() -> None:
    """When the wait ends during a later attempt, the last answer stands."""
    probe = Script((0, REFUSED), (0, Silent("reading")))
    assert [outcome for _, outcome in course(probe, seconds=1).told] == [REFUSED]


@pytest.mark.parametrize(("asked", "pause"), [(5.0, 5.0), (600.0, 30.0), (0.0, 0.1)])
def test_an_answer_may_ask_for_a_pause(asked: float, pause: float) -> None:
    """Retry-After is honoured up to 30 s, and shortens nothing."""
    probe = Script((0, waiting(Reason.STARTING, retry_after=asked)), (0, READY))
    course(probe)
    assert jittered(pause)(probe.pauses[0])


def test_a_pause_that_was_asked_for_leaves_half_of_the_time() -> None:
    """Where the deadline is near, Retry-After is honoured for half of what is left, again and again."""
    probe = Script((0, waiting(Reason.STARTING, retry_after=3600)))
    course(probe, seconds=8, until=8)
    assert jittered(4.0)(probe.pauses[0])
    assert len(probe.pauses) >= 4


@pytest.mark.parametrize(("questions", "pause"), [(2, 0.25), (8, 1.0), (10, 1.25)])
def test_a_name_service_is_spared_by_what_an_attempt_asks_of_it(questions: int, pause: float) -> None:
    """Eight questions a second at most, and sooner only while less time has passed: the first second is quick."""
    probe = Script((0, waiting(Reason.UNRESOLVED)._replace(questions=questions)))
    course(probe, seconds=20)
    for began, lasted in zip(probe.began, probe.pauses, strict=False):
        assert jittered(max(0.1, min(pause, began), 0.05 * began))(lasted), (began, lasted)
    assert len([began for began in probe.began if began <= 1]) >= 4
    assert sum(1 < began <= 11 for began in probe.began) * questions <= 10 * 8 + questions


def test_interval_is_the_shortest_pause() -> None:
    """With interval, no pause is shorter, and jitter only lengthens."""
    probe = Script((0, REFUSED))
    course(probe, seconds=100, interval=5.0)
    assert all(map(jittered(5.0), probe.pauses))


def test_max_interval_is_the_longest_pause() -> None:
    """With max_interval, no pause is longer, whatever the answer asked for and jitter adds."""
    probe = Script((0, waiting(Reason.STARTING, retry_after=20)))
    course(probe, seconds=100, max_interval=1.0)
    assert probe.pauses == pytest.approx([1.0] * len(probe.pauses))


def test_equal_intervals_give_a_steady_beat() -> None:
    """Interval and max_interval of the same length leave nothing to chance."""
    probe = Script((0, REFUSED))
    course(probe, seconds=10, interval=2.0, max_interval=2.0)
    assert probe.began == [0, 2, 4, 6, 8]


def test_delay_comes_before_the_first_attempt() -> None:
    """Nothing is attempted before the delay is over."""
    probe = Script((0, READY))
    assert course(probe, delay=7.5).ended == 7.5
    assert probe.began == [7.5]


def test_successes_must_come_in_a_row() -> None:
    """Ready counts after so many in a row; anything else starts the count again."""
    probe = Script((0, READY), (0, READY), (0, REFUSED), (0, READY))
    seen = course(probe, successes=3)
    details = [(outcome.reason, outcome.detail) for _, outcome in seen.told]
    assert details == [
        (Reason.NOT_STABLE, "ready 1 of 3 times in a row"),
        (Reason.NOT_STABLE, "ready 2 of 3 times in a row"),
        (Reason.REFUSED, "10.0.0.7:5432"),
        (Reason.NOT_STABLE, "ready 1 of 3 times in a row"),
        (Reason.NOT_STABLE, "ready 2 of 3 times in a row"),
        (Reason.READY, "10.0.0.7:5432"),
    ]


@pytest.mark.parametrize("stable_for", [0.3, 1.0, 5.0, 33.3])
def test_the_last_attempt_falls_on_the_stable_moment(stable_for: float) -> None:
    """What was ready all along is found stable at exactly that moment, by one attempt and not by several."""
    probe = Script((0, READY))
    seen = course(probe, stable_for=stable_for)
    assert seen.ended == pytest.approx(stable_for, abs=1e-6)
    assert [outcome.state for _, outcome in seen.told].count(State.READY) == 1
    assert probe.pauses[-1] > 1e-6


def test_stability_is_told_while_it_lasts() -> None:
    """While it is ready, not yet for long enough, the outcome says for how long."""
    seen = course(Script((0, READY)), stable_for=2.0, interval=1.0, max_interval=1.0)
    assert [outcome.detail for _, outcome in seen.told] == ["ready for 0 of 2s", "ready for 1s of 2s", "10.0.0.7:5432"]


def test_anything_else_starts_stability_again() -> None:
    """One refusal in between and the time counts from the next success."""
    probe = Script((0, READY), (0, READY), (0, REFUSED), (0, READY))
    seen = course(probe, stable_for=5.0, interval=1.0, max_interval=1.0)
    assert seen.ended == pytest.approx(8.0)


def test_a_mark_that_changes_starts_stability_again() -> None:
    """A file that is still growing is not stable: its mark must stay the same for so long."""
    probe = Script(*[(0.0, ready(mark=size)) for size in (1, 2, 3, 3)])
    seen = course(probe, stable_for=1.5, max_interval=1.0)
    assert 1.5 <= seen.ended - probe.began[2] <= 1.6


def test_stability_does_not_undercut_the_interval() -> None:
    """The shortest pause that was asked for is kept, though the time would be over sooner."""
    probe = Script((0, READY))
    seen = course(probe, stable_for=1.5, interval=1.0, max_interval=1.0)
    assert seen.ended == pytest.approx(2.0)


def test_successes_and_stability_both_count() -> None:
    """Ready means so many times and for so long."""
    probe = Script((0, READY))
    seen = course(probe, stable_for=1.0, successes=5, interval=1.0, max_interval=1.0)
    assert seen.ended == pytest.approx(4.0)


def test_what_is_gone_is_ready_when_inverted() -> None:
    """A definite absence is what invert waits for, and the detail says which."""
    probe = Script((0, READY), (0, REFUSED))
    seen = course(probe, invert=True)
    assert [outcome for _, outcome in seen.told] == [
        waiting(Reason.STILL_THERE, "10.0.0.7:5432"),
        ready("gone: refused 10.0.0.7:5432"),
    ]


@pytest.mark.parametrize(
    "answer",
    [waiting(Reason.TIMED_OUT), waiting(Reason.WRONG_PROTOCOL), failed(Reason.FORBIDDEN), waiting(Reason.UNRESOLVED)],
)
def test_what_is_not_definitely_gone_is_not_ready_when_inverted(answer: Outcome) -> None:
    """A timeout, an unreadable answer or a name that nobody could resolve keep an inverted dependency waiting."""
    seen = course(Script((0, answer)), seconds=10, invert=True)
    assert seen.last is None
    assert {(outcome.state, outcome.reason) for _, outcome in seen.told} == {(State.WAITING, answer.reason)}


def test_a_failure_that_proves_absence_is_ready_when_inverted() -> None:
    """What can never be there is gone for good."""
    seen = course(Script((0, failed(Reason.NOT_FOUND, "job/x", gone=True))), invert=True)
    assert seen.last == ready("gone: not_found job/x")


def test_once_is_one_attempt_without_rules_of_repetition() -> None:
    """A look makes one attempt, without delay, and asks for no streak."""
    probe = Script((0, READY))
    assert course(probe, once=True, successes=3, stable_for=60, delay=60).last == READY
    assert course(Script((0, REFUSED)), once=True).last == REFUSED
    assert probe.began == [0]


class Bell:
    """A signal that rings when the test says so."""

    def __init__(self) -> None:
        """Be silent."""
        self.rung = asyncio.Event()
        self.closed = False
        self.told = Notices.told
        self.doubted_after = Notices.doubted_after

    async def changed(self) -> None:
        """Wait until it rings."""
        await self.rung.wait()
        self.rung.clear()

    def close(self) -> None:
        """Note that it was let go."""
        self.closed = True


ABSENT = waiting(Reason.NOT_FOUND, "/run/ready", cheap=True, gone=True)


class Watched(Script):
    """A scripted probe with a signal."""

    bell: Bell | None = None

    async def watch(self) -> Bell:
        """Return the bell that the test rings."""
        self.bell = Bell()
        return self.bell


def test_a_signal_wakes_the_pace_at_once() -> None:
    """A change is followed by an attempt at that moment, and the signal is closed in the end."""
    probe = Watched((0, ABSENT), (0, READY))

    async def run() -> None:
        task = asyncio.create_task(pace(probe, dependency("it", probe), turns(), lambda _: None))
        await asyncio.sleep(1)
        assert probe.bell
        probe.bell.rung.set()
        assert await task == READY

    play(run())
    assert probe.began == [0, 1]
    assert probe.bell
    assert probe.bell.closed


def test_a_silent_signal_is_doubted_every_two_seconds() -> None:
    """Where nothing is signalled, it is polled all the same, because network file systems tell nothing."""
    probe = Watched((0, ABSENT))
    course(probe, seconds=60)
    assert all(map(jittered(2.0), probe.pauses))


@pytest.mark.parametrize(
    ("answer", "pause"),
    [
        (REFUSED, 0.02),
        (waiting(Reason.CLOSED, cheap=True), 0.02),
        (waiting(Reason.RESET, cheap=True), 0.02),
        (NOT_YET, 0.1),
        (waiting(Reason.EXHAUSTED), 0.1),
    ],
)
def test_what_no_signal_tells_is_polled_as_without_one(answer: Outcome, pause: float) -> None:
    """Nobody signals that a socket file has got a listener, or that there are descriptors again."""
    probe = Watched((0, answer))
    course(probe, seconds=1)
    assert jittered(pause)(probe.pauses[0])


def test_a_signal_that_rings_all_the_time_does_not_flood() -> None:
    """However often it rings, there is a pause of 10 ms after each attempt."""

    class Ringing(Watched):
        async def watch(self) -> Bell:
            bell = await super().watch()
            bell.rung.set()
            bell.rung.clear = lambda: None  # type: ignore[method-assign]  # this bell of the test never stops
            return bell

    probe = Ringing((0, ABSENT))
    course(probe, seconds=10)
    assert min(probe.pauses) == pytest.approx(0.01)
    assert len(probe.began) > 900


def test_a_signal_does_not_undercut_the_interval() -> None:
    """The shortest pause that was asked for is kept, whatever changes meanwhile."""
    probe = Watched((0, ABSENT), (0, ABSENT), (0, READY))

    async def run() -> None:
        task = asyncio.create_task(pace(probe, dependency("it", probe, interval=5.0), turns(), lambda _: None))
        for _ in range(100):
            await asyncio.sleep(0.5)
            assert probe.bell
            probe.bell.rung.set()
        await task

    play(run())
    assert min(probe.pauses) >= 5.0


def test_a_signal_is_closed_whatever_happens() -> None:
    """A fault and a cancellation close the signal too, and one look makes none."""
    broken = Watched((0, ValueError("x")))
    with pytest.raises(ValueError, match="x"):
        play(pace(broken, dependency("it", broken), turns(), lambda _: None))
    assert broken.bell
    assert broken.bell.closed
    hanging = Watched((0, Silent("reading")))
    course(hanging, seconds=1)
    assert hanging.bell
    assert hanging.bell.closed
    looked_at = Watched((0, REFUSED))
    course(looked_at, once=True)
    assert looked_at.bell is None


def test_a_first_attempt_that_succeeds_loads_no_tenacity() -> None:
    """What only repeated attempts need is not loaded for a dependency that is there."""
    program = """
import sys; sys.path.insert(0, sys.argv[1])
from clock import READY, Script, dependency, play
from gatekeeper.pace import CHEAP, CHEAP_LATER, DEAR, LATER, pace
from gatekeeper.turns import Turns
probe = Script((0, READY))
play(pace(probe, dependency("it", probe), Turns(), print))
assert len(probe.began) == 1
print({"tenacity", "random"} & set(sys.modules))
"""
    here = __file__.rpartition("/")[0]
    run = subprocess.run([sys.executable, "-c", program, here], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "set()"
