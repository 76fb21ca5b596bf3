"""Kafka's protocol as far as a look at a cluster needs it: requests, answers, and what they say.

Apache Kafka's protocol guide and the message definitions of its clients. All versions that are spoken here are of the
form before KIP-482, without tagged fields. Judges nothing.
"""

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from gatekeeper.probes._dialog import Dialog
from gatekeeper.probes._miss import MissError

T = TypeVar("T")

METADATA, SASL_HANDSHAKE, API_VERSIONS, SASL_AUTHENTICATE = 3, 17, 18, 36  # the keys of the requests
_CLIENT = b"gatekeeper"  # the client id, as it stands in the broker's metrics and request log
_MOST = 4 * 1024 * 1024  # bytes of an answer: a topic with some ten thousand partitions


class Partition(NamedTuple):
    """A partition: its error, and the broker that leads it (-1 for none)."""

    error: int
    leader: int


class Topic(NamedTuple):
    """A topic: its error, and its partitions."""

    error: int
    name: bytes
    partitions: tuple[Partition, ...]


class Cluster(NamedTuple):
    """What a broker knows of its cluster: the brokers by number, as clients shall reach them, and the controller."""

    brokers: dict[int, tuple[str, int]]
    controller: int
    topics: tuple[Topic, ...]


class Authenticated(NamedTuple):
    """What a broker says to a token of SASL."""

    error: int
    token: bytes


class Kafka:
    """A conversation with one broker; what is no answer of one is raised as `MissError`."""

    def __init__(self, dialog: Dialog) -> None:
        """Speak over a fresh dialog."""
        self._dialog = dialog
        self._asked = 0

    async def versions(self) -> dict[int, range]:
        """Return which requests the broker takes, in which versions; anybody may ask, at any listener."""

        def read(answer: _Answer) -> dict[int, range]:
            answer.number("h")  # an error, with which the list comes all the same
            return {key: range(low, high + 1) for key, low, high in (answer.numbers("hhh") for _ in answer.array())}

        return await self._ask(API_VERSIONS, 0, b"", read)

    async def handshake(self, mechanism: str) -> int:
        """Propose a mechanism of SASL; return the broker's error, 0 for none."""
        return await self._ask(SASL_HANDSHAKE, 1, _text(mechanism), lambda answer: answer.number("h"))

    async def authenticate(self, token: bytes) -> Authenticated:
        """Send a token of the mechanism that was agreed on."""

        def read(answer: _Answer) -> Authenticated:
            error = answer.number("h")
            answer.bytes("h")  # the broker's own words
            return Authenticated(error, answer.bytes("i"))

        return await self._ask(SASL_AUTHENTICATE, 0, struct.pack(">i", len(token)) + token, read)

    async def cluster(self, *topics: str) -> Cluster:
        """Return what the broker knows of the cluster and of these topics, none of which is created by that."""
        # Version 4 is the first that can ask for a topic without creating it.
        body = struct.pack(">i", len(topics)) + b"".join(map(_text, topics)) + b"\0"
        return await self._ask(METADATA, 4, body, _cluster)

    async def _ask(self, key: int, version: int, body: bytes, read: "Callable[[_Answer], T]") -> T:
        self._asked += 1
        request = struct.pack(">hhih", key, version, self._asked, len(_CLIENT)) + _CLIENT + body
        await self._dialog.write(struct.pack(">i", len(request)) + request)
        (size,) = struct.unpack(">i", await self._dialog.exactly(4))
        if not 4 <= size <= _MOST:  # noqa: PLR2004 - the number of the request that is answered
            raise MissError(self._dialog.wrong())
        answer = _Answer(await self._dialog.exactly(size))
        try:
            if answer.number("i") == self._asked:
                return read(answer)
        except struct.error:  # shorter than it says
            pass
        raise MissError(self._dialog.wrong())


class _Answer:
    """The bytes of an answer, read field by field; raises `struct.error` at their end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def numbers(self, form: str) -> tuple[int, ...]:
        found: tuple[int, ...] = struct.unpack_from(f">{form}", self._data, self._at)
        self._at += struct.calcsize(f">{form}")
        return found

    def number(self, form: str) -> int:
        return self.numbers(form)[0]

    def bytes(self, form: str) -> bytes:
        """Return bytes behind their length in this form, none for null."""
        length = max(self.number(form), 0)
        (found,) = struct.unpack_from(f"{length}s", self._data, self._at)
        self._at += length
        return bytes(found)

    def array(self) -> Iterator[None]:
        """Yield once for each element; each has bytes of its own, which end."""
        for _ in range(max(self.number("i"), 0)):
            yield


def _text(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode("ascii")


def _cluster(answer: _Answer) -> Cluster:
    answer.number("i")  # for how long the broker would have us throttled
    brokers = {}
    for _ in answer.array():
        node, host, port = answer.number("i"), answer.bytes("h"), answer.number("i")
        answer.bytes("h")  # the rack
        brokers[node] = (host.decode("ascii", "replace"), port)
    answer.bytes("h")  # the cluster's id
    controller = answer.number("i")
    return Cluster(brokers, controller, tuple(_topic(answer) for _ in answer.array()))


def _topic(answer: _Answer) -> Topic:
    error, name = answer.number("h"), answer.bytes("h")
    answer.number("b")  # whether it is Kafka's own
    return Topic(error, name, tuple(_partition(answer) for _ in answer.array()))


def _partition(answer: _Answer) -> Partition:
    error, _, leader = answer.numbers("hii")
    for _ in range(2):  # its replicas, and those of them that are in sync
        for _ in answer.array():
            answer.number("i")
    return Partition(error, leader)
