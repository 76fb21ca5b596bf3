"""sd_notify(3), the receiver's side: what a datagram says, as systemd reads it. Imports nothing of ours, binds nothing.

The rules are those of systemd's service manager: 4096 bytes at most, no NUL but one at the end, no message without the
credentials of its sender, `BARRIER=1` alone and with one descriptor. What breaks them is dropped whole, with a reason.
"""

import array
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

LARGEST = 4096
_MOST_DESCRIPTORS = 253  # unix(7): SCM_MAX_FD
_UCRED = struct.Struct("@iII")
_ANCILLARY = socket.CMSG_SPACE(_UCRED.size) + socket.CMSG_SPACE(_MOST_DESCRIPTORS * array.array("i").itemsize)


class Sender(NamedTuple):
    """Who sent a message, as the kernel says; ``pid`` is 0 for a process that is not visible from here."""

    pid: int
    uid: int
    gid: int


class Message(NamedTuple):
    """A message that keeps the rules: its assignments, the first of a key counts; no descriptor is left."""

    sender: Sender
    assignments: Mapping[str, str]


class Barrier(NamedTuple):
    """Somebody waits until all that was said before has been dealt with: until this descriptor is closed."""

    sender: Sender
    descriptor: int


class Dropped(NamedTuple):
    """A message that broke the rules: why, and from whom (None where even that is not known)."""

    sender: Sender | None
    reason: str


def receive(sock: socket.socket) -> Message | Barrier | Dropped:
    """Read one datagram, and close every descriptor that came along but that of a barrier.

    ``sock`` needs SO_PASSCRED. Raises BlockingIOError where there is none to read.
    """
    data, ancillary, flags, _ = sock.recvmsg(LARGEST + 1, _ANCILLARY, socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    sender: Sender | None = None
    for level, kind, body in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(body[: len(body) - len(body) % descriptors.itemsize])
        elif level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS and len(body) >= _UCRED.size:
            sender = Sender(*_UCRED.unpack_from(body))
    read = _read(data, flags, sender, descriptors)
    for descriptor in descriptors:
        if not (isinstance(read, Barrier) and descriptor == read.descriptor):
            os.close(descriptor)
    return read


def _read(data: bytes, flags: int, sender: Sender | None, descriptors: Sequence[int]) -> Message | Barrier | Dropped:
    if sender is None:
        return Dropped(None, "its sender is not known")
    if broken := _broken(data, flags):
        return Dropped(sender, broken)
    text = data.removesuffix(b"\0").decode("utf-8", "surrogateescape")
    lines = [line for line in text.replace("\r", "\n").split("\n") if line]
    if "BARRIER=1" in lines:
        if len(lines) > 1 or len(descriptors) != 1:
            return Dropped(sender, "BARRIER=1 goes alone and with one descriptor")
        return Barrier(sender, descriptors[0])
    return Message(sender, dict(line.split("=", 1) for line in reversed(lines) if "=" in line))


def _broken(data: bytes, flags: int) -> str | None:
    if flags & socket.MSG_TRUNC or len(data) > LARGEST:
        return f"it has more than {LARGEST} bytes"
    if flags & socket.MSG_CTRUNC:
        return "it came with more descriptors than there is room for"
    return "it has a NUL in it" if b"\0" in data[:-1] else None
