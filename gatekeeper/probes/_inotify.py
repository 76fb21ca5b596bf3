"""The kernel's notices that something happened on the way to a path (inotify(7)), for the kinds that wait for files.

Every directory in which a part of the path is looked up is watched for just that name, symlinks included: so the
notice comes when a folder above appears, when the file does, and when a link on the way is swapped for another (as
Kubernetes updates a volume: ``..data``). A directory is watched before the name in it is looked up, so that nothing
falls between. Network file systems tell nothing: whoever waits must look now and then all the same.

All signals of an event loop share one inotify instance. The kernel allows a user 128 by default, over all containers.
"""

import asyncio
import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from weakref import WeakKeyDictionary

from gatekeeper.model import Reason

_MODIFY, _ATTRIB = 0x2, 0x4
_MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x40, 0x80, 0x100, 0x200
_DELETE_SELF, _MOVE_SELF = 0x400, 0x800
_OVERFLOW, _IGNORED = 0x4000, 0x8000
_ONLYDIR, _MASK_ADD = 0x01000000, 0x20000000
_ENTRIES = _ATTRIB | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _DELETE_SELF | _MOVE_SELF | _ONLYDIR | _MASK_ADD
_HEAD = struct.Struct("iIII")
_ROOM = 64 * 1024
_MOST_LINKS = 40  # path_resolution(7)
_ANY = b""
_NONE_LEFT = (errno.ENOSPC, errno.ENOMEM)


def watch(path: str, *, inside: bool = False) -> "Notices | None":
    """Return a signal for what happens to a path; None where the kernel has no inotify (left) for us.

    With ``inside``, what happens in the path counts too where it is a directory.
    """
    loop = asyncio.get_running_loop()
    try:
        instance = _instances.get(loop) or _Instance(loop)
    except OSError:
        return None
    notices = Notices(path, instance, inside=inside)
    try:
        notices.arm()
    except OSError:
        notices.close()
        return None
    return notices


class Notices:
    """A `model.Signal` for one path; doubted now and then, for a network file system tells nothing."""

    told = frozenset({Reason.NOT_FOUND, Reason.STILL_THERE, Reason.FORBIDDEN, Reason.UNWANTED_ANSWER})
    doubted_after = 2.0

    def __init__(self, path: str, instance: "_Instance", *, inside: bool) -> None:
        """Take an absolute path and the instance that reads for it."""
        self._path, self._inside = os.fsencode(path), inside
        self._instance = instance
        self.watched: dict[int, set[bytes]] = {}
        self._stirred = asyncio.Event()
        instance.users.add(self)

    async def changed(self) -> None:
        """Return at the first change since the last call returned, or since the signal was made."""
        await self._stirred.wait()
        self._stirred.clear()
        try:
            self.arm()
        except OSError:  # no watches left: what is armed stays, and the pace looks now and then
            return

    def stir(self) -> None:
        """Note a change."""
        self._stirred.set()

    def arm(self) -> None:
        """Watch every directory that the path now leads through, and no other; raises OSError when none is left."""
        wanted: dict[int, set[bytes]] = {}
        try:
            for directory, name, is_last in _lookups(self._path, inside=self._inside):
                number = self._instance.add(directory, _ENTRIES | (_MODIFY if is_last else 0))
                if number is not None:
                    wanted.setdefault(number, set()).add(name)
        finally:
            self._instance.want(self, wanted)

    def close(self) -> None:
        """Let go of what the signal holds."""
        self._instance.want(self, {})
        self._instance.leave(self)


class _Instance:
    """One inotify instance: who wants to know of which name in which watched directory."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._checked(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._loop = loop
        self._wants: dict[int, dict[Notices, set[bytes]]] = {}
        self.users: set[Notices] = set()
        loop.add_reader(self._fd, self._read)
        _instances[loop] = self

    def add(self, directory: bytes, mask: int) -> int | None:
        """Return the number of the watch on a directory, None where it cannot be watched (missing, unreadable)."""
        try:
            return self._checked(self._libc.inotify_add_watch(self._fd, directory, mask))
        except OSError as error:
            if error.errno in _NONE_LEFT:
                raise
            return None

    def want(self, notices: Notices, wanted: dict[int, set[bytes]]) -> None:
        """Tell these notices of just these names; watches that nobody wants any more are given back."""
        for number, names in wanted.items():
            self._wants.setdefault(number, {})[notices] = names
        for number in notices.watched.keys() - wanted:
            who = self._wants.get(number, {})
            who.pop(notices, None)
            if number in self._wants and not who:
                del self._wants[number]
                self._libc.inotify_rm_watch(self._fd, number)
        notices.watched = wanted

    def leave(self, notices: Notices) -> None:
        """Forget a user; the last one closes the instance."""
        self.users.discard(notices)
        if not self.users and _instances.get(self._loop) is self:
            del _instances[self._loop]
            self._loop.remove_reader(self._fd)
            os.close(self._fd)

    def _read(self) -> None:
        try:
            events = os.read(self._fd, _ROOM)
        except BlockingIOError:
            return
        at = 0
        while at < len(events):
            number, mask, _, length = _HEAD.unpack_from(events, at)
            at += _HEAD.size + length
            self._dispatch(number, mask, events[at - length : at].rstrip(b"\0"))

    def _dispatch(self, number: int, mask: int, name: bytes) -> None:
        if mask & _OVERFLOW:
            for notices in self.users:
                notices.stir()
            return
        for notices, names in self._wants.get(number, {}).items():
            if not name or name in names or _ANY in names:  # without a name it is the directory itself
                notices.stir()
        if mask & _IGNORED:
            self._wants.pop(number, None)

    @staticmethod
    def _checked(result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result


_instances: WeakKeyDictionary[asyncio.AbstractEventLoop, _Instance] = WeakKeyDictionary()


def _lookups(path: bytes, *, inside: bool) -> Iterator[tuple[bytes, bytes, bool]]:
    """Yield each directory, the name looked up in it, and whether that is the last one (path_resolution(7)).

    Each is yielded before the name is looked up.
    """
    left = path.split(b"/")[::-1]
    here, links = b"/", 0
    while left:
        name = left.pop()
        if name == b"..":
            here = os.path.dirname(here)
        if name in (b"", b".", b".."):
            continue
        yield here, name, not left
        step = os.path.join(here, name)
        try:
            target = os.readlink(step)
        except OSError as error:
            if error.errno != errno.EINVAL:  # which means: there, and no link
                return
            here = step
        else:
            links += 1
            if links > _MOST_LINKS:
                return
            here = b"/" if target.startswith(b"/") else here
            left += target.split(b"/")[::-1]
    if inside:
        yield here, _ANY, True
