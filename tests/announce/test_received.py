"""What a datagram says, read from a real socket: tables of bytes, and no descriptor left."""

import array
import os
import resource
import socket
from collections.abc import Iterator, Sequence

import pytest

from gatekeeper.announce.received import LARGEST, Barrier, Dropped, Message, Sender, receive

US = Sender(os.getpid(), os.getuid(), os.getgid())
TOO_LONG, NUL = f"it has more than {LARGEST} bytes", "it has a NUL in it"
BARRIER = "BARRIER=1 goes alone and with one descriptor"


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return the two ends of a socket, the second with the credentials of senders."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    with ours, theirs:
        yield ours, theirs


def read(
    pair: tuple[socket.socket, socket.socket], data: bytes, descriptors: Sequence[int] = ()
) -> Message | Barrier | Dropped:
    """Send a message with descriptors, and read it."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    pair[0].sendmsg([data], rights)
    return receive(pair[1])


@pytest.mark.parametrize(
    ("data", "assignments"),
    [
        (b"", {}),
        (b"READY=1", {"READY": "1"}),
        (b"READY=1\n", {"READY": "1"}),
        (b"READY=1\0", {"READY": "1"}),
        (b"READY=1\r\nSTATUS=x\r\n", {"READY": "1", "STATUS": "x"}),
        (b"\n\nA=1\n\nB=2", {"A": "1", "B": "2"}),
        (b"A=1\nA=2", {"A": "1"}),  # the first counts
        (b"A=b=c=", {"A": "b=c="}),
        (b"A=", {"A": ""}),
        (b"=x", {"": "x"}),
        (b"A", {}),
        (b" A = 1 ", {" A ": " 1 "}),
        (b"STATUS=caf\xe9", {"STATUS": "caf\udce9"}),
        ("STATUS=größe \u2028 x".encode(), {"STATUS": "größe \u2028 x"}),  # no line of ours ends there
        (b"A=" + b"x" * (LARGEST - 2), {"A": "x" * (LARGEST - 2)}),
        (b"BARRIER=0", {"BARRIER": "0"}),
    ],
)
def test_a_message_is_its_assignments(
    pair: tuple[socket.socket, socket.socket], data: bytes, assignments: dict[str, str]
) -> None:
    """Lines with an equals sign are assignments, whatever their bytes; what is no assignment is passed over."""
    assert read(pair, data) == Message(US, assignments)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"A=" + b"x" * (LARGEST - 1), TOO_LONG),
        (b"A=" + b"x" * (LARGEST - 2) + b"\0", TOO_LONG),
        (b"A=" + b"x" * 100_000, TOO_LONG),
        (b"A\0=1", NUL),
        (b"\0A=1", NUL),
        (b"A=1\0\0", NUL),
        (b"BARRIER=1", BARRIER),
        (b"BARRIER=1\nREADY=1", BARRIER),
        (b"READY=1\nBARRIER=1\n", BARRIER),
    ],
)
@pytest.mark.parametrize("count", [0, 2, 253])
def test_what_breaks_a_rule_is_dropped_whole(
    pair: tuple[socket.socket, socket.socket], data: bytes, reason: str, count: int
) -> None:
    """Nothing of it counts, the reason and the sender are known, and no descriptor stays open."""
    reader, writer = os.pipe()
    assert read(pair, data, [writer] * count) == Dropped(US, reason)
    os.close(writer)
    assert os.read(reader, 1) == b""
    os.close(reader)


@pytest.mark.parametrize("data", [b"BARRIER=1", b"BARRIER=1\n", b"\nBARRIER=1\0"])
def test_a_barrier_keeps_its_descriptor(pair: tuple[socket.socket, socket.socket], data: bytes) -> None:
    """A barrier is given its one descriptor, closed on exec, and closing that is the answer."""
    reader, writer = os.pipe()
    got = read(pair, data, [writer])
    assert isinstance(got, Barrier)
    assert got.sender == US
    assert not os.get_inheritable(got.descriptor)
    os.close(writer)
    os.set_blocking(reader, False)
    with pytest.raises(BlockingIOError):
        os.read(reader, 1)
    os.close(got.descriptor)
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_descriptors_of_a_message_are_closed(pair: tuple[socket.socket, socket.socket]) -> None:
    """Nobody is handed what came along."""
    reader, writer = os.pipe()
    assert read(pair, b"FDSTORE=1\nFDNAME=x", [writer] * 253) == Message(US, {"FDSTORE": "1", "FDNAME": "x"})
    os.close(writer)
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_where_no_descriptor_is_free_a_message_is_dropped(pair: tuple[socket.socket, socket.socket]) -> None:
    """A process at its limit of descriptors drops what comes with some, tells why, and hears the next one."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    reader, writer = os.pipe()
    pair[0].sendmsg([b"BARRIER=1"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [writer]))])
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        got = receive(pair[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert got == Dropped(US, "it came with more descriptors than there is room for")
    os.close(writer)
    assert os.read(reader, 1) == b""
    os.close(reader)
    assert read(pair, b"READY=1") == Message(US, {"READY": "1"})


def test_a_sender_that_is_not_known_is_not_heard(pair: tuple[socket.socket, socket.socket]) -> None:
    """Without credentials nothing is believed, and where nothing has come that is told."""
    pair[1].setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
    assert read(pair, b"READY=1") == Dropped(None, "its sender is not known")
    with pytest.raises(BlockingIOError):
        receive(pair[1])
