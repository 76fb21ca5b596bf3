"""The life of a tended program: each state and event in a table, and what no sequence of events may do."""

import itertools

import pytest

from gatekeeper.lifecycle import Event, Life, Phase, after

# A letter for each event.
EVENTS = {
    "o": Event.OPENED,
    "c": Event.CLOSED,
    "r": Event.SAID_READY,
    "l": Event.SAID_RELOADING,
    "s": Event.SAID_STOPPING,
    "t": Event.TOLD_TO_STOP,
    "x": Event.OUT_OF_TIME,
    "0": Event.EXITED,
    "1": Event.FAILED,
}


def life(events: str) -> Life:
    """Return where events lead from the beginning."""
    here = Life()
    for letter in events:
        here = after(here, EVENTS[letter])
    return here


@pytest.mark.parametrize(
    ("events", "phase"),
    [
        ("", "waiting"),
        ("c", "failed"),
        ("o", "starting"),
        ("or", "ready"),
        ("orr", "ready"),
        ("orl", "reloading"),
        ("orll", "reloading"),
        ("orlr", "ready"),
        ("ol", "starting"),  # nothing reloads that has not started
        ("os", "stopping"),
        ("ors", "stopping"),
        ("orls", "stopping"),
        ("ot", "stopping"),
        ("ox", "stopping"),
        ("orx", "stopping"),
        ("o0", "ended"),
        ("o1", "failed"),
        ("or0", "ended"),
        ("or1", "failed"),
        ("orl0", "ended"),
        ("orl1", "failed"),
        ("ors0", "ended"),
        ("ors1", "failed"),  # it stopped by itself, and failed at that
        ("ort0", "ended"),
        ("ort1", "ended"),  # 143 is what was asked for
        ("orst1", "ended"),
        ("orts1", "ended"),
        ("orx0", "failed"),
        ("orx1", "failed"),
        ("orxt0", "failed"),
        ("ortx0", "failed"),
        ("orsr", "stopping"),
        ("orsl", "stopping"),
        ("ortrlr", "stopping"),
    ],
)
def test_events_lead_to_states(events: str, phase: str) -> None:
    """Each event leads where systemd has it lead."""
    assert life(events).phase.value == phase


@pytest.mark.parametrize("letter", EVENTS)
def test_before_the_gate_opens_nothing_counts_but_the_gate(letter: str) -> None:
    """A program that is not there says nothing, ends in no way, and is told nothing."""
    assert (life(letter) == Life()) is (letter not in "oc")


LIVES = {life("".join(letters)) for count in range(6) for letters in itertools.product(EVENTS, repeat=count)}


def test_the_end_is_final() -> None:
    """Nothing leads out of the two states in which it is over."""
    for here in LIVES:
        if here.phase in (Phase.ENDED, Phase.FAILED):
            assert {after(here, event) for event in Event} == {here}


def test_stopping_is_final() -> None:
    """What stops never becomes ready again, whatever is said."""
    for here in LIVES:
        if here.phase is Phase.STOPPING:
            assert {after(here, event).phase for event in Event} <= {Phase.STOPPING, Phase.ENDED, Phase.FAILED}


def test_what_has_been_is_not_forgotten() -> None:
    """That it has been ready, was told to stop or was out of time stays so."""
    for here in LIVES:
        for event in Event:
            there = after(here, event)
            assert all(now or not then for then, now in zip(here[1:], there[1:], strict=True))


def test_who_is_ready_has_been_ready_and_is_alive() -> None:
    """Readiness is never told of what has not started, nor liveness of what has failed."""
    for here in LIVES:
        assert not here.ready or (here.been_ready and here.alive)
        assert here.ready is (here.phase in (Phase.READY, Phase.RELOADING))
        assert not (here.out_of_time and here.alive)
        assert here.alive or here.out_of_time or here.phase is Phase.FAILED


def test_out_of_time_never_ends_well() -> None:
    """Who was out of time has failed, whatever its status and whoever told it to stop besides."""
    for here in LIVES:
        assert not (here.out_of_time and here.phase is Phase.ENDED)
