"""The time limits of a tended command: its start, its watchdog; what puts them off, and how each tells why it ended."""

import errno
import signal
import time
from pathlib import Path

import pytest
from run.speaker import Speaker, speaking

pytestmark = pytest.mark.usefixtures("measured")

BARRIER = "BARRIER=1"


def ended_late(speaker: Speaker, message: Path, why: str) -> None:
    """Wait for the end and look that its reason is told everywhere."""
    assert speaker.ended() == 124
    heard = [each for each in speaker.outside.messages() if each != BARRIER]
    assert heard[-1] == f"STATUS=the command was ended: {why}\nERRNO={errno.ETIMEDOUT}"
    assert message.read_text() == f"the command was ended: {why}\n"
    log = speaker.log()
    assert log[-1]["summary"] == f"the command was ended: {why}"
    assert log[-1]["level"] == "error"
    stopping = next(each for each in log if each.get("state") == "stopping")
    assert stopping["detail"] == why
    assert [each["state"] for each in log if "state" in each][-1] == "failed"


def test_a_start_that_takes_too_long_is_ended_with_124(tmp_path: Path) -> None:
    """Without READY=1 within --start-timeout the command is sent SIGTERM, and the reason is told everywhere."""
    message = tmp_path / "message"
    with speaking(tmp_path, "--start-timeout=1s", f"--termination-log={message}") as speaker:
        speaker.tell("signal.signal(signal.SIGTERM, lambda *_: (show('told'), say('READY=1'), os._exit(0)))")
        speaker.line()
        assert speaker.line() == "told"
        ended_late(speaker, message, "not ready after 1s (--start-timeout)")


def test_who_ignores_that_is_killed(tmp_path: Path) -> None:
    """A command that was out of time has --stop-timeout to end, then it is killed; 124 all the same."""
    message = tmp_path / "message"
    options = ("--start-timeout=1s", "--stop-timeout=200ms", f"--termination-log={message}")
    with speaking(tmp_path, *options) as speaker:
        speaker.do("signal.signal(signal.SIGTERM, signal.SIG_IGN)")
        ended_late(speaker, message, "not ready after 1s (--start-timeout)")


def test_a_start_may_be_extended_and_goes_on_outside(tmp_path: Path) -> None:
    """EXTEND_TIMEOUT_USEC puts the limit off from its moment on, never shortens it, and goes on."""
    with speaking(tmp_path, "--start-timeout=1500ms") as speaker:
        speaker.do("say('EXTEND_TIMEOUT_USEC=30000000'); say('EXTEND_TIMEOUT_USEC=1'); barrier(); time.sleep(1.6)")
        assert speaker.outside.messages() == ["EXTEND_TIMEOUT_USEC=30000000", "EXTEND_TIMEOUT_USEC=1"]
        speaker.do("say('READY=1'); barrier()")
        assert speaker.close() == 0
        assert speaker.states() == ["ready", "ended"]


def test_an_extension_ends_too(tmp_path: Path) -> None:
    """What was put off comes when the extension is over."""
    with speaking(tmp_path, "--start-timeout=1s") as speaker:
        began = time.monotonic()
        speaker.tell("say('EXTEND_TIMEOUT_USEC=1400000')")
        assert speaker.ended() == 124
        assert time.monotonic() - began >= 1.4


def test_an_end_may_be_extended(tmp_path: Path) -> None:
    """EXTEND_TIMEOUT_USEC while stopping puts off SIGKILL."""
    with speaking(tmp_path, "--stop-timeout=1s") as speaker:
        speaker.do("signal.signal(signal.SIGTERM, lambda *_: say('EXTEND_TIMEOUT_USEC=30000000'))")
        speaker.send(signal.SIGTERM)
        speaker.hear("EXTEND_TIMEOUT_USEC=30000000")
        speaker.do("time.sleep(1.1)")
        assert speaker.close() == 0
        assert speaker.states() == ["stopping", "ended"]


def test_a_silent_watchdog_ends_it_with_124(tmp_path: Path) -> None:
    """Who says WATCHDOG=1 in time lives, who stops is sent SIGABRT; READY=1 ends one limit and begins the other."""
    message = tmp_path / "message"
    with speaking(tmp_path, "--start-timeout=2s", "--watchdog=1s", f"--termination-log={message}") as speaker:
        speaker.do("time.sleep(1.1)")  # not ready yet
        speaker.do("say('READY=1')\nfor _ in range(6): time.sleep(0.2); say('WATCHDOG=1')\nbarrier()")
        assert speaker.outside.messages() == ["READY=1", *["WATCHDOG=1"] * 6]
        speaker.tell("signal.signal(signal.SIGABRT, lambda *_: (show('abort'), os._exit(0)))")
        speaker.line()
        assert speaker.line() == "abort"
        ended_late(speaker, message, "its watchdog was silent after 1s")


def test_a_watchdog_may_be_triggered(tmp_path: Path) -> None:
    """WATCHDOG=trigger is a silence of its own choice, also where no --watchdog was set."""
    message = tmp_path / "message"
    with speaking(tmp_path, f"--termination-log={message}") as speaker:
        speaker.tell("say('READY=1'); say('WATCHDOG=trigger'); time.sleep(99)")
        ended_late(speaker, message, "it triggered its watchdog")


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("say('WATCHDOG_USEC=60000000'); say('READY=1')", 0),
        ("say('READY=1'); say('WATCHDOG_USEC=0')", 0),
        ("say('READY=1'); say('WATCHDOG_USEC=x')", 124),
    ],
)
def test_the_watchdogs_time_may_be_changed(said: str, status: int, tmp_path: Path) -> None:
    """WATCHDOG_USEC sets another time, 0 none, before READY=1 and after it."""
    with speaking(tmp_path, "--watchdog=400ms") as speaker:
        speaker.tell(f"{said}; time.sleep(0.6)")
        assert speaker.line() == ("" if status else "done")
        assert (speaker.ended() if status else speaker.close()) == status


def test_a_watchdog_that_was_not_asked_for_may_be_set(tmp_path: Path) -> None:
    """WATCHDOG_USEC begins a watch where there was none."""
    with speaking(tmp_path) as speaker:
        speaker.tell("say('READY=1\\nWATCHDOG_USEC=200000')")
        assert speaker.ended() == 124


def test_an_extension_holds_the_watchdog_too(tmp_path: Path) -> None:
    """EXTEND_TIMEOUT_USEC gives whoever is ready its time as well, as systemd has it."""
    with speaking(tmp_path, "--watchdog=300ms") as speaker:
        speaker.do("say('READY=1\\nEXTEND_TIMEOUT_USEC=30000000'); time.sleep(0.5)")
        assert speaker.close() == 0


def test_who_stops_is_watched_no_more(tmp_path: Path) -> None:
    """After STOPPING=1 nobody waits for WATCHDOG=1."""
    with speaking(tmp_path, "--watchdog=300ms") as speaker:
        speaker.do("say('READY=1'); say('STOPPING=1'); time.sleep(0.5)")
        assert speaker.close() == 0
