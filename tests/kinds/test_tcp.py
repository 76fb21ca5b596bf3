"""tcp://: what counts as a port that is there."""

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable

import namespace
import pytest
from badness import MARK, descriptors, garbage, half_open, hung_up, left_over, refusing, reset, saying, serving, silent

from gatekeeper.model import Outcome, Reason, State, ready, waiting
from gatekeeper.probes._connect import connect
from gatekeeper.probes._exchange import escaped, linger_of
from gatekeeper.probes._miss import MissError
from gatekeeper.probes._options import BadOptionsError
from gatekeeper.probes._race import HEAD_START, enough_of, first_of, over_peers
from gatekeeper.probes.tcp import Tcp
from gatekeeper.resolve import Peer


def attempt(target: str, seconds: float = 10, **options: str) -> Outcome:
    """Attempt once, within so many seconds."""

    async def run() -> Outcome:
        async with asyncio.timeout(seconds):
            return await Tcp.parse(target, {key: (text,) for key, text in options.items()}).attempt()

    return asyncio.run(run())


def peer(port: int, host: str = "127.0.0.1") -> Peer:
    """Return a peer on loopback."""
    if ":" in host:
        return Peer(socket.AF_INET6, (host, port, 0, 0))
    return Peer(socket.AF_INET, (host, port))


def test_a_port_that_keeps_the_connection_is_ready() -> None:
    """A silent server that keeps the connection open is ready, and the detail names the address."""
    with serving(silent) as port:
        assert attempt(f"tcp://127.0.0.1:{port}") == ready(f"127.0.0.1:{port}")


def test_a_port_without_a_listener_is_refused_and_gone() -> None:
    """A refusal comes from the kernel: cheap to ask again, and proof that nothing is there."""
    with refusing() as port:
        assert attempt(f"tcp://127.0.0.1:{port}") == waiting(Reason.REFUSED, f"127.0.0.1:{port}", cheap=True, gone=True)


def test_a_connection_that_is_hung_up_at_once_is_closed() -> None:
    """Accepted and then hung up, as docker-proxy does without a backend, is not ready and not gone."""
    with serving(hung_up) as port:
        outcome = attempt(f"tcp://127.0.0.1:{port}", linger="5s")
    assert outcome == waiting(Reason.CLOSED, f"127.0.0.1:{port}", cheap=True)


def test_a_connection_that_is_reset_is_reset() -> None:
    """Accepted and then reset is not ready."""
    with serving(reset) as port:
        assert attempt(f"tcp://127.0.0.1:{port}", linger="1s").reason is Reason.RESET


@pytest.mark.parametrize(("round_trip", "seconds"), [(0, 0.005), (0.001, 0.005), (0.05, 0.1), (3, 0.25)])
def test_the_linger_is_two_round_trips_within_bounds(round_trip: float, seconds: float) -> None:
    """Never under 5 ms, when a proxy would not have hung up yet, nor over 250 ms."""
    assert linger_of(round_trip) == seconds


def test_without_linger_a_hang_up_is_not_waited_for() -> None:
    """With linger=0 the accepted connection alone counts."""

    def late(_client: socket.socket, over: threading.Event) -> None:
        over.wait(1)

    with serving(late) as port:
        assert attempt(f"tcp://127.0.0.1:{port}", linger="0").state is State.READY


def test_a_longer_linger_sees_a_later_hang_up() -> None:
    """A linger that is declared is kept, however fast the connection was made."""

    def late(_client: socket.socket, over: threading.Event) -> None:
        over.wait(1)

    with serving(late) as port:
        assert attempt(f"tcp://127.0.0.1:{port}", linger="10ms").state is State.READY
        assert attempt(f"tcp://127.0.0.1:{port}", linger="10s").reason is Reason.CLOSED


def test_a_server_that_speaks_first_is_ready_and_not_quoted() -> None:
    """What a server says unasked makes it ready, and stays out of the detail."""
    with serving(garbage) as port:
        outcome = attempt(f"tcp://127.0.0.1:{port}")
    assert outcome.state is State.READY
    assert MARK.decode() not in outcome.detail


def test_send_and_expect_hold_a_dialogue() -> None:
    """What is sent arrives, and the answer counts."""

    def pong(client: socket.socket, over: threading.Event) -> None:
        if client.recv(64) == b"PING\r\n":
            client.sendall(b"+PONG\r\n")
        over.wait()

    with serving(pong) as port:
        assert attempt(f"tcp://127.0.0.1:{port}", send=r"PING\r\n", expect=r"^\+PONG\r\n$").state is State.READY


