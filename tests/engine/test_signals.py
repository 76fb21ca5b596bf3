"""SIGTERM, SIGINT and SIGHUP while waiting, in real processes of their own."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

ENDING = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]

LETHAL = """
import os
from gatekeeper.signals import EndedError, Signals
signals = Signals()
print("ready", flush=True)
try:
    with signals.lethal():
        os.read(os.pipe()[0], 1)
except EndedError as ended:
    print(ended.number, ended)
"""
LETHAL_EARLY = """
import os, signal, sys
from gatekeeper.signals import EndedError, Signals
signals = Signals()
os.kill(os.getpid(), int(sys.argv[1]))
print("ready", flush=True)
try:
    with signals.lethal():
        print("never")
except EndedError as ended:
    print(ended.number, ended)
"""

# Each program says on stdout that it is ready for a signal, and in the end what came.
LATE = """
import asyncio
from gatekeeper.signals import Signals
signals = Signals()
async def main():
    asyncio.get_running_loop().call_later(0, lambda: print("ready", flush=True))
    print(await signals.wait())
asyncio.run(main())
"""
EARLY = """
import asyncio, os, signal, sys
from gatekeeper.signals import Signals
signals = Signals()
os.kill(os.getpid(), int(sys.argv[1]))
print("ready", flush=True)
print(asyncio.run(signals.wait()))
"""
BUSY = """
import asyncio
from gatekeeper.signals import Signals
signals = Signals()
print("ready", flush=True)
while signals.received is None:
    pass
print(asyncio.run(signals.wait()))
"""
LAST_LOOK = """
import os, signal, sys
from gatekeeper.signals import Signals
signals = Signals()
print("ready", signals.last_look(), flush=True)
os.kill(os.getpid(), int(sys.argv[1]))
print(signals.received, signals.last_look())
"""


def started(
    program: str, number: int, prepare: Callable[[], object] | None = None
) -> tuple["subprocess.Popen[str]", str]:
    """Start a program that gets a signal's number, and return it with its first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(number)],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=prepare,  # noqa: PLW1509 - no thread of a test runs now, and nothing else sets what is inherited
    )
    assert process.stdout
    return process, process.stdout.readline().strip()


def rest(process: "subprocess.Popen[str]") -> str:
    """Return what else a program says until it ends."""
    assert process.stdout
    with process.stdout:
        said = process.stdout.read()
    process.wait(20)
    return said.strip()


@pytest.mark.parametrize("program", [LATE, BUSY], ids=["in the loop", "before the loop"])
@pytest.mark.parametrize("number", ENDING)
def test_a_signal_ends_the_wait(number: signal.Signals, program: str) -> None:
    """Each of the signals is noted by its number, whether the program waits for one or is busy."""
    process, ready = started(program, number)
    assert ready == "ready"
    process.send_signal(number)
    assert rest(process) == str(number.value)
    assert process.returncode == 0


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_before_the_event_loop_is_not_lost(number: signal.Signals) -> None:
    """What came between the first moment and the loop ends the wait as soon as it begins."""
    process, _ = started(EARLY, number)
    assert rest(process) == str(number.value)


def test_the_first_signal_counts() -> None:
    """A second signal changes nothing: the exit status is that of the first."""
    program = EARLY.replace('print("ready"', 'os.kill(os.getpid(), signal.SIGHUP); print("ready"')
    process, _ = started(program, signal.SIGTERM)
    assert rest(process) == "15"


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_was_ignored_stays_ignored(number: signal.Signals) -> None:
    """Under nohup, or as a background job of a shell, what the parent ignored goes on being ignored."""
    process, ready = started(LATE, number, lambda: signal.signal(number, signal.SIG_IGN))
    assert ready == "ready"
    process.send_signal(number)
    assert process.stdout
    assert select.select([process.stdout], [], [], 0.3)[0] == []
    process.send_signal(signal.SIGTERM)
    assert rest(process) == "15"


def test_sigterm_ends_the_wait_although_the_parent_ignored_it() -> None:
    """Nobody ignores SIGTERM for a reason that a gate should share."""
    process, _ = started(LATE, signal.SIGTERM, lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN))
    process.send_signal(signal.SIGTERM)
    assert rest(process) == "15"


def test_a_signal_that_was_blocked_by_the_parent_ends_the_wait() -> None:
    """An inherited signal mask does not keep the wait from ending."""
    process, _ = started(LATE, signal.SIGTERM, lambda: signal.pthread_sigmask(signal.SIG_BLOCK, ENDING))
    process.send_signal(signal.SIGTERM)
    assert rest(process) == "15"


@pytest.mark.parametrize("number", ENDING)
def test_after_the_last_look_signals_are_held_back(number: signal.Signals) -> None:
    """On the way into the command a signal is neither lost nor handled here: it waits for who has the process next."""
    process, ready = started(LAST_LOOK, number)
    assert ready == "ready None"
    assert rest(process) == f"None {number.value}"


@pytest.mark.parametrize("program", [LETHAL, LETHAL_EARLY], ids=["while it hangs", "before"])
@pytest.mark.parametrize("number", ENDING)
def test_a_signal_ends_what_nobody_could_interrupt(number: signal.Signals, program: str) -> None:
    """Where a read or a write may hang for ever, a signal ends it at once; one that came before lets nothing begin."""
    process, _ = started(program, number)
    process.send_signal(number)
    assert rest(process) == f"{number.value} ended by {number.name}"


def test_a_thread_does_not_take_the_signal_away() -> None:
    """With threads that hang in look-ups, the loop still wakes at once."""
    program = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n" + LATE
    process, _ = started(program, signal.SIGTERM)
    os.kill(process.pid, signal.SIGTERM)
    assert rest(process) == "15"
