"""What a service manager's socket receives, and what a broken one may not do to us."""

import array
import errno
import os
import resource
import select
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatekeeper.announce.sdnotify import Notifier, _say_and_end, _Vsock, _way_to


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[socket.socket]:
    """Return a service manager's socket: bound, nothing read yet."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(10)
        yield sock


@pytest.fixture
def notifier(receiver: socket.socket) -> Iterator[Notifier]:
    """Return a notifier that speaks to the receiver."""
    notifier = Notifier(receiver.getsockname())
    yield notifier
    notifier.close()


def fill(receiver: socket.socket) -> int:
    """Send datagrams until the receiver's queue is full; return how many it took."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(0)
        for number in range(100_000):
            try:
                sender.sendto(b"X_FILL=1", receiver.getsockname())
            except BlockingIOError:
                return number
    pytest.fail("the queue has no end")


def everything(receiver: socket.socket) -> list[bytes]:
    """Read all that has arrived."""
    receiver.settimeout(0)
    messages = []
    try:
        while True:
            messages.append(receiver.recv(65536))
    except BlockingIOError:
        return messages


def test_ready_is_alone_in_its_datagram(receiver: socket.socket, notifier: Notifier) -> None:
    """READY=1 is a datagram of its own, because relays look at the beginning only."""
    assert notifier.status("3 of 3 ready")
    assert notifier.ready()
    assert everything(receiver) == [b"STATUS=3 of 3 ready", b"READY=1"]
    assert notifier.problem is None


def test_a_failure_carries_errno_and_status(receiver: socket.socket, notifier: Notifier) -> None:
    """A failed start is told with STATUS and ERRNO in one message."""
    assert notifier.failure(errno.ETIMEDOUT, "1 of 3 not ready: db\n(refused)")
    assert everything(receiver) == [b"STATUS=1 of 3 not ready: db (refused)\nERRNO=110"]


@pytest.mark.parametrize(
    ("seconds", "said"), [(30, b"30000000"), (0.0000001, b"1"), (float("inf"), b"315360000000000")]
)
def test_a_timeout_is_extended_in_microseconds(
    receiver: socket.socket, notifier: Notifier, seconds: float, said: bytes
) -> None:
    """EXTEND_TIMEOUT_USEC is a whole number of microseconds, never 0 and never endless."""
    assert notifier.extend_timeout(seconds)
    assert everything(receiver) == [b"EXTEND_TIMEOUT_USEC=" + said]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("db: refused\nREADY=1", "db: refused READY: 1"),
        ("READY=1", "READY: 1"),
        ("REREADY=1ADY=1", "REREADY: 1ADY=1"),
        ("a\r\n\tb\x1b[31m\0c\x7f\x85d\u2028e\u202ef", "a b [31m c d e f"),
        ("caf\udce9 \ud800", "caf? ?"),
        ("größe 日本 🙂", "größe 日本 🙂"),
        ("", ""),
    ],
)
def test_status_is_one_clean_line(receiver: socket.socket, notifier: Notifier, text: str, said: str) -> None:
    """Whatever text STATUS is given, it stays one assignment in valid UTF-8, without what crun searches for."""
    assert notifier.status(text)
    assert everything(receiver) == [f"STATUS={said}".encode()]