def test_expect_is_matched_over_answers_that_come_in_drips() -> None:
    """A match may begin in one packet and end in another."""
    with serving(saying(b"22", b"0 re", b"ady\r\n", pause=0.01)) as port:
        assert attempt(f"tcp://127.0.0.1:{port}", expect="220 ready").state is State.READY


@pytest.mark.parametrize("pattern", [".*", "x*", "$", "^(OK)?", "(?=)"])
def test_a_pattern_of_nothing_is_not_matched_before_anything_came(pattern: str) -> None:
    """Whatever a pattern makes of nothing, a server that says nothing has not answered."""
    with serving(hung_up) as port:
        assert attempt(f"tcp://127.0.0.1:{port}", expect=pattern).reason is Reason.CLOSED
    with serving(silent) as port, pytest.raises(TimeoutError):
        attempt(f"tcp://127.0.0.1:{port}", seconds=0.2, expect=pattern)
    with serving(saying(b"hello\n")) as port:
        assert attempt(f"tcp://127.0.0.1:{port}", expect=pattern).state is State.READY


def test_a_word_before_the_hang_up_changes_nothing() -> None:
    """A server that says a word of excuse and hangs up is not ready; with linger it is watched after its answer too."""
    with serving(saying(b"too many connections\n", hang_up=True)) as port:
        assert attempt(f"tcp://127.0.0.1:{port}", linger="5s").reason is Reason.CLOSED
        assert attempt(f"tcp://127.0.0.1:{port}", linger="5s", expect="too").reason is Reason.CLOSED
        assert attempt(f"tcp://127.0.0.1:{port}", expect="too").state is State.READY


def test_many_dead_addresses_do_not_outlast_the_attempt() -> None:
    """The last of many addresses is tried within an attempt, as where one is counted."""

    async def dial(number: int) -> int:
        if number < 15:
            await asyncio.Event().wait()
        return number

    async def run() -> int:
        async with asyncio.timeout(3):
            return await first_of(range(16), dial)

    assert asyncio.run(run()) == 15


def test_an_answer_without_a_match_is_unwanted_and_not_quoted() -> None:
    """A server that said something else and hung up gives an unwanted answer; its words are not repeated."""

    def other(client: socket.socket, _over: threading.Event) -> None:
        client.sendall(b"220 " + MARK)

    with serving(other) as port:
        outcome = attempt(f"tcp://127.0.0.1:{port}", expect="^ok")
    assert outcome.reason is Reason.UNWANTED_ANSWER
    assert MARK.decode() not in outcome.detail


def test_an_answer_is_read_to_a_cap() -> None:
    """An answer that has not matched within 64 KiB is not read on."""
    with serving(saying(b"x" * 70_000 + b"ready")) as port:
        outcome = attempt(f"tcp://127.0.0.1:{port}", expect="ready")
    assert outcome == waiting(Reason.UNWANTED_ANSWER, f"127.0.0.1:{port} (no match in 65536 bytes)")


def test_silence_where_an_answer_is_expected_lasts_until_the_attempt_is_cancelled() -> None:
    """The kind has no time limit of its own; the cancellation is told how far the reading came."""

    async def run(port: int) -> list[str]:
        probe = Tcp.parse(f"tcp://127.0.0.1:{port}", {"expect": ("ready",)})
        task = asyncio.ensure_future(probe.attempt())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        return caught.value.__notes__

    with serving(saying(b"hello")) as port:
        assert asyncio.run(run(port)) == [f"reading from 127.0.0.1:{port} (5 bytes so far, no match)"]


def test_what_was_said_unasked_does_not_turn_the_farewell_into_a_reset() -> None:
    """The server sees an orderly end of the connection, although nobody wanted its greeting."""
    ends: list[bytes | OSError] = []
    heard = threading.Event()

    def greet(client: socket.socket, _over: threading.Event) -> None:
        client.sendall(b"x" * 100_000)
        try:
            ends.append(client.recv(1))
        except OSError as error:
            ends.append(error)
        heard.set()

    with serving(greet) as port:
        assert attempt(f"tcp://127.0.0.1:{port}", expect="x").state is State.READY
        assert heard.wait(10)
    assert ends == [b""]


