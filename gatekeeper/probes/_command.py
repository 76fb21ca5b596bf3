"""One run of a command: started in a session of its own, heard with a cap, killed with its whole process group.

Nothing waits for the pipe to close: a grandchild may hold it open for ever. The command's end is waited for by a
daemon thread in waitid(2), which every kernel has and which needs no signal handler and no child watcher of asyncio.
The thread leaves the zombie (WNOWAIT), so that its process id, which is also that of its group, stays ours until the
group has been dealt with.
"""

import asyncio
import errno
import os
import re
import signal
import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

MOST_HEARD = 64 * 1024
_TAIL = 4096
# Seconds between two readings once enough has been heard: 32 MiB/s, or `yes` would keep a processor busy with reading.
_REST = 0.002
_CHUNK = 64 * 1024  # what a pipe holds (pipe(7))
# Control sequences and strings of a terminal (ECMA-48, 5.4 and 5.6), cut off ones too.
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]?|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~]?)")
_GRACE = 0.05  # seconds that a cancelled attempt waits for the killed command, which may be stuck in the kernel


class Run:
    """A running command; leaving the ``with`` block kills what is left of its group where it has not ended."""

    def __init__(self, argv: tuple[str, ...], more: Mapping[str, str] | None = None, *, errors: bool = True) -> None:
        """Start the command, with ``more`` variables; raises OSError where it cannot be executed.

        Without ``errors``, what it says on its standard error is nobody's.
        """
        self.head, self.tail = b"", b""
        self._loop = asyncio.get_running_loop()
        self._deaf: asyncio.TimerHandle | None = None
        self._failed = False
        self._ended: asyncio.Future[int | None] = self._loop.create_future()
        self._pipe, theirs = os.pipe2(os.O_CLOEXEC)
        try:
            os.set_blocking(self._pipe, False)
            self._process = _start(argv, theirs, theirs if errors else subprocess.DEVNULL, more or {})
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(theirs)
        self._loop.add_reader(self._pipe, self._hear)
        try:
            threading.Thread(target=self._attend, name=f"command {argv[0]}", daemon=True).start()
        except RuntimeError as error:  # no thread left
            self._stop_hearing()
            self._kill()
            self._reap()
            raise BlockingIOError(errno.EAGAIN, f"cannot start a thread: {error}") from None

    async def __aenter__(self) -> Self:
        """Return the run."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill the group where the command still runs, and close the pipe; what is slow to die is reaped later."""
        self._stop_hearing()
        if not self._ended.done():
            self._kill()
            await asyncio.wait([self._ended], timeout=_GRACE)

    async def ended(self) -> int | None:
        """Return the exit status, negative for a signal, once the command itself has ended; None where it is lost."""
        status = await asyncio.shield(self._ended)
        self._take()  # what it wrote last may still be in the pipe
        return status

    def _hear(self) -> None:
        more = self._take()
        if not more or len(self.head) == MOST_HEARD:
            self._loop.remove_reader(self._pipe)
        if more and len(self.head) == MOST_HEARD:
            self._deaf = self._loop.call_later(_REST, self._loop.add_reader, self._pipe, self._hear)

    def _take(self) -> bool:
        """Take what is in the pipe; return whether there may be more."""
        try:
            said = os.read(self._pipe, _CHUNK)
        except BlockingIOError:
            return True
        self.head += said[: MOST_HEARD - len(self.head)]
        self.tail = (self.tail + said[-_TAIL:])[-_TAIL:]
        return bool(said)

    def _attend(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are the main thread's
        # ECHILD only once the command has ended: SIGCHLD is ignored, or somebody else has reaped it.
        with suppress(ChildProcessError):
            ended = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
            self._failed = ended is None or ended.si_status != 0
        try:
            self._loop.call_soon_threadsafe(self._reap)
        except RuntimeError:  # the loop is closed: nobody waits
            self._reap()

    def _kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):  # ended, or another user's by now
            os.killpg(self._process.pid, signal.SIGKILL)

    def _reap(self) -> None:
        if self._failed:
            self._kill()  # what it left in the background would be left once more by each attempt
        try:
            status = os.waitstatus_to_exitcode(os.waitpid(self._process.pid, 0)[1])
        except ChildProcessError:
            status = None
        self._process.returncode = -1 if status is None else status  # or Popen would try to reap it too
        if not self._loop.is_closed():
            self._ended.set_result(status)

    def _stop_hearing(self) -> None:
        if self._deaf:
            self._deaf.cancel()
        self._loop.remove_reader(self._pipe)
        os.close(self._pipe)


def last_line(output: bytes, most: int = 100) -> str:
    """Return the last line that says something, printable, at most so many characters long."""
    text = _ESCAPE.sub("", output.decode(errors="replace"))
    for line in reversed(text.splitlines()):
        said = "".join(c if c.isprintable() else " " for c in line).strip()
        if said:
            return said if len(said) <= most else said[: most - 1] + "…"
    return ""


def _start(argv: tuple[str, ...], output: int, errors: int, more: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    # What a probe's command told the service manager would be taken for ours: READY before the gate is open.
    environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    environment.update(more)
    return subprocess.Popen(  # noqa: S603 - running what the user declared is the job; no shell is involved
        argv, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, start_new_session=True, env=environment
    )
