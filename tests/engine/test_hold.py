"""From a plan to a verdict, on virtual time: decisions, signals and faults; nothing but a decision opens the gate."""

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest
from clock import READY, REFUSED, START, Script, Silent, dependency, now, plan, play

from gatekeeper.gate import FaultError, bypassed, fault_of, hold, look
from gatekeeper.model import Reason, State
from gatekeeper.signals import Signals
from gatekeeper.verdict import Cause, Gate, Verdict


@pytest.fixture
def signals() -> Iterator[Signals]:
    """Return the signals of this process, which has its own handlers back afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield Signals()
    for number, handler in before.items():
        signal.signal(number, handler)


def outcome(verdict: Verdict) -> tuple[Gate, Cause, float]:
    """Return what the gate did, why and when."""
    return verdict.gate, verdict.cause, verdict.waited


def test_the_gate_opens_when_all_is_there() -> None:
    """The verdict holds the decision, the time and a report for each."""
    verdict = play(hold(plan(dependency("a", Script((2, READY))), dependency("b", Script((1, READY))))))
    assert outcome(verdict) == (Gate.OPEN, Cause.READY, 2)
    assert verdict.summary == "2 of 2 ready"
    assert [report.waited for report in verdict.dependencies] == [2, 1]


def test_the_gate_stays_shut_at_the_deadline() -> None:
    """The summary says what was missing then."""
    verdict = play(hold(plan(dependency("a", Script((0, REFUSED))), timeout=4)))
    assert outcome(verdict) == (Gate.CLOSED, Cause.TIMEOUT, 4)
    assert verdict.summary == "1 of 1 not ready: a (refused: 10.0.0.7:5432)"


def test_the_deadline_may_count_from_an_earlier_moment() -> None:
    """What the start of the program took belongs to the time of the gate."""
    verdict = play(hold(plan(dependency("a", Script((0, REFUSED))), timeout=4), began=START - 3))
    assert outcome(verdict) == (Gate.CLOSED, Cause.TIMEOUT, 4)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_wait_at_once(signals: Signals, number: signal.Signals) -> None:
    """A signal shuts the gate at that moment, and is kept for the exit status."""

    async def run() -> Verdict:
        asyncio.get_running_loop().call_later(3, os.kill, os.getpid(), number)
        return await hold(plan(dependency("a", Script((0, Silent("reading")))), timeout=60), signals=signals)

    verdict = play(run())
    assert outcome(verdict) == (Gate.CLOSED, Cause.SIGNAL, 3)
    assert signals.received == number
    assert verdict.dependencies[0].reason is Reason.TIMED_OUT


def test_a_signal_counts_although_all_is_there_at_that_moment(signals: Signals) -> None:
    """Who was asked to leave does not start anything."""
    os.kill(os.getpid(), signal.SIGTERM)
    verdict = play(hold(plan(dependency("a", Script((0, READY)))), signals=signals))
    assert (verdict.gate, verdict.cause) == (Gate.CLOSED, Cause.SIGNAL)


def test_a_look_ends_with_a_signal_too(signals: Signals) -> None:
    """One attempt that hangs can be interrupted."""

    async def run() -> Verdict:
        asyncio.get_running_loop().call_later(1, os.kill, os.getpid(), signal.SIGTERM)
        return await look(plan(dependency("a", Script((0, Silent("reading"))))), signals)

    assert outcome(play(run())) == (Gate.CLOSED, Cause.SIGNAL, 1)


@pytest.mark.parametrize("way", [hold, look])
def test_a_fault_shuts_the_gate_and_tells_no_secret(way: object) -> None:
    """A fault is an error with a verdict: closed, where it came up, and nothing of what the exception says."""
    broken = plan(dependency("a", Script((1, ValueError("hunter2")))), dependency("b", Script((0, READY))), any=False)
    with pytest.raises(FaultError) as error:
        play(way(broken))  # type: ignore[operator]  # either of two functions
    verdict = error.value.verdict
    assert (verdict.gate, verdict.cause, bool(verdict)) == (Gate.CLOSED, Cause.FAULT, False)
    assert verdict.summary.startswith("a fault in gatekeeper, please report it: ValueError in ")
    assert "hunter2" not in f"{verdict.as_dict()} {error.value}"
    assert [report.state for report in verdict.dependencies] == [State.WAITING, State.READY]


def test_a_fault_of_the_system_says_which() -> None:
    """The text of an error number is nobody's secret, and the file of the error is not named."""
    assert fault_of(OSError(28, "No space left on device", "/secret")) == (
        "a fault in gatekeeper, please report it: OSError (No space left on device)"
    )


def test_a_cancellation_passes_through() -> None:
    """Who waits in an event loop of their own may give up, at that moment."""

    async def run() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await hold(plan(dependency("a", Script((0, REFUSED))), timeout=60))
        return now()

    assert play(run()) == 2


def test_nothing_is_left_behind() -> None:
    """When the verdict is there, no task of the wait runs on."""

    async def run() -> int:
        await hold(plan(dependency("a", Script((0, Silent("x"))), Script((1, READY))), timeout=60))
        return len(asyncio.all_tasks())

    assert play(run()) == 1


def test_a_bypass_opens_without_a_look() -> None:
    """The verdict says why, and the dependencies are skipped and were never attempted."""
    probe = Script((0, READY))
    verdict = bypassed(plan(dependency("a", probe), bypass="drill"))
    assert outcome(verdict) == (Gate.OPEN, Cause.BYPASS, 0)
    assert verdict.summary == "bypassed: drill"
    assert [(report.state, report.attempts) for report in verdict.dependencies] == [(State.SKIPPED, 0)]
    assert probe.began == []
