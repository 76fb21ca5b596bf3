"""What is said on stderr: the form of lines, what is left out, and a sink that never blocks."""

import fcntl
import json
import os
import pty
import re
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from gatekeeper.declaration import Problem
from gatekeeper.log import CHANGED, OPEN, STILL_WAITING, WAITING, Lines, Log, tell_problems
from gatekeeper.model import Outcome, Reason, State, waiting
from gatekeeper.verdict import Report

REPORT = Report(
    name="db",
    kind="tcp",
    target="tcp://db:5432",
    required=True,
    origin="argument 1",
    state=State.WAITING,
    reason=Reason.REFUSED,
    detail="10.0.0.7:5432",
    attempts=3,
    waited=1.23456,
)


class Pipe:
    """A pipe whose reading end the test holds."""

    def __init__(self) -> None:
        """Open both ends."""
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)

    def narrow(self) -> None:
        """Leave no more than a page of room."""
        fcntl.fcntl(self.writing, fcntl.F_SETPIPE_SZ, 4096)

    def text(self) -> str:
        """Return what has been written since the last call."""
        read = b""
        try:
            while more := os.read(self.reading, 65536):
                read += more
        except BlockingIOError:
            pass
        return read.decode()

    def log(self, **options: Any) -> Log:
        """Return a log that writes here, by default as JSON lines."""
        return Log(Lines(self.writing), **({"json": True, "colours": False} | options))


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """Return a pipe that is closed in the end."""
    made = Pipe()
    yield made
    for descriptor in (made.reading, made.writing):
        try:
            os.close(descriptor)
        except OSError:
            continue  # the test closed it


