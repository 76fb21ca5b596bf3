"""NTP: a real chronyd that is synchronised or not, and scripted servers for what it never says."""

import asyncio
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from badness import MARK, descriptors, left_over
from realservers import accepts, free_port, paused, started, until
from stopping import goes_for_good

from gatekeeper.model import Outcome, Reason, State
from gatekeeper.probes import load
from gatekeeper.probes._options import BadOptionsError

Answers = Callable[[bytes], list[bytes]]


def attempt(target: str, seconds: float = 60.0, **options: str) -> Outcome | str:
    """Make one attempt; return its outcome, or the step at which its time was over."""

    async def once() -> Outcome | str:
        before = descriptors()
        probe = load("ntp").parse(target, {key: (value,) for key, value in options.items()})
        try:
            async with asyncio.timeout(seconds):
                outcome: Outcome = await probe.attempt()
                assert MARK.decode() not in str(outcome)
                return outcome
        except TimeoutError as error:
            return str(error.__context__.__notes__[0])  # type: ignore[union-attr]
        finally:
            assert left_over(before) == set()
            assert len(asyncio.all_tasks()) == 1

    return asyncio.run(once())


def told(outcome: Outcome | str) -> tuple[State, Reason]:
    """Return what an outcome says in two words."""
    assert isinstance(outcome, Outcome), outcome
    return outcome.state, outcome.reason


@contextmanager
def chronyd(folder: Path, *settings: str) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    """Run a chronyd that leaves the clock of this machine alone, and give its port and its process."""
    port = free_port(socket.SOCK_DGRAM)
    lines = [f"port {port}", "bindaddress 127.0.0.1", "allow 127.0.0.1", "cmdport 0", f"pidfile {folder / 'pid'}"]
    (folder / "conf").write_text("\n".join([*lines, "bindcmdaddress /", *settings]) + "\n")
    argv = ["chronyd", "-d", "-x", "-U", "-u", "root", "-f", folder / "conf"]
    with started(argv, folder=folder, up=lambda: "starting" in (folder / "log").read_text()) as process:
        until(lambda: told(attempt(f"ntp://127.0.0.1:{port}"))[1] is not Reason.REFUSED, "chronyd to answer")
        yield port, process


@pytest.mark.root
@pytest.mark.needs("chronyd")
def test_a_server_is_ready_once_its_clock_is_synchronised(tmp_path: Path) -> None:
    """Without a source it answers and is not; with its own clock for one it is; paused, it is silent; then it goes."""
    with chronyd(tmp_path) as (port, _):
        found = attempt(f"ntp://127.0.0.1:{port}")
        assert isinstance(found, Outcome)
        assert (*told(found), found.cheap) == (State.WAITING, Reason.STARTING, False)
        assert found.detail == f"127.0.0.1:{port} (its clock is not synchronised)"
    with chronyd(tmp_path, "local stratum 10") as (port, process):
        target = f"ntp://127.0.0.1:{port}"
        assert attempt(target) == Outcome(State.READY, Reason.READY, f"127.0.0.1:{port}")
        with paused(process):
            assert attempt(target, 0.2) == f"waiting for an answer of 127.0.0.1:{port}"
        goes_for_good(process, target, seconds=1)  # a question that comes at the last moment is left without an answer


NAMED = """
options {{
    directory "{folder}";
    pid-file none;
    session-keyfile none;
    listen-on port {port} {{ 127.0.0.1; }};
    listen-on-v6 {{ none; }};
    query-source address 127.0.0.1;
    recursion no;
    dnssec-validation no;
}};
controls {{ }};
"""


@pytest.mark.needs("named")
def test_a_nameserver_is_no_time_server(tmp_path: Path) -> None:
    """The question is none to it, and what it says of that no answer."""
    port = free_port()
    (tmp_path / "conf").write_text(NAMED.format(folder=tmp_path, port=port))
    with started(["named", "-g", "-c", tmp_path / "conf"], folder=tmp_path, up=lambda: accepts(port)):
        assert told(attempt(f"ntp://127.0.0.1:{port}")) == (State.WAITING, Reason.WRONG_PROTOCOL)


def test_nobody_there_is_refused() -> None:
    """The kernel of the other side says so (ICMP), and that proves that the server is gone."""
    found = attempt(f"ntp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}")
    assert isinstance(found, Outcome)
    assert (*told(found), found.cheap, found.gone) == (State.WAITING, Reason.REFUSED, True, True)


