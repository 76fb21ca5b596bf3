"""A NOTIFY_SOCKET of our own: who may speak there, and what of it goes on to the service manager outside.

What is said is read by `received`, and what it means is the hearer's. The layers outside are not transparent, and so a
message goes on in pieces that each of them can read: READY first and alone, the rest by what it is.
"""

import asyncio
import os
import socket
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress

from gatekeeper.announce.received import Barrier, Dropped, Message, Sender, receive
from gatekeeper.announce.sdnotify import Notifier, one_line

_RECEIVE_BUFFER = 8 << 20
_AT_ONCE = 64  # messages, then others get their turn: who floods the socket waits, because the kernel's queue is full
_LONGEST_PATH = 107
_QUEUE = "/proc/sys/net/unix/max_dgram_qlen"
_LONGEST_QUEUE = 4096  # where the kernel does not tell
# Said for the whole of a program, and understood outside as it stands. MAINPID is not among them: outside, that is us.
_PASSED_ON = ("ERRNO", "BUSERROR", "VARLINKERROR", "EXIT_STATUS", "EXTEND_TIMEOUT_USEC", "WATCHDOG", "WATCHDOG_USEC")


class Relay:
    """A socket that hears what may be said, message by message, for as long as it is open."""

    def __init__(
        self,
        address: str | None,
        *,
        may_speak: Callable[[Sender], str | None],
        hear: Callable[[Mapping[str, str]], None],
        note: Callable[[str], None],
    ) -> None:
        """Listen at a path, or at an abstract name that the kernel chooses; raises OSError.

        ``may_speak`` returns why a sender may not, or None; ``hear`` takes what was said, ``note`` why something was
        not heard.
        """
        self._may_speak, self._hear, self._note = may_speak, hear, note
        self._noted: set[str] = set()
        self._path = address
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            self._sock.bind(self._prepared(address) if address else b"")
            if address:
                _open_to_all(address)
        except BaseException:
            self._sock.close()
            raise
        self._longest_queue = _longest_queue()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._sock, self._read)

    @property
    def address(self) -> str:
        """What NOTIFY_SOCKET is to be."""
        name = self._sock.getsockname()
        return name if isinstance(name, str) else "@" + os.fsdecode(name[1:])

    def drain(self) -> None:
        """Hear what has come by now: who said it may be about to disappear."""
        for _ in range(self._longest_queue + 1):  # and no more: who floods the socket fills it as fast as we read
            if not self._one():
                return

    def close(self) -> None:
        """Hear nothing any more."""
        self._loop.remove_reader(self._sock)
        self._sock.close()
        if self._path:
            with suppress(OSError):
                os.unlink(self._path)

    def _read(self) -> None:
        for _ in range(_AT_ONCE):
            if not self._one():
                return

    def _one(self) -> bool:
        try:
            said = receive(self._sock)
        except BlockingIOError:
            return False
        refused = said.reason if isinstance(said, Dropped) else self._may_speak(said.sender)
        if isinstance(said, Barrier):
            os.close(said.descriptor)  # all that came before was dealt with as it came
        if refused:
            self._note_once(refused, said.sender)
        elif isinstance(said, Message):
            self._hear(said.assignments)
        return True

    def _note_once(self, reason: str, sender: Sender | None) -> None:
        if reason not in self._noted and len(self._noted) < _AT_ONCE:  # a flood of rubbish must not become one of lines
            self._noted.add(reason)
            who = f" of process {sender.pid}" if sender else ""
            self._note(f"a notification{who} was not heard: {reason}")

    @staticmethod
    def _prepared(path: str) -> str:
        if len(os.fsencode(path)) > _LONGEST_PATH:
            raise OSError(36, os.strerror(36), path)
        with suppress(FileNotFoundError):
            if stat.S_ISSOCK(os.lstat(path).st_mode) and not _is_listened_at(path):
                os.unlink(path)
        return path


def _open_to_all(path: str) -> None:
    """Let everybody write to a socket file; one that cannot be opened is not left behind."""
    try:
        os.chmod(path, 0o666)  # noqa: S103 - the credentials of a sender decide, not the permissions of a file
    except BaseException:
        with suppress(OSError):
            os.unlink(path)
        raise


def pass_on(said: Mapping[str, str], notifier: Notifier, *, readiness: bool) -> None:
    """Say outside what was said here; with ``readiness`` also that it is ready, reloads or stops."""
    if readiness:
        if said.get("STOPPING") == "1":
            notifier.send("STOPPING=1")
        elif said.get("READY") == "1":
            notifier.ready()
        elif said.get("RELOADING") == "1":
            since = [f"MONOTONIC_USEC={said['MONOTONIC_USEC']}"] if said.get("MONOTONIC_USEC") else []
            notifier.send("RELOADING=1", *since)
    if "STATUS" in said:
        notifier.status(said["STATUS"])
    rest = [f"{key}={one_line(said[key])}" for key in _PASSED_ON if said.get(key)]
    if rest:
        notifier.send(*rest)


def _longest_queue() -> int:
    try:
        with open(_QUEUE) as file:
            return int(file.read())
    except (OSError, ValueError):
        return _LONGEST_QUEUE


def _is_listened_at(path: str) -> bool:
    """Tell whether somebody is bound to a socket file; one that was left behind by an earlier run is in the way."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
        return True