def test_ipv6_is_written_in_brackets() -> None:
    """An IPv6 literal is taken in brackets, and shown in them."""
    with serving(silent, host="::1") as port:
        assert attempt(f"tcp://[::1]:{port}") == ready(f"[::1]:{port}")


def test_any_address_of_a_name_will_do() -> None:
    """A name is ready where only its IPv4 address has a listener."""
    with serving(silent) as port:
        assert attempt(f"tcp://localhost:{port}").state is State.READY


def test_endpoints_take_a_word_or_a_number() -> None:
    """Anything else is a bad declaration."""
    with pytest.raises(BadOptionsError, match="neither any, all nor a whole number"):
        Tcp.parse("tcp://db:5432", {"endpoints": ("most",)})


@pytest.mark.parametrize("target", ["tcp://db", "tcp://db:0", "tcp://:5432", "tcp://::1:5432", "tcp://db:5432/x"])
def test_a_target_without_host_or_port_is_a_bad_declaration(target: str) -> None:
    """Every target that names no host with a port is refused before anything is probed."""
    with pytest.raises(BadOptionsError):
        Tcp.parse(target, {})


async def dialled(where: Peer) -> Outcome:
    """Connect, hang up, and be ready."""
    (await connect(where)).close()
    return ready(str(where))


@pytest.mark.parametrize(
    ("wanted", "state"), [("any", State.READY), ("all", State.WAITING), (1, State.READY), (2, State.WAITING)]
)
def test_endpoints_count_the_addresses_that_pass(wanted: str | int, state: State) -> None:
    """Of one address that listens and one that refuses, any and 1 are met; all and 2 are not."""
    with serving(silent) as port, refusing("127.0.0.2") as closed:
        outcome = asyncio.run(over_peers([peer(port), peer(closed, "127.0.0.2")], wanted, dialled))
    assert outcome.state is state
    if state is State.WAITING:
        assert outcome == waiting(Reason.REFUSED, f"1 of 2 addresses; 127.0.0.2:{closed}", cheap=True)


def test_all_addresses_pass_where_all_listen() -> None:
    """All is met when each address accepts."""
    with serving(silent) as one, serving(silent, host="127.0.0.2") as two:
        outcome = asyncio.run(over_peers([peer(one), peer(two, "127.0.0.2")], "all", dialled))
    assert outcome == ready("2 of 2 addresses")


def test_more_endpoints_than_there_are_is_not_ready() -> None:
    """Three wanted of one existing address say how many there are."""
    with serving(silent) as port:
        outcome = asyncio.run(over_peers([peer(port)], 3, dialled))
    assert outcome == waiting(Reason.NO_DATA, "1 of 3 wanted addresses exist")


def test_enough_addresses_do_not_wait_for_a_silent_one() -> None:
    """Two of three pass at once, although the third never answers."""
    with serving(silent) as one, serving(silent, host="127.0.0.2") as two, half_open("127.0.0.3") as stuck:
        peers = [peer(stuck, "127.0.0.3"), peer(one), peer(two, "127.0.0.2")]

        async def run() -> Outcome:
            async with asyncio.timeout(5):
                return await enough_of(peers, 2, dialled)

        assert asyncio.run(run()) == ready("2 of 3 addresses")


def test_a_silent_first_address_holds_the_second_for_its_head_start_only() -> None:
    """Happy eyeballs: the second address is tried a head start after the first, and wins."""
    with half_open("127.0.0.3") as stuck, serving(silent) as port:
        began = time.monotonic()
        outcome = asyncio.run(over_peers([peer(stuck, "127.0.0.3"), peer(port)], "any", dialled))
        took = time.monotonic() - began
    assert outcome == ready(f"127.0.0.1:{port}")
    assert HEAD_START <= took < 5


def test_a_first_address_that_fails_gives_up_its_head_start() -> None:
    """A refusal starts the next address at once."""
    with refusing() as closed, serving(silent, host="::1") as port:
        began = time.monotonic()
        assert asyncio.run(over_peers([peer(closed), peer(port, "::1")], "any", dialled)).state is State.READY
        assert time.monotonic() - began < HEAD_START