@pytest.mark.parametrize("padding", range(4))
def test_a_long_status_is_cut_between_characters(receiver: socket.socket, notifier: Notifier, padding: int) -> None:
    """A status of any length arrives as valid UTF-8 of at most 512 bytes."""
    assert notifier.status("x" * padding + "🙂" * 100_000)
    text = everything(receiver)[0].removeprefix(b"STATUS=")
    assert 505 <= len(text) <= 512
    assert text.decode() == "x" * padding + "🙂" * ((509 - padding) // 4) + "…"


def test_a_message_that_a_receiver_would_drop_is_not_sent(receiver: socket.socket, notifier: Notifier) -> None:
    """Nothing longer than 4096 bytes, nothing empty, and no assignment that holds another is ever sent."""
    assert not notifier.send("X_LONG=" + "x" * 4090)
    assert "4097 bytes" in str(notifier.problem)
    assert not notifier.send()
    assert not notifier.send("")
    assert not notifier.send("X_A=1\nREADY=1")
    assert not notifier.send("X_A=\0")
    assert not notifier.send("X_A=\udce9")
    assert everything(receiver) == []
    assert notifier.send("X_LONG=" + "x" * 4089)
    assert len(everything(receiver)[0]) == 4096


def test_an_abstract_socket_is_reached() -> None:
    """An address that begins with @ names an abstract socket, whose name has no final NUL."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("")  # the kernel chooses an abstract name
        notifier = Notifier("@" + sock.getsockname()[1:].decode())
        assert notifier.ready()
        notifier.close()
        assert everything(sock) == [b"READY=1"]


def test_a_path_of_bytes_is_reached(tmp_path: Path) -> None:
    """A socket's path need not be UTF-8."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        name = os.fsencode(tmp_path) + b"/caf\xe9"
        sock.bind(name)
        notifier = Notifier(os.fsdecode(name))
        assert notifier.ready()
        notifier.close()
        assert everything(sock) == [b"READY=1"]


@pytest.mark.parametrize("address", [None, ""])
def test_without_an_address_nothing_is_said(address: str | None) -> None:
    """Without NOTIFY_SOCKET every message is silently not sent, and that is no problem."""
    notifier = Notifier(address)
    assert not notifier
    assert not notifier.ready()
    assert not notifier.status("x")
    assert not notifier.barrier(5)
    assert notifier.problem is None
    notifier.close()


@pytest.mark.parametrize(
    "address",
    [
        *("notify", "./notify", "tcp:1:2", "/", "@", "/" + "x" * 107, "@" + "x" * 107),
        *("vsock:", "vsock:2", "vsock::5", "vsock:2:x", "vsock:4294967295:5", "vsock:2:4294967296", "vsock-raw:2:5"),
    ],
)
def test_a_bad_address_is_a_problem_and_no_error(address: str) -> None:
    """An address that sd_notify(3) does not know is told once, and nothing is sent."""
    notifier = Notifier(address)
    assert "NOTIFY_SOCKET=" in str(notifier.problem)
    assert not notifier
    assert not notifier.ready()
    notifier.close()


@pytest.mark.parametrize("length", [106, 107])
def test_the_longest_names_are_taken(length: int) -> None:
    """A path and an abstract name may fill sun_path up to its final NUL."""
    for first in "/@":
        notifier = Notifier(first + "x" * (length - 1))
        assert notifier.problem is None
        assert not notifier.ready()  # nobody is there
        assert notifier.problem is not None
        notifier.close()


@pytest.mark.parametrize(
    ("prefix", "kinds"),
    [
        ("vsock", (socket.SOCK_DGRAM, socket.SOCK_SEQPACKET, socket.SOCK_STREAM)),
        ("vsock-dgram", (socket.SOCK_DGRAM,)),
        ("vsock-seqpacket", (socket.SOCK_SEQPACKET,)),
        ("vsock-stream", (socket.SOCK_STREAM,)),
    ],
)
def test_vsock_addresses_name_their_socket_types(prefix: str, kinds: tuple[int, ...]) -> None:
    """A vsock address has a CID and a port, and a type where it names one; otherwise all three are tried."""
    way = _way_to(f"{prefix}:2:1234")
    assert isinstance(way, _Vsock)
    assert (way._address, way._kinds) == ((2, 1234), kinds)  # noqa: SLF001 - no other machine can be asked here


def test_a_vsock_that_nobody_serves_costs_little_and_raises_nothing() -> None:
    """Where the other side of a virtual machine does not answer, a message is lost within moments."""
    notifier = Notifier("vsock:1:4242")
    began = time.monotonic()
    assert not notifier.status("waiting")
    assert not notifier.barrier(5)
    assert time.monotonic() - began < 2
    assert notifier.problem is not None
    notifier.close()


def test_a_stream_is_ended_after_its_message() -> None:
    """Over a stream the message is followed by its end, and the receiver's end is awaited."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(10)
        speaker = threading.Thread(target=_say_and_end, args=(ours, b"READY=1"))
        speaker.start()
        with theirs.makefile("rb") as stream:
            assert stream.read() == b"READY=1"
        assert speaker.is_alive()
        theirs.close()
        speaker.join(10)
        assert not speaker.is_alive()


def test_a_stream_that_is_never_read_counts_as_sent() -> None:
    """A receiver that leaves a stream open holds nobody, and the message has gone out."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0.05)
        _say_and_end(ours, b"READY=1")
        assert theirs.recv(100) == b"READY=1"


def test_a_missing_socket_is_a_problem_and_no_error(tmp_path: Path) -> None:
    """A socket that is not there, or that nobody reads any more, loses messages and nothing else."""
    path = tmp_path / "notify"
    notifier = Notifier(str(path))
    assert not notifier.ready()
    assert "No such file" in str(notifier.problem)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        assert notifier.ready()
        assert notifier.problem is None
    assert not notifier.ready()
    assert "refused" in str(notifier.problem)
    notifier.close()


def test_a_full_queue_drops_a_status_at_once(receiver: socket.socket, notifier: Notifier) -> None:
    """A receiver that does not read loses STATUS; the sender does not wait for it."""
    took = fill(receiver)
    assert not notifier.status("waiting")
    assert notifier.problem is not None
    assert everything(receiver) == [b"X_FILL=1"] * took


def test_ready_waits_a_moment_for_room(receiver: socket.socket, notifier: Notifier) -> None:
    """READY gets out as soon as a receiver with a full queue reads again."""
    fill(receiver)
    result: list[bool] = []
    sender = threading.Thread(target=lambda: result.append(notifier.ready()))
    sender.start()
    sender.join(0.05)
    assert sender.is_alive()  # it waits for room, and so the queue was full
    while receiver.recv(100) != b"READY=1":
        pass
    sender.join(10)
    assert result == [True]


def test_ready_gives_up_soon(receiver: socket.socket, notifier: Notifier) -> None:
    """A receiver that never reads holds READY for a tenth of a second and no longer."""
    fill(receiver)
    began = time.monotonic()
    assert not notifier.ready()
    assert 0.09 < time.monotonic() - began < 5
    assert notifier.problem is not None


def test_a_barrier_waits_for_the_reader(receiver: socket.socket, notifier: Notifier) -> None:
    """A barrier is one assignment with one descriptor, and ends when the receiver has closed that."""
    assert notifier.ready()
    result: list[bool] = []
    sender = threading.Thread(target=lambda: result.append(notifier.barrier(60)))
    sender.start()
    assert receiver.recv(100) == b"READY=1"
    message, ancillary, _, _ = receiver.recvmsg(100, socket.CMSG_SPACE(16))
    descriptors = array.array("i")
    [(level, kind, data)] = ancillary
    descriptors.frombytes(data)
    assert (message, level, kind, len(descriptors)) == (b"BARRIER=1", socket.SOL_SOCKET, socket.SCM_RIGHTS, 1)
    assert not result
    os.close(descriptors[0])
    sender.join(60)
    assert result == [True]


def test_a_barrier_that_nobody_reads_is_bounded(receiver: socket.socket, notifier: Notifier) -> None:
    """A barrier ends at its time limit, whether its message lies unread or finds no room."""
    began = time.monotonic()
    assert not notifier.barrier(0.1)
    fill(receiver)
    assert not notifier.barrier(0.1)
    assert not notifier.barrier(0)
    assert time.monotonic() - began < 10


def test_a_barrier_leaves_no_descriptor(receiver: socket.socket, notifier: Notifier) -> None:
    """However a barrier ends, its pipe is closed."""
    before = os.listdir("/proc/self/fd")
    notifier.barrier(0.01)
    fill(receiver)
    notifier.barrier(0.01)
    assert os.listdir("/proc/self/fd") == before


def test_a_closed_notifier_says_nothing(receiver: socket.socket, notifier: Notifier) -> None:
    """After close nothing is sent, and closing again is no error."""
    notifier.close()
    notifier.close()
    assert not notifier
    assert not notifier.ready()
    assert everything(receiver) == []


def test_ready_needs_no_free_descriptor(receiver: socket.socket, notifier: Notifier) -> None:
    """READY gets out of a process that has used up its descriptors; a barrier then does without."""
    taken: list[int] = []
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, limits[1]))
    try:
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        assert error.errno == errno.EMFILE  # noqa: PT017 - what ends the loop is the point of it
        assert notifier.ready()
        assert not notifier.barrier(1)
        assert "Too many open files" in str(notifier.problem)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for descriptor in taken:
            os.close(descriptor)
    assert select.select([receiver], [], [], 0)[0]
    assert everything(receiver) == [b"READY=1"]
