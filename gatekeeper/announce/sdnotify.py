"""sd_notify(3), the sender's side: datagrams for the service manager. Imports nothing of ours.

Nothing here raises, and nothing waits longer than it says: no notification may open, shut or hold the gate. The relays
between us and a service manager are not transparent, and so: READY is alone in its datagram (runc wants it first),
no message is empty (conmon's relay dies of one), STATUS is short, one line, without the text that crun searches for.
"""

import array
import errno
import math
import os
import re
import select
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress

_LARGEST = 4096  # systemd drops a longer message whole
_LONGEST_STATUS = 512
_LONGEST_NAME = 107  # sun_path, without the final NUL
_LONGEST_EXTENSION = 10 * 365 * 86400.0
_SEND_BUFFER = 8 << 20
# A READY that is lost costs the unit its start: it waits a moment for room. The rest is said again, or is not missed.
_PATIENCE = 0.1
# The other side of a virtual machine answers at once or not at all; a STATUS must not hold the event loop for it.
_VSOCK_PATIENCE = 0.05

_NO_SUCH_KIND = (errno.ENODEV, errno.EOPNOTSUPP, errno.ESOCKTNOSUPPORT, errno.EPROTONOSUPPORT)
_VSOCK = r"vsock(-dgram|-seqpacket|-stream)?:([0-9]{1,10}):([0-9]{1,10})"  # compiled when it is met, which is seldom
_VSOCK_KINDS = {
    "-dgram": (socket.SOCK_DGRAM,),
    "-seqpacket": (socket.SOCK_SEQPACKET,),
    "-stream": (socket.SOCK_STREAM,),
    None: (socket.SOCK_DGRAM, socket.SOCK_SEQPACKET, socket.SOCK_STREAM),
}


class Notifier:
    """Says things to the socket that ``NOTIFY_SOCKET`` names; silent where it names none.

    Every method tells whether its message went out. ``problem`` is why the last one did not, or what is wrong with the
    address (known from the start), and None while all is well.
    """

    def __init__(self, address: str | None) -> None:
        """Take the text of ``NOTIFY_SOCKET``; None and the empty text make a notifier that says nothing."""
        self.problem: str | None = None
        self._shown = f"NOTIFY_SOCKET={address!r}"
        self._way: _Unix | _Vsock | None = None
        try:
            self._way = _way_to(address) if address else None
        except (ValueError, OSError) as error:
            self.problem = f"{self._shown}: {error}"

    def __bool__(self) -> bool:
        """Tell whether there is anybody to say things to."""
        return self._way is not None

    def close(self) -> None:
        """Let go of the socket and say nothing any more."""
        if self._way is not None:
            self._way.close()
        self._way = None

    def ready(self) -> bool:
        """Say that the start is finished; waits a tenth of a second for room where the receiver's queue is full."""
        return self.send("READY=1", patience=_PATIENCE)

    def status(self, text: str) -> bool:
        """Say how things stand: one line, cleaned, cut at 512 bytes."""
        return self.send(f"STATUS={one_line(text)}")

    def extend_timeout(self, seconds: float) -> bool:
        """Ask that the service manager's timeout be at least so many ``seconds`` (more than 0) from now."""
        return self.send(f"EXTEND_TIMEOUT_USEC={math.ceil(min(seconds, _LONGEST_EXTENSION) * 1_000_000)}")

    def failure(self, number: int, text: str) -> bool:
        """Say why the start failed: an errno ``number`` and one line of text."""
        return self.send(f"STATUS={one_line(text)}", f"ERRNO={number}")

    def barrier(self, timeout: float) -> bool:
        """Wait, at most ``timeout`` seconds, until all that was said has been read; tell whether it was.

        The receiver closes the descriptor that it is sent (sd_notify_barrier(3)). What a process says and then exits
        may not be believed: nobody can tell any more which unit it came from.
        """
        end = time.monotonic() + timeout
        try:
            ours, theirs = os.pipe()
        except OSError as error:
            self.problem = f"{self._shown}: no barrier: {error.strerror}"
            return False
        sent = self.send("BARRIER=1", patience=timeout, descriptors=(theirs,))
        os.close(theirs)
        done = sent and _hung_up(ours, end - time.monotonic())
        os.close(ours)
        return done

    def send(
        self, *assignments: str, patience: float = 0.0, descriptors: Sequence[int] = (), sender: int | None = None
    ) -> bool:
        """Send ``KEY=VALUE`` assignments as one message, waiting at most ``patience`` seconds for room.

        ``descriptors`` go with it. The message comes from process ``sender`` where there is one and we may say so
        (CAP_SYS_ADMIN), else from this one.
        """
        if self._way is None:
            return False
        try:
            self._way.send(_message(assignments), patience, descriptors, sender)
        except (ValueError, OSError) as error:
            self.problem = f"{self._shown}: {getattr(error, 'strerror', None) or error}"
            return False
        self.problem = None
        return True


