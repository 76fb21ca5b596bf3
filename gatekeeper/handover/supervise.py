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
_STOPS_A_JOB = {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
_LOST_PROBE = 1.0  # seconds after which a dead session leader is nobody's command that was run to probe something
_LOST = 255  # the status of a child that somebody else has reaped


class Came(NamedTuple):
    """A signal that came; ``from_terminal`` where the kernel sent it to our whole process group.

    ``sender`` is the process that sent it, 0 where that is the kernel, or not known.
    """

    number: int
    from_terminal: bool = False
    sender: int = 0


class Signalled:
    """Every signal that can be caught, told one after the other in the event loop from now on."""

    def __init__(self, tell: Callable[[Came], None], stock: Stock) -> None:
        """Take over all signals; those that were ignored on entry stay ignored by the command, and are forwarded."""
        self._tell, self._loop = tell, asyncio.get_running_loop()
        wanted = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGTTIN, signal.SIGTTOU}
        signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
        for number in wanted:
            # What a thread catches that was there before, and blocks nothing, comes this way. SIGCHLD is never ignored:
            # the kernel would reap our children, and take their exit statuses away.
            handler = signal.SIG_IGN if number in stock.ignored - {signal.SIGCHLD} else self._caught
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
            number = info.si_signo
            # A positive code is the kernel's, sigaction(2); a process has none.
            if info.si_code <= 0:
                came = Came(number, sender=info.si_pid)
            else:
                # A terminal that hangs up tells the leader of its session alone, and the others when that has ended.
                hung_up = number == signal.SIGHUP and os.getsid(0) != os.getpid()
                came = Came(number, from_terminal=number in _FROM_TERMINAL or hung_up)
            with suppress(RuntimeError):  # the loop is closed: nobody listens any more
                self._loop.call_soon_threadsafe(self._tell, came)

    def _caught(self, number: int, _frame: FrameType | None) -> None:
        self._loop.call_soon_threadsafe(self._tell, Came(number))


def become_subreaper() -> None:
    """Have the orphans of our descendants become our children, as PID 1 has them anyway (PR_SET_CHILD_SUBREAPER)."""
    if os.getpid() != 1:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


async def start(
    command: Sequence[str],
    environ: Mapping[str, str],
    stock: Stock,
    ours: Collection[str],
    own: Sequence[str] = (),
    *,
    forked: Callable[[int], None] = lambda _: None,
) -> Failure | None:
    """Start ``command`` as our child; return None once it has been executed, or why it was not.

    ``forked`` is called with the process id before that: what is signalled, speaks or ends from there on is the child.
    The variables named in ``own`` are set to the child's process id. What else it is given is as in `become`.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _executed(command, environ, stock, ours, own, writer)
    os.close(writer)
    forked(pid)
    try:
        told = await _everything(reader)
    finally:
        os.close(reader)
    if not told:
        return None
    with suppress(ChildProcessError):  # reaped already
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
        self._probes = True
        self._doubted: dict[int, float] = {}

    def reap(self, awaited: Collection[int]) -> float | None:
        """Reap every child that has ended; keep the exit statuses of those that are ``awaited``.

        The command of a probe is the leader of a session of its own, and is left to who runs it, for a second: where
        one was left, the seconds are returned after which another look is due.
        """
        # Without /proc, which may be that of another namespace, but where one that is left stands before the others.
        while first := _ended_one():
            if not self._is_ours_to_reap(first, awaited):
                break
            self._take(first, awaited)
        for pid in children() if first else ():
            if _has_ended(pid) and self._is_ours_to_reap(pid, awaited):
                self._take(pid, awaited)
        for pid in awaited:  # a main process that is not our child, or that somebody else has reaped
            if pid not in self.statuses and not _is_there(pid):
                self.statuses[pid] = _LOST
        self._doubted = {pid: since for pid, since in self._doubted.items() if _has_ended(pid)}
        return _LOST_PROBE if self._doubted else None

    def forget_probes(self) -> None:
        """Leave none to anybody from now on."""
        self._probes = False

    def _take(self, pid: int, awaited: Collection[int]) -> None:
        with suppress(ChildProcessError):
            _, status = os.waitpid(pid, os.WNOHANG)
            if pid in awaited:
                self.statuses[pid] = exit_status(status)

    def _is_ours_to_reap(self, pid: int, awaited: Collection[int]) -> bool:
        return pid in awaited or not (self._probes and self._may_be_awaited_elsewhere(pid))

    def _may_be_awaited_elsewhere(self, pid: int) -> bool:
        now = asyncio.get_running_loop().time()
        try:
            if os.getsid(pid) != pid:
                return False
        except ProcessLookupError:
            return False
        return now - self._doubted.setdefault(pid, now) < _LOST_PROBE


def _ended_one() -> int | None:
    """Return one of our children that have ended, without reaping it."""
    with suppress(ChildProcessError):
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return ended.si_pid if ended else None
    return None


def _has_ended(pid: int) -> bool:
    with suppress(ChildProcessError):
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    return False


def has_children() -> bool:
    """Tell whether there is a child of ours, running or not yet reaped."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def stopped_as_a_job(pid: int) -> bool:
    """Tell, once, that a child of ours has been stopped as a shell's job is: by Ctrl-Z, or for using the terminal."""
    with suppress(ChildProcessError):
        stopped = os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG)
        return stopped is not None and stopped.si_status in _STOPS_A_JOB
    return False


def continued(pid: int) -> bool:
    """Tell, once, that a child of ours has been continued and not been stopped again."""
    with suppress(ChildProcessError):
        return os.waitid(os.P_PID, pid, os.WCONTINUED | os.WNOHANG) is not None
    return False


def has_terminal() -> bool:
    """Tell whether we have a controlling terminal, whose shell may bring us back to the foreground."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return os.getsid(0) != os.getpid()


def exit_status(status: int) -> int:
    """Return the exit status that passes a wait status on: death by signal n is 128+n."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def children() -> list[int]:
    """Return our children, of all our threads; none where /proc is not ours."""
    found: list[int] = []
    for thread in os.listdir("/proc/self/task") if _proc_is_ours() else ():
        with suppress(FileNotFoundError), open(f"/proc/self/task/{thread}/children") as file:
            found += [int(pid) for pid in file.read().split()]
    return found


def signal_all(number: int) -> None:
    """Send a signal to all processes below us, and wake those that are stopped, so that they heed it."""
    if os.getpid() == 1 and (number == signal.SIGKILL or not _proc_is_ours()):
        everybody = [-1]  # who is there is below PID 1, whatever /proc shows, and nobody is born meanwhile (kill(2))
    else:
        if number == signal.SIGKILL:  # at once: who multiplies has gone on before a look through all of /proc is over
            _kill(children(), number)
        everybody = descendants()
    _kill(everybody, number)
    _kill(everybody, signal.SIGCONT)


def _kill(pids: Collection[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def descendants() -> list[int]:
    """Return all processes below us; none where /proc is not ours."""
    if not _proc_is_ours():
        return []
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


def _proc_is_ours() -> bool:
    """Tell whether /proc is there and has the process ids of our own namespace (unshare(1) without --mount-proc)."""
    try:
        return os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False


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
