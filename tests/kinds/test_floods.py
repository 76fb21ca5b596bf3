"""Peers that send without end, in the smallest pieces: the event loop goes on, and the attempt ends."""

import asyncio
import socket
import time
from typing import Any

import pytest
from badness import serving as plain_serving
from webservers import Talk, endlessly, serving, until_hung_up

from gatekeeper.model import Outcome, Reason
from gatekeeper.probes import load

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SETTINGS, PING = b"\0\0\0\4\0\0\0\0\0", b"\0\0\x08\6\0\0\0\0\0abcdefgh"
H2_200, EMPTY_DATA = b"\0\0\1\1\4\0\0\0\1\x88", b"\0\0\0\0\0\0\0\0\1"
LIMIT, LONGEST = 1.0, 0.3  # seconds: of an attempt, and that the loop may be held on a busy machine


async def _attempt(probe: Any) -> tuple[Outcome | None, float]:
    gaps = [0.0]

    async def tick() -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.001)
            gaps.append(time.monotonic() - began)

    ticking = asyncio.ensure_future(tick())
    try:
        async with asyncio.timeout(LIMIT):
            return await probe.attempt(), max(gaps)
    except TimeoutError:
        return None, max(gaps)
    finally:
        ticking.cancel()


@pytest.mark.parametrize(
    ("talk", "options"),
    [
        (endlessly(HEAD, b"1\r\na\r\n" * 2000), {"expect_body": "zzz"}),
        (endlessly(HEAD, b"1\r\na\r\n" * 2000), {"expect_json": "$.a"}),
        (endlessly(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2000), {}),
        (endlessly(SETTINGS, SETTINGS * 2000), {"http2": "yes"}),
        (endlessly(SETTINGS, PING * 2000), {"http2": "yes"}),
        (endlessly(SETTINGS + H2_200, EMPTY_DATA * 2000), {"http2": "yes", "expect_body": "zzz"}),
    ],
    ids=["chunks", "chunks-json", "interim", "settings", "ping", "empty-data"],
)
def test_a_flood_of_tiny_frames_holds_nobody_up(talk: Talk, options: dict[str, str]) -> None:
    """However small the frames are, other tasks and the clock have their turn."""
    with serving(talk) as server:
        probe = load("http").parse(f"http://127.0.0.1:{server.port}/", {key: (text,) for key, text in options.items()})
        outcome, longest = asyncio.run(_attempt(probe))
    assert outcome is None or outcome.reason is Reason.UNWANTED_ANSWER
    assert longest < LONGEST


@pytest.mark.parametrize(
    ("frames", "options"),
    [(SETTINGS + PING * 10_010, {}), (SETTINGS + H2_200 + EMPTY_DATA * 10_010, {"expect_body": "zzz"})],
)
def test_frames_that_bring_nothing_are_counted(frames: bytes, options: dict[str, str]) -> None:
    """A server that only ever sends what is no answer is given up before the attempt's time is."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(frames)
        until_hung_up(connection)

    with serving(talk) as server:
        target = f"http://127.0.0.1:{server.port}/"
        probe = load("http").parse(target, {"http2": ("yes",), **{key: (text,) for key, text in options.items()}})

        async def attempt() -> Outcome:
            async with asyncio.timeout(30):
                return await probe.attempt()  # type: ignore[no-any-return]

        outcome = asyncio.run(attempt())
    assert outcome.reason is Reason.UNWANTED_ANSWER
    assert "over 10000 frames" in outcome.detail


@pytest.mark.parametrize("piece", [b"x", b"x" * 65536])
def test_a_flood_where_an_answer_is_expected_holds_nobody_up(piece: bytes) -> None:
    """Searching anew at every byte is done in turns with everybody else."""

    def flooding(client: socket.socket, over: Any) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while not over.is_set():
            client.sendall(piece)

    with plain_serving(flooding) as port:
        probe = load("tcp").parse(f"tcp://127.0.0.1:{port}", {"expect": ("zzz",)})
        outcome, longest = asyncio.run(_attempt(probe))
    assert outcome is None or outcome.reason is Reason.UNWANTED_ANSWER
    assert longest < LONGEST
