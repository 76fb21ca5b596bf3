"""Zombies are reaped and orphans ended, as PID 1 of a namespace and as an ordinary process."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from run.tended import PYTHON, RUN, Tended, children, init, state, tending, until

pytestmark = pytest.mark.usefixtures("measured")

NAMESPACE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
# Started by a process that ends at once, so that it is nobody's: $1 is the number that it prints its own as.
DAEMON = """
import os, signal, sys
if os.fork():
    os.wait()
    print("left", flush=True)
    sys.stdin.read()
    os._exit(int(sys.argv[1]))
if {new_session}: os.setsid()
if os.fork():
    os._exit(0)
signal.signal(signal.SIGTERM, {on_term})
if {new_session} == 2: os.setsid()
print("daemon", os.getppid(), flush=True)
os.kill(os.getpid(), signal.SIGSTOP) if {stopped} else None
while {lives}: signal.pause()
"""


def daemon(*, new_session: int = 1, on_term: str = "0", stopped: bool = False, lives: bool = True) -> tuple[str, ...]:
    """Return a command that leaves a daemon, waits for the end of its input, and exits with its argument."""
    return (*PYTHON, DAEMON.format(new_session=new_session, on_term=on_term, stopped=stopped, lives=lives))


@contextmanager
def as_ordinary_process(*words: str) -> Iterator[tuple[Tended, int]]:
    """Give what runs, and the process id of gatekeeper."""
    with tending(*words, stdin=-1) as tended:
        yield tended, tended.pid


@contextmanager
def as_first_process(*words: str) -> Iterator[tuple[Tended, int]]:
    """Give what runs as PID 1 of a namespace, and its process id outside."""
    with tending(*NAMESPACE, *words, stdin=-1) as tended:
        until(lambda: children(tended.pid))
        yield tended, children(tended.pid)[0]


Way = Callable[..., AbstractContextManager[tuple[Tended, int]]]
WAYS = [
    pytest.param(as_ordinary_process, id="ordinary"),
    pytest.param(as_first_process, id="first", marks=[pytest.mark.root, pytest.mark.needs("unshare")]),
]


def close_input(tended: Tended) -> None:
    """Let the command end."""
    assert tended.process.stdin
    tended.process.stdin.close()
    tended.process.stdin = None


def left_daemon(tended: Tended) -> None:
    """Wait until the daemon is there and its parent gone."""
    assert {tended.line().split()[0] for _ in range(2)} == {"left", "daemon"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("new_session", [0, 1, 2])
def test_zombies_are_reaped(way: Way, new_session: int) -> None:
    """Who ends as an orphan leaves no zombie behind, also as a session's leader, and while nothing else happens."""
    with way(*RUN, *daemon(new_session=new_session, lives=False), "6") as (tended, pid):
        left_daemon(tended)
        until(lambda: len(children(pid)) == 1)
        close_input(tended)
        assert tended.ended() == 6


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("new_session", [0, 1, 2])
@pytest.mark.parametrize("stopped", [False, True])
def test_no_orphan_is_left(way: Way, new_session: int, stopped: bool) -> None:  # noqa: FBT001 - a parameter
    """A daemon that the command left is ended with it, at once where it heeds SIGTERM, also one that is stopped."""
    with way(*RUN, *daemon(new_session=new_session, stopped=stopped), "7") as (tended, pid):
        left_daemon(tended)
        until(lambda: len(children(pid)) == 2)
        orphans = children(pid)
        began = time.monotonic()
        close_input(tended)
        assert tended.ended() == 7
        assert time.monotonic() - began < 3  # and not after the five seconds that it might have had
        assert not any(map(state, orphans))


@pytest.mark.parametrize("way", WAYS)
def test_an_orphan_that_does_not_heed_sigterm_is_killed(way: Way) -> None:
    """A daemon that ignores SIGTERM has --stop-timeout, then it is killed; the status is the command's all the same."""
    with way(*init("--stop-timeout=300ms"), *daemon(on_term="1"), "8") as (tended, pid):
        left_daemon(tended)
        until(lambda: len(children(pid)) == 2)
        orphans = children(pid)
        began = time.monotonic()
        close_input(tended)
        assert tended.ended() == 8
        assert time.monotonic() - began >= 0.3
        assert not any(map(state, orphans))


def test_who_multiplies_while_being_killed_is_killed() -> None:
    """What forks faster than it is ended is killed until nothing is left."""
    forks = "import os, signal, time\nsignal.signal(15, 1)\nprint(os.getpid(), flush=True)\n"
    forks += "end = time.monotonic() + 20\nwhile time.monotonic() < end:\n"
    forks += "    if os.fork(): os._exit(0)\n    time.sleep(0.001)"
    leaves = ("sh", "-c", '"$@" & read line; exit 4', "sh", *PYTHON, forks)
    with tending(*init("--stop-timeout=100ms"), *leaves, stdin=-1) as tended:
        tended.line()
        close_input(tended)
        assert tended.ended() == 4
    with pytest.raises(ProcessLookupError):
        os.killpg(tended.pid, 0)


def test_children_that_were_there_before_are_reaped_and_ended() -> None:
    """A shell that has children and becomes gatekeeper passes them on: they are reaped, and not left alone."""
    script = 'sleep 1000 & echo $!; sh -c "exit 1" & exec "$@"'
    with tending("sh", "-c", script, "sh", *RUN, "sh", "-c", "echo up; read line; exit 3", stdin=-1) as tended:
        before = int(tended.line())
        tended.line()
        until(lambda: len(children(tended.pid)) == 2)
        close_input(tended)
        assert tended.ended() == 3
        assert not state(before)


@pytest.mark.root
@pytest.mark.needs("unshare")
def test_a_proc_of_another_namespace_does_no_harm() -> None:
    """As PID 1 where /proc shows another namespace, it reaps, ends what is left, and passes signals on."""
    elsewhere = NAMESPACE[:-1]
    with tending(*elsewhere, *init("--stop-timeout=300ms"), *daemon(on_term="1"), "5", stdin=-1) as tended:
        left_daemon(tended)
        close_input(tended)
        assert tended.ended() == 5
    with tending(*elsewhere, *RUN, "sh", "-c", "trap 'exit 9' TERM; echo up; while :; do sleep 0.05; done") as tended:
        tended.line()
        os.kill(children(tended.pid)[0], signal.SIGTERM)
        assert tended.ended() == 9


@pytest.mark.root
@pytest.mark.needs("unshare")
def test_the_first_process_is_sent_what_it_would_ignore() -> None:
    """As PID 1, which the kernel shields from signals without a handler, each one reaches the command."""
    script = "trap 'echo quit' QUIT; trap 'echo one' USR1; trap 'exit 4' TERM; echo $PPID; while :; do sleep 0.05; done"
    with as_first_process(*RUN, "sh", "-c", script) as (tended, pid):
        assert tended.line() == "1"
        for number, said in ((signal.SIGQUIT, "quit"), (signal.SIGUSR1, "one")):
            os.kill(pid, number)
            assert tended.line() == said
        os.kill(pid, signal.SIGTERM)
        assert tended.ended() == 4


def test_many_that_end_at_once_are_all_reaped() -> None:
    """Signals of the same kind are merged by the kernel; no zombie is overlooked for that."""
    script = "for i in $(seq 200); do (sleep 0.0$((i % 7)) & ) ; done; read line"
    with tending(*RUN, "bash", "-c", script, stdin=-1) as tended:
        until(lambda: [state(pid) for pid in children(tended.pid)] == ["S"])
        close_input(tended)
        assert tended.ended() == 1
