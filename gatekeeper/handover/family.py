"""The processes below us: reaped as they end, signalled all at once, looked up in /proc where that is ours.

Starts nobody, and decides about nobody's end.
"""

import asyncio
import os
import signal
from collections.abc import Collection
from contextlib import suppress

_STOPS_A_JOB = {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
_LOST_PROBE = 1.0  # seconds after which a dead session leader is nobody's command that was run to probe something
_LOST = 255  # the status of a child that somebody else has reaped


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


def is_stopped(pid: int) -> bool:
    """Tell whether a process is stopped now (proc(5), /proc/PID/stat)."""
    return _stat(pid)[:1] == [b"T"]


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
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def _stat(pid: int) -> list[bytes]:
    """Return the fields of /proc/PID/stat from the state on, none where there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2].split()
    except OSError:
        return []


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