class _Unix:
    """Datagrams to a socket file or an abstract name."""

    def __init__(self, name: bytes) -> None:
        self._name = name
        # Made now and kept: READY must get out of a process that has no descriptor left.
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)

    def close(self) -> None:
        self._socket.close()

    def send(self, message: bytes, patience: float, descriptors: Sequence[int], sender: int | None) -> None:
        flags = socket.MSG_NOSIGNAL
        if patience > 0:
            # The kernel waits for room in the receiver's queue; poll(2) would only look at our own.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(patience))
        else:
            flags |= socket.MSG_DONTWAIT
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        if sender is not None:
            credentials = (socket.SOL_SOCKET, socket.SCM_CREDENTIALS, _ucred(sender))
            with suppress(PermissionError, ProcessLookupError):
                self._socket.sendmsg([message], [*rights, credentials], flags, self._name)
                return
        self._socket.sendmsg([message], rights, flags, self._name)


class _Vsock:
    """A port beyond the virtual machine's wall: a connection for each message, ended as sd_notify(3) has it."""

    def __init__(self, cid: int, port: int, kinds: tuple[int, ...]) -> None:
        self._address = (cid, port)
        self._kinds = kinds
        self._silent = False

    def close(self) -> None:
        """Do nothing: no connection outlives its message."""

    def send(self, message: bytes, patience: float, descriptors: Sequence[int], _sender: int | None) -> None:
        if descriptors:
            problem = "a descriptor cannot be sent over vsock"
            raise ValueError(problem)
        if self._silent and not patience:  # what can be said again must not hold the event loop for nobody each time
            problem = "nobody answers there"
            raise ValueError(problem)
        for kind in self._kinds:
            try:
                return self._send_as(kind, message, patience)
            except OSError as error:
                self._silent = isinstance(error, TimeoutError)
                if error.errno not in _NO_SUCH_KIND or kind == self._kinds[-1]:
                    raise
        return None

    def _send_as(self, kind: int, message: bytes, patience: float) -> None:
        with socket.socket(socket.AF_VSOCK, kind) as sock:
            sock.settimeout(max(patience, _VSOCK_PATIENCE))
            _take_privileged_port(sock)
            sock.connect(self._address)
            _say_and_end(sock, message)


def _take_privileged_port(sock: socket.socket) -> None:
    """Bind a source port that needs a privilege, which a receiver may ask for; without the privilege, do without."""
    for port in range(1023, 0, -1):
        try:
            return sock.bind((socket.VMADDR_CID_ANY, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return None
    return None


def _say_and_end(sock: socket.socket, message: bytes) -> None:
    sock.sendall(message, socket.MSG_NOSIGNAL)
    if sock.type != socket.SOCK_DGRAM:
        sock.shutdown(socket.SHUT_WR)
        with suppress(TimeoutError):  # it went out; that nobody has read it yet changes nothing
            sock.recv(1)


def _way_to(address: str) -> _Unix | _Vsock:
    """Return the way to an address; raises ValueError for one that sd_notify(3) does not know."""
    if address.startswith(("/", "@")):
        name = os.fsencode(address)
        if not 1 < len(name) <= _LONGEST_NAME:
            problem = f"no socket has this name: it must have 1 to {_LONGEST_NAME - 1} bytes after its first"
            raise ValueError(problem)
        return _Unix(b"\0" + name[1:] if address.startswith("@") else name)
    if match := re.fullmatch(_VSOCK, address, re.ASCII):
        cid, port = int(match[2]), int(match[3])
        if cid >= socket.VMADDR_CID_ANY or port > socket.VMADDR_PORT_ANY:
            problem = "the CID or the port is out of range"
            raise ValueError(problem)
        return _Vsock(cid, port, _VSOCK_KINDS[match[1]])
    problem = "an unknown form of address: /path, @name, vsock:CID:PORT are known"
    raise ValueError(problem)


def _message(assignments: tuple[str, ...]) -> bytes:
    message = "\n".join(assignments).encode()
    text = "".join(assignments)
    if not text or not all(assignments) or "\n" in text or "\0" in text:
        problem = "an assignment is one line of text without NUL, and a message has at least one"
        raise ValueError(problem)
    if len(message) > _LARGEST:
        problem = f"the message has {len(message)} bytes, and more than {_LARGEST} are dropped by the receiver"
        raise ValueError(problem)
    return message


def one_line(text: str) -> str:
    """Return text that is safe in STATUS, whoever wrote it, 512 bytes at most.

    A newline would begin an assignment of its own, and crun takes the text ``READY=1`` for one wherever it stands.
    """
    text = text.encode("utf-8", "replace").decode()
    text = " ".join("".join(mark if mark.isprintable() else " " for mark in text).split())
    text = text.replace("READY=", "READY: ")
    if len(text.encode()) <= _LONGEST_STATUS:
        return text
    return text.encode()[: _LONGEST_STATUS - len("…".encode())].decode("utf-8", "ignore") + "…"


def _ucred(pid: int) -> bytes:
    return struct.pack("@iII", pid, os.getuid(), os.getgid())


def _timeval(seconds: float) -> bytes:
    whole, part = divmod(math.ceil(seconds * 1_000_000), 1_000_000)
    return struct.pack("@ll", whole, part)


def _hung_up(descriptor: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, 0)  # POLLHUP is told unasked
    return bool(poll.poll(max(0.0, seconds) * 1000))