@contextmanager
def answering(answers: Answers) -> Iterator[int]:
    """Answer each datagram with these."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                request, client = sock.recvfrom(2048)
                if not request:
                    return
                for answer in answers(request):
                    sock.sendto(answer, client)

        serving = threading.Thread(target=serve)
        serving.start()
        try:
            yield sock.getsockname()[1]
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
                end.sendto(b"", sock.getsockname())
            serving.join()


def answer(request: bytes, leap: int = 0, stratum: int = 2, code: bytes = b"\x7f\0\0\1", mode: int = 4) -> bytes:
    """Return the answer to a request."""
    return bytes([leap << 6 | 4 << 3 | mode, stratum]).ljust(12, b"\0") + code + bytes(8) + request[40:48] + bytes(16)


@pytest.mark.parametrize(
    ("answers", "state", "reason"),
    [
        (lambda request: [answer(request)], State.READY, Reason.READY),
        (lambda request: [answer(request) + b"an extension"], State.READY, Reason.READY),
        (lambda request: [answer(request, leap=1, stratum=15)], State.READY, Reason.READY),
        (lambda request: [answer(request, leap=3)], State.WAITING, Reason.STARTING),
        (lambda request: [answer(request, stratum=16)], State.WAITING, Reason.STARTING),
        (lambda request: [answer(request, stratum=0, code=b"INIT")], State.WAITING, Reason.STARTING),
        (lambda request: [answer(request, stratum=0, code=b"RATE")], State.WAITING, Reason.STARTING),
        (lambda request: [answer(request, stratum=0, code=b"DENY")], State.FAILED, Reason.FORBIDDEN),
        (lambda request: [answer(request, stratum=0, code=b"RSTR")], State.FAILED, Reason.FORBIDDEN),
        (lambda request: [answer(bytes(48)), answer(request)], State.READY, Reason.READY),  # of another question
        (lambda _: [answer(bytes(48))] * 50, State.WAITING, Reason.WRONG_PROTOCOL),
        (lambda request: [request], State.WAITING, Reason.WRONG_PROTOCOL),  # an echo
        (lambda request: [answer(request)[:47]], State.WAITING, Reason.WRONG_PROTOCOL),
        (lambda _: [b"\x00\xff\x80" + MARK], State.WAITING, Reason.WRONG_PROTOCOL),
        (lambda _: [b""], State.WAITING, Reason.WRONG_PROTOCOL),
    ],
)
def test_what_a_server_answers_is_weighed(answers: Answers, state: State, reason: Reason) -> None:
    """Leap indicator, stratum and kiss codes (RFC 5905, 7.3 and 7.4); the answer must be that of the question."""
    with answering(answers) as port:
        found = attempt(f"ntp://127.0.0.1:{port}")
    assert told(found) == (state, reason)


def test_a_server_that_is_asked_too_often_says_so() -> None:
    """Its own pace is kept."""
    with answering(lambda request: [answer(request, stratum=0, code=b"RATE")]) as port:
        found = attempt(f"ntp://127.0.0.1:{port}")
    assert isinstance(found, Outcome)
    assert found.retry_after == 64


def test_silence_lasts_as_long_as_the_attempt() -> None:
    """A datagram that is lost is not seen; the attempt ends with its time, and the next one asks again."""
    with answering(lambda _: []) as port:
        assert attempt(f"ntp://127.0.0.1:{port}", 0.1) == f"waiting for an answer of 127.0.0.1:{port}"


def test_nothing_of_this_machine_is_in_the_question() -> None:
    """Two questions differ in the random number alone."""
    asked: list[bytes] = []
    with answering(lambda request: asked.append(request) or [answer(request)]) as port:  # type: ignore[func-returns-value]
        for _ in range(2):
            attempt(f"ntp://127.0.0.1:{port}")
    one, other = asked
    assert one[:40] == other[:40] == b"\x23" + bytes(39)
    assert one[40:] != other[40:]


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("ntp://a@h", "takes no user or password: write ntp://HOST:PORT"),
        ("ntp://h/x", "takes nothing behind the port: write ntp://HOST:PORT"),
        ("ntp://", "has no host: write ntp://HOST:PORT"),
    ],
)
def test_a_bad_declaration_says_what_is_right(target: str, problem: str) -> None:
    """There is nothing but a host and a port."""
    with pytest.raises(BadOptionsError) as caught:
        load("ntp").parse(target, {})
    assert problem in str(caught.value)