def test_failures_of_several_addresses_are_summed_up_by_the_most_telling() -> None:
    """A hang-up says more than a refusal, and only where all are gone is the whole gone."""

    async def refused(_: int) -> Outcome:
        raise MissError(waiting(Reason.REFUSED, "a:1", cheap=True, gone=True))

    async def either(number: int) -> Outcome:
        raise MissError([waiting(Reason.REFUSED, "a:1", gone=True), waiting(Reason.CLOSED, "b:1")][number])

    assert asyncio.run(over_peers([1, 2], "any", refused)) == waiting(Reason.REFUSED, "a:1, a:1", cheap=True, gone=True)
    assert asyncio.run(over_peers([0, 1], "any", either)) == waiting(Reason.CLOSED, "b:1")


def test_one_hopeless_address_does_not_condemn_the_others() -> None:
    """Where one address can never be ready and another may, the whole may."""
    outcomes = [Outcome(State.FAILED, Reason.WRONG_PROTOCOL, "a"), waiting(Reason.REFUSED, "b")]

    async def miss(number: int) -> Outcome:
        return outcomes[number]

    assert asyncio.run(over_peers([0, 1], "any", miss)) == waiting(Reason.REFUSED, "b")
    assert asyncio.run(over_peers([0], "any", miss)) == outcomes[0]


@pytest.mark.root
@pytest.mark.needs("unshare", "ip")
def test_a_connection_to_oneself_is_a_refusal() -> None:
    """Without a listener the kernel may give our own end the very port that we ask for: that is no answer."""
    script = """
        import asyncio, pathlib
        from gatekeeper.probes.tcp import Tcp
        pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("40000 40001")
        async def run():
            probe = Tcp.parse("tcp://127.0.0.1:40000", {})
            return {(await probe.attempt()).reason.value for _ in range(50)}
        print(asyncio.run(run()))
    """
    assert namespace.run(script) == "{'refused'}"


async def cancelled_after(turns: int, work: Callable[[], Awaitable[object]]) -> bool:
    """Cancel after so many turns of the event loop; tell whether it had ended before."""
    task = asyncio.ensure_future(work())
    for _ in range(turns):
        await asyncio.sleep(0)
    if task.done():
        return True
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return False


def test_a_race_that_is_cancelled_at_any_turn_leaves_no_socket() -> None:
    """Whether nobody, the loser or the winner had connected, every socket is closed in the end."""

    async def run(peers: list[Peer]) -> None:
        async def race() -> None:
            won = await first_of(peers, connect, discard=lambda sock: sock.close(), head_start=0)
            won.close()

        before = descriptors()
        for turns in range(30):
            await cancelled_after(turns, race)
            await asyncio.sleep(0)
            assert left_over(before) == set()

    with serving(silent) as one, serving(silent, host="127.0.0.2") as two, half_open("127.0.0.3") as stuck:
        asyncio.run(run([peer(stuck, "127.0.0.3"), peer(one), peer(two, "127.0.0.2")]))


def test_a_cancelled_race_says_at_which_steps_it_was() -> None:
    """The notes of all addresses that were being tried reach whoever cancelled."""

    async def run(peers: list[Peer]) -> list[str]:
        task = asyncio.ensure_future(over_peers(peers, "any", dialled))
        await asyncio.sleep(2 * HEAD_START)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        return caught.value.__notes__

    with half_open("127.0.0.3") as one, half_open("127.0.0.4") as two:
        notes = asyncio.run(run([peer(one, "127.0.0.3"), peer(two, "127.0.0.4")]))
    assert sorted(notes) == [f"connecting to 127.0.0.3:{one}", f"connecting to 127.0.0.4:{two}"]


def test_escapes_stand_for_bytes() -> None:
    """The named escapes and two hexadecimal digits are replaced, everything else is itself."""
    assert escaped(r"PING\r\n\x00\t\\\0é") == b"PING\r\n\x00\t\\\x00\xc3\xa9"
    assert escaped("\udcff") == b"\xff"


@pytest.mark.parametrize("text", ["secret\\", r"\qsecret", r"secret\x1", "\ud800"])
def test_unknown_escapes_are_refused_and_not_quoted(text: str) -> None:
    """A backslash before anything else is an error, at the end too; what is sent may be a secret."""
    with pytest.raises(BadOptionsError) as bad:
        Tcp.parse("tcp://127.0.0.1:1", {"send": (text,)})
    assert "not shown" in str(bad.value)
    assert "secret" not in str(bad.value)