def test_an_event_is_a_json_line_with_what_every_line_has_in_front(pipe: Pipe) -> None:
    """Time, level and event come first, in this order; seconds are rounded, and what is None is left out."""
    pipe.log().say("info", WAITING, dependencies=3, timeout="5m (default)", waited=1.23456, left=None)
    (line,) = pipe.text().splitlines()
    said = json.loads(line)
    assert list(said) == ["timestamp", "level", "event", "dependencies", "timeout", "waited"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", said.pop("timestamp"))
    assert said == {
        "level": "info",
        "event": "gate.waiting",
        "dependencies": 3,
        "timeout": "5m (default)",
        "waited": 1.235,
    }


@pytest.mark.parametrize(
    ("state", "event", "level"),
    [
        (State.WAITING, "dependency.changed", "info"),
        (State.READY, "dependency.ready", "info"),
        (State.FAILED, "dependency.failed", "error"),
        (State.SKIPPED, "dependency.changed", "warning"),
    ],
)
def test_a_change_is_an_event_by_its_stable_name(pipe: Pipe, state: State, event: str, level: str) -> None:
    """What became of a dependency decides the name and the level of the line."""
    pipe.log().changed(REPORT._replace(state=state))
    said = json.loads(pipe.text())
    del said["timestamp"]
    assert said == {
        "level": level,
        "event": event,
        "name": "db",
        "target": "tcp://db:5432",
        "state": state.value,
        "reason": "refused",
        "detail": "10.0.0.7:5432",
        "attempts": 3,
        "waited": 1.235,
    }


def test_a_target_that_is_the_name_is_not_said_twice(pipe: Pipe) -> None:
    """Where a dependency is called by its target, and where there is no detail, the line says so once, or not."""
    pipe.log().changed(REPORT._replace(name="tcp://db:5432", detail=""))
    assert not {"target", "detail"} & set(json.loads(pipe.text()))


def test_an_attempt_is_a_debug_line_with_its_own_outcome(pipe: Pipe) -> None:
    """Where every attempt is asked for, the line says what that attempt found, not where the dependency stands."""
    outcome: Outcome = waiting(Reason.STARTING, "503")
    pipe.log(verbose=True).attempted(REPORT, outcome)
    said = json.loads(pipe.text())
    assert (said["level"], said["event"]) == ("debug", "dependency.attempted")
    assert (said["reason"], said["detail"]) == ("starting", "503")


def test_a_console_line_is_for_people(pipe: Pipe) -> None:
    """On a console the same fields are on one line, without colours where none are wanted."""
    pipe.log(json=False).changed(REPORT)
    text = pipe.text()
    assert "\x1b" not in text
    assert text.count("\n") == 1
    for part in ("dependency.changed", "name=db", "reason=refused", "waited=1.2s"):
        assert part in text


def test_colours_are_for_those_who_want_them(pipe: Pipe) -> None:
    """With colours there are escape sequences."""
    pipe.log(json=False, colours=True).changed(REPORT)
    assert "\x1b[" in pipe.text()


def test_quiet_says_warnings_and_the_end(pipe: Pipe) -> None:
    """Quiet leaves out what goes well on the way, and nothing else."""
    log = pipe.log(quiet=True)
    log.say("info", WAITING)
    log.say("info", STILL_WAITING)
    log.say("info", CHANGED)
    log.note("the socket is gone")
    log.say("info", OPEN)
    assert [json.loads(line)["event"] for line in pipe.text().splitlines()] == ["gatekeeper.note", "gate.open"]


def test_text_that_is_no_unicode_stays_a_json_line(pipe: Pipe) -> None:
    """What came as bytes that are no UTF-8 is escaped, other scripts are not."""
    pipe.log().note("caf\udce9 müde\n☃")
    text = pipe.text()
    assert text.count("\n") == 1
    assert "müde" in text
    assert json.loads(text)["detail"] == "caf\udce9 müde\n☃"


def test_a_full_pipe_loses_lines_and_never_blocks(pipe: Pipe) -> None:
    """Nobody reads: what fits is written, the rest is lost, and what is read again later is whole lines."""
    pipe.narrow()
    lines = Lines(pipe.writing)
    for number in range(1000):
        lines.write(f"line {number} {'x' * 90}\n")
    kept = pipe.text()
    assert len(kept) <= 4096
    lines.write("later\n")
    for line in (kept + pipe.text()).splitlines()[:-1]:
        assert re.fullmatch(r"line \d+ x{90}", line)


def test_a_line_that_was_cut_takes_no_other_with_it(pipe: Pipe) -> None:
    """Of a line longer than there is room for the beginning is written, and the next one begins on its own."""
    pipe.narrow()
    log = pipe.log()
    log.note("x" * 10_000)
    assert "\n" not in pipe.text()
    log.note("short")
    cut, line = pipe.text().splitlines()
    assert (cut, json.loads(line)["detail"]) == ("", "short")
    log.note("again")
    assert json.loads(pipe.text())["detail"] == "again"


def test_a_long_line_that_fits_is_whole(pipe: Pipe) -> None:
    """A line that is longer than one write is written in several."""
    pipe.log().note("x" * 20_000)
    assert json.loads(pipe.text())["detail"] == "x" * 20_000


def test_a_patient_line_waits_for_room_but_not_for_ever(pipe: Pipe) -> None:
    """The last words wait some milliseconds for a slow reader, and are lost where none comes."""
    pipe.narrow()
    lines = Lines(pipe.writing)
    lines.write("x" * 4095 + "\n")
    began = time.monotonic()
    lines.write("lost\n", patient=True)
    assert 0.015 <= time.monotonic() - began < 5
    was_read = threading.Event()

    def read() -> None:
        os.read(pipe.reading, 4096)
        was_read.set()

    reading = threading.Timer(0.01, read)
    reading.start()
    while not was_read.is_set():
        lines.write("last words\n", patient=True)
    reading.join()
    lines.write("last words\n", patient=True)
    assert pipe.text().startswith("last words\n")


def test_a_terminal_that_nobody_reads_never_blocks() -> None:
    """A terminal says that it has room without saying how much; a stuck one loses lines like a full pipe."""
    ours, theirs = pty.openpty()
    try:
        lines = Lines(theirs)

        def write() -> None:
            for _ in range(500):
                lines.write("x" * 998 + "\n")

        writing = threading.Thread(target=write, daemon=True)
        writing.start()
        writing.join(20)
        assert not writing.is_alive()
        assert os.get_blocking(theirs)
        assert os.read(ours, 16) == b"x" * 16
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize("end", ["closed", "broken"])
def test_a_stderr_that_is_gone_loses_lines_and_nothing_else(pipe: Pipe, end: str) -> None:
    """Neither a closed descriptor nor a pipe without a reader is an error; SIGPIPE is ignored, as in our process."""
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN
    lines = Lines(pipe.writing)
    os.close(pipe.writing if end == "closed" else pipe.reading)
    lines.write("x\n")
    lines.write("x\n", patient=True)
    Log(lines, json=True, colours=False).note("x")


def test_problems_are_told_a_line_each(pipe: Pipe) -> None:
    """The first line says how many there are and that nothing was probed."""
    tell_problems(Lines(pipe.writing), (Problem("argument 1", "is wrong"),))
    assert pipe.text() == "gatekeeper: 1 problem, nothing was probed\nargument 1: is wrong\n"
    tell_problems(Lines(pipe.writing), (Problem("a", "b"), Problem("c", "d")))
    assert pipe.text() == "gatekeeper: 2 problems, nothing was probed\na: b\nc: d\n"
