"""The HTTP kind among servers of known badness, and what it leaves behind."""

import asyncio
import socket
import threading
import time

import pytest
from webservers import (
    OK,
    Talk,
    answer,
    answering,
    bomb,
    endlessly,
    hanging_up,
    hanging_up_later,
    outcome,
    probe,
    request_of,
    resetting,
    serving,
    silent,
    until_hung_up,
)

from gatekeeper.model import Reason, State

HEAD = b"HTTP/1.1 200 OK\r\n"


def test_refused() -> None:
    """A port without a listener is refused: cheap to ask again, and gone."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        found = outcome(f"http://127.0.0.1:{unused.getsockname()[1]}/")
    assert (found.reason, found.cheap, found.gone) == (Reason.REFUSED, True, True)


@pytest.mark.parametrize(
    ("talk", "reasons"),
    [
        (hanging_up, {Reason.CLOSED, Reason.RESET}),
        (hanging_up_later, {Reason.CLOSED}),
        (resetting, {Reason.RESET}),
        (answering(HEAD + b"X: "), {Reason.CLOSED}),
    ],
)
def test_hung_up(talk: Talk, reasons: set[Reason]) -> None:
    """A server that hangs up before the head of an answer is whole is not ready."""
    with serving(talk) as server:
        found = outcome(f"http://127.0.0.1:{server.port}/")
    assert found.state is State.WAITING
    assert found.reason in reasons


@pytest.mark.parametrize("said", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00\x01\x02", b"-ERR unknown\r\n", b"<html>hi</html>"])
def test_other_protocol(said: bytes) -> None:
    """Bytes that are no HTTP can never become HTTP, are told at once, and are not repeated."""
    with serving(endlessly(said, b"", 0.05)) as server:
        found = outcome(f"http://127.0.0.1:{server.port}/")
        assert found.detail == f"127.0.0.1:{server.port} (it answers, but not in HTTP)"
    assert (found.state, found.reason) == (State.FAILED, Reason.WRONG_PROTOCOL)


def test_tls_on_a_plain_port() -> None:
    """An alert of TLS on http:// says which scheme to write."""
    with serving(answering(b"\x15\x03\x03\x00\x02\x02\x46")) as server:
        found = outcome(f"http://127.0.0.1:{server.port}/")
    assert found.reason is Reason.WRONG_PROTOCOL
    assert "https://" in found.detail


@pytest.mark.parametrize(
    "said", [HEAD + b"no colon\r\n\r\n", HEAD + b"Content-Length: x\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n"]
)
def test_malformed(said: bytes) -> None:
    """A broken head of HTTP is an unwanted answer, which a restart may mend."""
    with serving(answering(said)) as server:
        found = outcome(f"http://127.0.0.1:{server.port}/")
    assert (found.state, found.reason) == (State.WAITING, Reason.UNWANTED_ANSWER)


@pytest.mark.parametrize("again", [b"X-More: " + b"x" * 8000 + b"\r\n", b"x" * 60_000])
def test_endless_header(again: bytes) -> None:
    """A header without an end is left after 64 KiB."""
    with serving(endlessly(HEAD, again)) as server:
        found = outcome(f"http://127.0.0.1:{server.port}/")
        assert server.all_hung_up()
    assert (found.state, found.reason) == (State.WAITING, Reason.UNWANTED_ANSWER)


@pytest.mark.parametrize("expect", [{}, {"expect_body": "x"}])
def test_endless_body(expect: dict[str, str]) -> None:
    """A body without an end is judged by its first 64 KiB, or not read at all."""
    with serving(endlessly(HEAD + b"\r\n", b"x" * 60_000)) as server:
        assert outcome(f"http://127.0.0.1:{server.port}/", **expect).state is State.READY
        assert server.all_hung_up()


def test_bomb() -> None:
    """A compressed bomb is unpacked to the cap and no further."""
    with serving(answering(bomb())) as server:
        began = time.process_time()
        found = outcome(f"http://127.0.0.1:{server.port}/", expect_json="$.status")
        assert time.process_time() - began < 5
    assert found.reason is Reason.UNWANTED_ANSWER


def test_cut_body() -> None:
    """A body that is shorter than was said does not pass where the body counts."""
    cut = HEAD + b"Content-Length: 100\r\n\r\nready"
    with serving(answering(cut)) as server:
        assert outcome(f"http://127.0.0.1:{server.port}/", expect_body="ready").reason is Reason.CLOSED
        assert outcome(f"http://127.0.0.1:{server.port}/").state is State.READY


@pytest.mark.parametrize(
    ("talk", "step"),
    [
        (silent, "waiting for an answer from"),
        (endlessly(HEAD, b"X: y\r\n", 0.02), "waiting for an answer from"),
        (endlessly(HEAD + b"\r\n", b"x", 0.02), "reading the body from"),
    ],
)
def test_slow(talk: Talk, step: str) -> None:
    """A silent or dripping server is left when the attempt's time is up, and the step is known."""
    with serving(talk) as server:
        with pytest.raises(TimeoutError, match=step):
            outcome(f"http://127.0.0.1:{server.port}/", limit=0.3, expect_body="y")
        assert server.all_hung_up()


def test_fast_server_starves_nobody() -> None:
    """While a server sends interim answers without an end, the clock of the attempt still runs."""
    with serving(endlessly(b"", b"HTTP/1.1 102 Processing\r\n\r\n" * 1000)) as server:
        found = outcome(f"http://127.0.0.1:{server.port}/", limit=5)
    assert found.reason is Reason.UNWANTED_ANSWER


def test_nothing_stays_open_after_any_turn() -> None:
    """Cancelled after however many turns of the loop, an attempt holds no connection."""
    with serving(silent) as server:
        target = probe(f"http://127.0.0.1:{server.port}/", header="X-A: b")

        async def cancel_after(turns: int) -> None:
            task = asyncio.ensure_future(target.attempt())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])

        async def all_of_them() -> None:
            for turns in range(30):
                await cancel_after(turns)
            assert await asyncio.to_thread(server.all_hung_up)

        asyncio.run(all_of_them())


def test_nothing_stays_open_after_any_byte() -> None:
    """Cancelled after however much of the answer, an attempt holds no connection."""
    sizes = iter(range(0, len(OK), 4))
    sent = threading.Semaphore(0)

    def partly(connection: socket.socket) -> None:
        request_of(connection)
        connection.sendall(OK[: next(sizes)])
        sent.release()
        until_hung_up(connection)

    with serving(partly) as server:
        target = probe(f"http://127.0.0.1:{server.port}/", expect_body="ok")

        async def all_of_them() -> None:
            for _ in range(0, len(OK), 4):
                task = asyncio.ensure_future(target.attempt())
                await asyncio.to_thread(sent.acquire)
                task.cancel()
                await asyncio.wait([task])
                assert task.cancelled()
            assert await asyncio.to_thread(server.all_hung_up)

        asyncio.run(all_of_them())


def test_each_attempt_connects_anew() -> None:
    """Two attempts are two connections, and nothing is kept between them."""
    with serving(answering(answer(503), OK)) as server:
        target = probe(f"http://127.0.0.1:{server.port}/")

        async def twice() -> list[State]:
            states = [(await target.attempt()).state for _ in range(2)]
            assert await asyncio.to_thread(server.all_hung_up)
            return states

        assert asyncio.run(twice()) == [State.WAITING, State.READY]
        assert server.accepted == 2
