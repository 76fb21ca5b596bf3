"""A child in our place: started as `become` starts a command; and every signal that we are sent, told as it comes.

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
_FROM_TERMINAL = {signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGWINCH}


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


def has_terminal() -> bool:
    """Tell whether we have a controlling terminal, whose shell may bring us back to the foreground."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return os.getsid(0) != os.getpid()
