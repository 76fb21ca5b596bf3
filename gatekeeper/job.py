"""The processes of a command that is tended: the one that counts, its kin, and the signals that go to them.

For the shell of a terminal it and we are one job: what the terminal sends reaches both, and both stop together.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress

from gatekeeper.handover.become import Failure, Stock
from gatekeeper.handover.family import Family, has_children, is_stopped, parent_of, signal_all, stopped_as_a_job
from gatekeeper.handover.supervise import Came, Signalled, become_subreaper, has_terminal, start

_KILL_AGAIN = 0.001, 0.1  # seconds, more and more: for who was being born while the others were killed
_SHELL_HAS = 0.25  # seconds for continuing the second of two whom it continues in one call
_HELD = 5.0  # seconds for those that the kernel itself holds


class Job:
    """A command as processes. ``main`` is the one whose end is the end, and ``over`` its exit status."""

    def __init__(self, sent: Callable[[int], None], before_reaping: Callable[[], None], stock: Stock) -> None:
        """Take over all signals.

        ``sent`` is called with each signal that was sent on, ``before_reaping`` before the end of any process counts.
        """
        self.main: int | None = None
        self.over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._sent, self._before_reaping, self._stock = sent, before_reaping, stock
        self._loop = asyncio.get_running_loop()
        self._first: int | None = None
        self._family = Family()
        self._was_stopped = False  # by a shell, and we with it
        self._continue_later: asyncio.TimerHandle | None = None
        self._kin_gone: asyncio.Future[None] | None = None
        self._look_again: asyncio.TimerHandle | None = None
        become_subreaper()
        Signalled(self._came, stock)

    async def start(
        self, command: Sequence[str], environ: Mapping[str, str], removed: Collection[str], own: Sequence[str]
    ) -> Failure | None:
        """Start the command, and return why that was not possible, or None."""
        failure = await start(command, environ, self._stock, removed, own, forked=self._forked)
        if not failure:
            self._reap()
        return failure

    def _forked(self, pid: int) -> None:
        self.main = self._first = pid

    def is_ours(self, pid: int) -> bool:
        """Tell whether a process is the command's, or ours."""
        us, seen = os.getpid(), 0
        if us == 1:  # whoever is to be seen from here at all is below us
            return pid > 1
        while pid > 1 and seen < 1000:  # noqa: PLR2004 - no family tree is so high; two that change places while we look
            pid, seen = parent_of(pid), seen + 1
            if pid == us:
                return True
        return False

    def _came(self, came: Came) -> None:
        """Send the command what we were sent, and reap what has ended."""
        if came.number == signal.SIGCHLD:
            self._reap()
            return
        # An editor that stops itself for a while stops its whole group: its own signal, sent back, would stop it again.
        from_itself = came.number == signal.SIGTSTP and self.is_ours(came.sender)
        if (came.from_terminal or from_itself) and self._is_in_our_group():
            return
        if came.number == signal.SIGCONT and self._is_continued_by_shell():
            return
        self.send(came.number)
        self._sent(came.number)

    def _is_in_our_group(self) -> bool:
        try:
            return self.main is not None and os.getpgid(self.main) == os.getpgrp()
        except ProcessLookupError:
            return False

    def send(self, number: int) -> None:
        """Send the command a signal."""
        if self.main is not None and not self.over.done():  # its number may be somebody else's by now
            with suppress(ProcessLookupError, PermissionError):
                os.kill(self.main, number)

    def _reap(self) -> None:
        self._before_reaping()  # whoever has just ended may have said something before
        awaited = {pid for pid in (self.main, self._first) if pid is not None}
        again = self._family.reap(awaited)
        if self._look_again:
            self._look_again.cancel()
        self._look_again = None if again is None else self._loop.call_later(again, self._reap)
        if self.main is not None and self.main in self._family.statuses and not self.over.done():
            self.over.set_result(self._family.statuses[self.main])
        if self._kin_gone and not self._kin_gone.done() and not has_children():
            self._kin_gone.set_result(None)
        self._stop_with_command()

    def _stop_with_command(self) -> None:
        """Stop where the command was stopped as a job: for its shell the two of us are one, and it waits for us."""
        if self.main is None or self.over.done() or not stopped_as_a_job(self.main):
            return
        if self._is_in_our_group() and has_terminal():
            self._was_stopped = True
            if self._continue_later:  # what it was for is over: the command has run since
                self._continue_later.cancel()
                self._continue_later = None
            os.kill(os.getpid(), signal.SIGSTOP)

    def _is_continued_by_shell(self) -> bool:
        """Tell whether what woke us is the shell that stopped us together, and wakes both of us.

        Its signal may reach us before the command, or be looked at when the command has long been stopped again: once
        more from us would undo the next Ctrl-Z. What counts is how the command stands; where it still stands as it was
        stopped, the shell is given a moment, and then it was somebody else, who means the command.
        """
        if not self._was_stopped or self.main is None:
            return False
        self._stop_with_command()  # where it is a new stop
        if is_stopped(self.main) and not self._continue_later:
            self._continue_later = self._loop.call_later(_SHELL_HAS, self._continue_command)
        return True

    def _continue_command(self) -> None:
        self._continue_later = None
        self._stop_with_command()
        if self.main is not None and is_stopped(self.main):
            self.send(signal.SIGCONT)
            self._sent(signal.SIGCONT)

    async def see_off_kin(self, patience: float) -> None:
        """End what the command left behind: as PID 1 it would be killed with us, elsewhere it would be nobody's.

        It has ``patience`` seconds for that, then it is killed.
        """
        self._kin_gone = self._loop.create_future()
        self._family.forget_probes()
        self._reap()
        if not self._kin_gone.done():
            signal_all(signal.SIGTERM)
            await asyncio.wait([self._kin_gone], timeout=patience)
        end = self._loop.time() + _HELD
        pause, longest = _KILL_AGAIN
        while not self._kin_gone.done() and self._loop.time() < end:
            signal_all(signal.SIGKILL)
            await asyncio.wait([self._kin_gone], timeout=pause)
            pause = min(pause * 1.1, longest)

    def kill_all(self) -> None:
        """Kill the command, and all that belongs to it."""
        self.send(signal.SIGKILL)
        signal_all(signal.SIGKILL)
