"""A child in our place: started as `become` starts a command, sent every signal that we are sent, reaped with its kin.

The terminal is left alone: the child stays in our process group, so that an interactive shell sees one job. What the
terminal itself sends goes to the whole group, and is therefore not sent on a second time; who sent a signal is told by
the kernel (sigwaitinfo(2), which is why a thread waits for signals instead of a handler being called).
"""

import asyncio
import ctypes
import os
import signal
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from types import FrameType
from typing import NamedTuple

from gatekeeper.handover.become import Failure, Stock, become

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
# SIGTTIN and SIGTTOU are what the terminal does to us, not to the command.
_NOT_FORWARDED = {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGTTIN, signal.SIGTTOU}
_FROM_TERMINAL = {signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGWINCH}
_LOST_PROBE = 1.0  # seconds after which a dead session leader is nobody's command that was run to probe something
_LOST = 255  # the status of a child that somebody else has reaped


class Came(NamedTuple):
    """A signal that came; ``from_terminal`` where the kernel sent it to our whole process group."""

    number: int
    from_terminal: bool


class Signalled:
    """Every signal that can be caught, told one after the other in the event loop from now on."""

    def __init__(self, tell: Callable[[Came], None], stock: Stock) -> None:
        """Take over all signals; those that were ignored on entry stay ignored by the command, and are forwarded."""
        self._tell, self._loop = tell, asyncio.get_running_loop()
        wanted = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGTTIN, signal.SIGTTOU}
        signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
        for number in wanted:
            # What a thread catches that was there before, and blocks nothing, comes this way.
            handler = signal.SIG_IGN if number in stock.ignored else self._caught
            with suppress(OSError, ValueError):  # the two that the C library keeps for itself
                signal.signal(number, handler)
        # A handler is called in the main thread, which must be woken for it where another thread has caught the signal.
        self._woken, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        self._loop.add_reader(self._woken, self._drain)
        threading.Thread(target=self._wait, args=(wanted,), name="signals", daemon=True).start()

    def _drain(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._woken, 4096)

    def _wait(self, wanted: set[signal.Signals]) -> None:
        while True:
            info = signal.sigwaitinfo(wanted)
            # A positive code is the kernel's, sigaction(2); a process has none.
            came = Came(info.si_signo, info.si_code > 0 and info.si_signo in _FROM_TERMINAL)
            with suppress(RuntimeError):  # the loop is closed: nobody listens any more
                self._loop.call_soon_threadsafe(self._tell, came)

    def _caught(self, number: int, _frame: FrameType | None) -> None:
        self._loop.call_soon_threadsafe(self._tell, Came(number, from_terminal=False))


def become_subreaper() -> None:
    """Have the orphans of our descendants become our children, as PID 1 has them anyway (PR_SET_CHILD_SUBREAPER)."""
    if os.getpid() != 1:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


async def start(
    command: Sequence[str], environ: Mapping[str, str], stock: Stock, ours: Collection[str], own: Sequence[str] = ()
) -> int | Failure:
    """Start ``command`` as our child and return its process id once it has been executed, or why it was not.

    The variables named in ``own`` are set to the child's process id. What else it is given is as in `become`.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _executed(command, environ, stock, ours, own, writer)
    os.close(writer)
    try:
        told = await _everything(reader)
    finally:
        os.close(reader)
    if not told:
        return pid
    os.waitpid(pid, 0)  # noqa: ASYNC222 - it has said that it leaves
    status, _, reason = told.decode("utf-8", "surrogateescape").partition(" ")
    return Failure(int(status), reason)


def _executed(
    command: Sequence[str],
    environ: Mapping[str, str],
    stock: Stock,
    ours: Collection[str],
    own: Sequence[str],
    writer: int,
) -> None:
    """Become the command in the forked child, or tell why not; never returns."""
    status = 70
    try:
        failure = become(command, {**environ, **dict.fromkeys(own, str(os.getpid()))}, stock, ours)
        status = failure.status
        os.write(writer, f"{status} {failure.reason}".encode("utf-8", "surrogateescape"))
    finally:
        os._exit(status)


async def _everything(descriptor: int) -> bytes:
    loop = asyncio.get_running_loop()
    os.set_blocking(descriptor, False)
    told = b""
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        while True:
            await readable.wait()
            readable.clear()
            with suppress(BlockingIOError):
                more = os.read(descriptor, 4096)
                if not more:
                    return told
                told += more
    finally:
        loop.remove_reader(descriptor)


class Family:
    """Our children, those included that became ours when their parents died: reaped as they end."""

    def __init__(self) -> None:
        """Know of none yet."""
        self.statuses: dict[int, int] = {}
        self._doubted: dict[int, float] = {}

    def reap(self, awaited: Collection[int]) -> None:
        """Reap every child that has ended; keep the exit statuses of those that are ``awaited``.

        The command of a probe is the leader of a session of its own, and is left to who runs it, for a second.
        """
        for pid in children():
            with suppress(ChildProcessError):
                ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if ended is None or (pid not in awaited and self._may_be_awaited_elsewhere(pid)):
                    continue
                _, status = os.waitpid(pid, os.WNOHANG)
                if pid in awaited:
                    self.statuses[pid] = exit_status(status)
        for pid in awaited:
            if pid not in self.statuses and not _is_there(pid):
                self.statuses[pid] = _LOST

    def _may_be_awaited_elsewhere(self, pid: int) -> bool:
        now = asyncio.get_running_loop().time()
        try:
            if os.getsid(pid) != pid:
                return False
        except ProcessLookupError:
            return False
        return now - self._doubted.setdefault(pid, now) < _LOST_PROBE


def exit_status(status: int) -> int:
    """Return the exit status that passes a wait status on: death by signal n is 128+n."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def children() -> list[int]:
    """Return our children, of all our threads."""
    found = []
    for thread in os.listdir("/proc/self/task"):
        with suppress(FileNotFoundError), open(f"/proc/self/task/{thread}/children") as file:
            found += [int(pid) for pid in file.read().split()]
    return found


def descendants() -> list[int]:
    """Return all processes below us."""
    below: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (parent := parent_of(int(entry))):
            below.setdefault(parent, []).append(int(entry))
    found, left = [], [os.getpid()]
    while left:
        for pid in below.get(left.pop(), ()):
            found.append(pid)
            left.append(pid)
    return found


def parent_of(pid: int) -> int:
    """Return the parent of a process; 0 where there is none, or no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b") ")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
