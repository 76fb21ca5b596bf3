"""What is said while the gate is shut, on virtual time: the order and the rhythm of lines and of notifications."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from clock import NOT_YET, READY, REFUSED, Script, dependency, plan, play

from gatekeeper.announce.progress import Progress
from gatekeeper.announce.sdnotify import Notifier
from gatekeeper.gate import hold
from gatekeeper.log import Lines, Log
from gatekeeper.model import Dependency, Plan, Setting


@pytest.fixture
def heard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[socket.socket]:
    """Return the socket of a service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path_factory.mktemp("run") / "notify"))
        manager.settimeout(0)
        yield manager


def said(watched: Plan, address: str | None = None, **options: Any) -> list[dict[str, Any]]:
    """Hold a plan and return the lines that were logged; ``address`` is that of a service manager."""
    reading, writing = os.pipe()
    try:
        with closing(Notifier(address)) as notifier:
            log = Log(Lines(writing), json=True, colours=False, **options)
            play(hold(watched, Progress(log, None, notifier)))
    finally:
        os.close(writing)
        with open(reading) as lines:
            text = lines.read()
    return [json.loads(line) for line in text.splitlines()]


def waiting_for(*dependencies: Dependency, timeout: float | None) -> Plan:
    """Return a plan whose deadline was given by an argument."""
    watched = plan(*dependencies, timeout=timeout)
    return watched._replace(settings=(Setting("timeout", "as said", "--timeout"),))


def messages(manager: socket.socket) -> list[str]:
    """Return what the service manager was told."""
    texts = []
    try:
        while True:
            texts.append(manager.recv(4096).decode())
    except BlockingIOError:
        return texts


def test_first_of_all_it_is_said_what_is_waited_for() -> None:
    """The first line says how many dependencies there are, for how long, and who said so; then changes follow."""
    events = said(waiting_for(dependency("a", Script((0, REFUSED), (0, READY))), timeout=60))
    assert [event["event"] for event in events] == ["gate.waiting", "dependency.changed", "dependency.ready"]
    assert (events[0]["dependencies"], events[0]["timeout"]) == (1, "as said (--timeout)")


def test_it_is_said_while_nothing_has_answered_yet() -> None:
    """The first line does not wait for a first answer."""
    events = said(waiting_for(dependency("a", Script((5, READY))), timeout=2))
    assert [event["event"] for event in events] == ["gate.waiting"]


def test_a_heartbeat_comes_every_ten_seconds() -> None:
    """While nothing changes, a line every 10 s says what is missing and how much time is left."""
    events = said(waiting_for(dependency("a", Script((0, NOT_YET))), timeout=35))
    beats = [event for event in events if event["event"] == "gate.still_waiting"]
    assert [(beat["waited"], beat["left"]) for beat in beats] == [(10.0, 25.0), (20.0, 15.0), (30.0, 5.0)]
    assert beats[0]["summary"] == "1 of 1 not ready: a (starting: 503)"


def test_without_a_deadline_no_time_is_left() -> None:
    """Where there is no deadline, the heartbeat does not make one up."""
    events = said(waiting_for(dependency("a", Script((11, READY)), attempt_timeout=None), timeout=None))
    (beat,) = [event for event in events if event["event"] == "gate.still_waiting"]
    assert "left" not in beat


def test_a_line_for_each_change_and_not_for_each_attempt() -> None:
    """Many attempts with the same answer are one line, unless every attempt is asked for."""
    watched = waiting_for(dependency("a", Script(*[(0.0, REFUSED)] * 30, (0, READY))), timeout=60)
    assert len(said(watched)) == 3
    watched = waiting_for(dependency("a", Script(*[(0.0, REFUSED)] * 30, (0, READY))), timeout=60)
    events = said(watched, verbose=True)
    assert [event["event"] for event in events].count("dependency.attempted") == 31


def test_the_service_manager_hears_the_status_when_it_changes(heard: socket.socket) -> None:
    """STATUS is said when it is another one, and at most four times a second."""
    flapping = Script(*[(0.0, REFUSED), (0.0, NOT_YET)] * 1000)
    said(
        waiting_for(dependency("a", flapping, interval=0.001, max_interval=0.001), timeout=1),
        heard.getsockname(),
    )
    statuses = [text for text in messages(heard) if text.startswith("STATUS=")]
    assert 1 <= len(statuses) <= 5
    assert statuses[0].startswith("STATUS=1 of 1 not ready: a (")
    said(waiting_for(dependency("a", Script((0, REFUSED))), timeout=30), heard.getsockname())
    steady = [text for text in messages(heard) if text.startswith("STATUS=")]
    assert len(steady) <= 2  # before and after the first answer


def test_the_service_manager_is_asked_for_time_within_the_deadline(heard: socket.socket) -> None:
    """Every 5 s the start-up timeout is extended, by 20 s or to just behind our own deadline."""
    said(waiting_for(dependency("a", Script((0, REFUSED))), timeout=12), heard.getsockname())
    extended = [int(text.removeprefix("EXTEND_TIMEOUT_USEC=")) for text in messages(heard) if text.startswith("EXTEND")]
    assert extended == pytest.approx([13_000_000, 8_000_000, 3_000_000], abs=1000)


def test_without_a_deadline_the_service_manager_is_asked_again_and_again(heard: socket.socket) -> None:
    """A wait without a limit never runs into the start-up timeout."""
    said(
        waiting_for(dependency("a", Script((22, READY)), attempt_timeout=None), timeout=None),
        heard.getsockname(),
    )
    extended = [text for text in messages(heard) if text.startswith("EXTEND")]
    assert extended == ["EXTEND_TIMEOUT_USEC=20000000"] * 5


def test_readiness_is_never_said_on_the_way(heard: socket.socket) -> None:
    """What accompanies the wait says nothing of being ready, even when the gate opens."""
    said(waiting_for(dependency("a", Script((1, READY))), timeout=30), heard.getsockname())
    assert not [text for text in messages(heard) if "READY=1" in text]


def test_a_service_manager_that_went_away_changes_nothing(heard: socket.socket) -> None:
    """The wait goes on to its end without anyone who listens."""
    address = heard.getsockname()
    heard.close()
    events = said(waiting_for(dependency("a", Script((6, READY)), attempt_timeout=None), timeout=30), address)
    assert events[-1]["event"] == "dependency.ready"
