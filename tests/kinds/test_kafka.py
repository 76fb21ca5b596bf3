"""Kafka: a real broker in each state it can be brought into, and scripted ones for those it cannot."""

import functools
import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from socket import socket

import attempts
import pytest
from badness import saying, serving
from certificates import Pair, authority, leaf
from discretion import told_nowhere
from kafkabroker import PASSWORD, Broker, broker, make_topic
from realservers import free_port, paused, until
from stopping import goes_for_good
from strangers import is_nothing_else

from gatekeeper.model import Outcome, Reason, State
from gatekeeper.probes import load
from gatekeeper.probes._options import BadOptionsError

pytestmark = [pytest.mark.needs("mvn", "java"), pytest.mark.timeout(600)]


attempt = functools.partial(attempts.attempt, secret=PASSWORD)


def told(outcome: Outcome | str) -> tuple[State, Reason]:
    """Return what an outcome says in two words."""
    assert isinstance(outcome, Outcome), outcome
    return outcome.state, outcome.reason


READY = (State.READY, Reason.READY)
FORBIDDEN = (State.FAILED, Reason.FORBIDDEN)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pair, Pair]:
    """Return an authority and a certificate for localhost."""
    folder = tmp_path_factory.mktemp("certificates")
    issuer = authority(folder)
    return issuer, leaf(folder, issuer, "localhost")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, pair: tuple[Pair, Pair]) -> Iterator[Broker]:
    """Give a broker that has started, with a topic of three partitions."""
    with broker(tmp_path_factory.mktemp("kafka"), pair[1]) as found:
        make_topic(found.ports["PLAIN"], b"orders", 3)
        orders = f"kafka://127.0.0.1:{found.ports['PLAIN']}"
        until(lambda: told(attempt(orders, topic="orders")) == READY, "the topic to have leaders")
        yield found


def noticed(running: Broker, before: list[str]) -> list[str]:
    """Return what the log has got of us since; the broker may still tell of its own start."""
    ours = re.compile("sasl|authenticat|gatekeeper|illegal|exception|disconnect", re.IGNORECASE)
    return [line for line in running.log()[len(before) :] if ours.search(line)]


def test_a_broker_is_ready_once_it_knows_its_cluster(running: Broker) -> None:
    """At a listener that wants no login; one of several bootstrap hosts is enough."""
    port = running.ports["PLAIN"]
    assert attempt(f"kafka://127.0.0.1:{port}") == Outcome(State.READY, Reason.READY, f"127.0.0.1:{port}")
    both = f"kafka://127.0.0.1:{free_port()},127.0.0.1:{port}"
    assert told(attempt(both)) == READY
    assert told(attempt(both, endpoints="all")) == (State.WAITING, Reason.REFUSED)
    found = attempt(f"kafka://127.0.0.1:{port}", brokers="3")
    assert isinstance(found, Outcome)
    assert (*told(found), found.detail) == (State.WAITING, Reason.STARTING, f"127.0.0.1:{port} (1 of 3 brokers)")


def test_a_topic_must_be_there_with_its_partitions(running: Broker) -> None:
    """One that is not there is not made by being asked for."""
    target = f"kafka://127.0.0.1:{running.ports['PLAIN']}"
    assert told(attempt(target, topic="orders", partitions="3")) == READY
    found = attempt(target, topic="orders", partitions="4")
    assert isinstance(found, Outcome)
    assert told(found) == (State.WAITING, Reason.UNWANTED_ANSWER)
    assert found.detail.endswith("(topic orders: 3 of 4 partitions)")
    for _ in range(2):
        found = attempt(target, topic="orders,payments")
        assert isinstance(found, Outcome)
        assert (*told(found), found.gone) == (State.WAITING, Reason.NOT_FOUND, True)
        assert found.detail.endswith("(topic payments)")


def test_a_listener_that_wants_a_login_is_ready_without_a_word_in_its_log(running: Broker) -> None:
    """It is past its start; what only somebody who has logged in can see to is then forbidden."""
    target = f"kafka://127.0.0.1:{running.ports['SASL']}"
    before = running.log()
    assert told(attempt(target)) == (State.READY, Reason.READY_AUTH_REQUIRED)
    assert told(attempt(target.replace("//", "//alice@"))) == (State.READY, Reason.READY_AUTH_REQUIRED)
    assert told(attempt(target.replace("//", f"//alice:{PASSWORD}@"), login="no"))[1] is Reason.READY_AUTH_REQUIRED
    for options in ({"topic": "orders"}, {"brokers": "2"}, {"advertised": "yes"}):
        assert told(attempt(target, **options)) == FORBIDDEN
    assert noticed(running, before) == []


@pytest.mark.parametrize(("user", "mechanism"), [("alice", "PLAIN"), ("bob", "SCRAM-SHA-512")])
def test_who_gives_a_password_is_logged_in(running: Broker, tmp_path: Path, user: str, mechanism: str) -> None:
    """By each mechanism, from the target or from a file; a wrong password can never succeed."""
    port = running.ports["SASL"]
    assert told(attempt(f"kafka://{user}:{PASSWORD}@127.0.0.1:{port}", mechanism=mechanism)) == READY
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    given = {"mechanism": mechanism, "password_file": str(tmp_path / "password")}
    assert told(attempt(f"kafka://{user}@127.0.0.1:{port}", **given)) == READY
    (tmp_path / "password").write_text("other")
    assert told(attempt(f"kafka://{user}@127.0.0.1:{port}", **given)) == FORBIDDEN
    (tmp_path / "password").unlink()
    assert told(attempt(f"kafka://{user}@127.0.0.1:{port}", **given)) == (State.WAITING, Reason.NOT_FOUND)


def test_a_password_stands_in_nothing_that_is_said(running: Broker, tmp_path: Path) -> None:
    """Be it the right one or not, whatever the command."""
    lines = (f"it{end}=kafka://alice:{PASSWORD}{end}@127.0.0.1:{running.ports['SASL']}" for end in ("", "x"))
    assert "refuse" in told_nowhere(PASSWORD, "\n".join(lines), tmp_path)


def test_a_login_that_cannot_be_is_said(running: Broker) -> None:
    """A mechanism that is not offered is for good; a listener that wants none may be another one tomorrow."""
    found = attempt(f"kafka://bob:{PASSWORD}@127.0.0.1:{running.ports['SASL']}", mechanism="SCRAM-SHA-256")
    assert told(found) == FORBIDDEN
    assert "(it does not offer the mechanism SCRAM-SHA-256)" in str(found)
    found = attempt(f"kafka://alice:{PASSWORD}@127.0.0.1:{running.ports['PLAIN']}")
    assert told(found) == (State.WAITING, Reason.UNWANTED_ANSWER)


def test_a_topic_that_may_not_be_seen_is_forbidden(running: Broker) -> None:
    """Whether it is there, the broker does not say then; both the topic and the permission may be made yet."""
    target = f"kafka://bob:{PASSWORD}@127.0.0.1:{running.ports['SASL']}"
    for topic in ("orders", "payments"):
        assert told(attempt(target, mechanism="SCRAM-SHA-512", topic=topic)) == (State.WAITING, Reason.FORBIDDEN)


def test_brokers_are_reached_where_they_tell_clients_to_go(running: Broker) -> None:
    """A broker that answers here and sends everybody elsewhere is no use; asked for, that is looked at."""
    assert told(attempt(f"kafka://127.0.0.1:{running.ports['PLAIN']}", advertised="yes", topic="orders")) == READY
    assert told(attempt(f"kafka://127.0.0.1:{running.ports['ODD']}")) == READY
    found = attempt(f"kafka://127.0.0.1:{running.ports['ODD']}", advertised="yes")
    assert isinstance(found, Outcome)
    assert (*told(found), found.gone) == (State.WAITING, Reason.REFUSED, False)
    assert f":{running.ports['dead']}" in found.detail


def test_a_listener_over_tls_is_verified(running: Broker, pair: tuple[Pair, Pair]) -> None:
    """Any option of TLS speaks it; without one, the alert that comes back is another protocol."""
    port, issuer = running.ports["TLS"], str(pair[0].cert)
    assert told(attempt(f"kafka://localhost:{port}", ca=issuer, advertised="yes")) == READY
    listed = f"kafka://SSL://localhost:{port},SSL://localhost:{port}"
    assert told(attempt(listed, ca=issuer)) == READY
    assert told(attempt(listed)) == (State.WAITING, Reason.TLS_FAILED)
    assert told(attempt(f"kafka://localhost:{port}", tls="yes")) == (State.WAITING, Reason.TLS_FAILED)
    assert told(attempt(f"kafka://127.0.0.1:{port}", ca=issuer)) == (State.WAITING, Reason.TLS_FAILED)
    found = attempt(f"kafka://localhost:{port}")
    assert told(found) == (State.WAITING, Reason.WRONG_PROTOCOL)
    assert "(it answers in TLS, which tls=yes speaks)" in str(found)
    plain = running.ports["PLAIN"]
    assert attempt(f"kafka://localhost:{plain}", 60, ca=issuer) != READY


def test_a_listener_of_a_controller_serves_no_clients(running: Broker) -> None:
    """It says so by what it takes, and is not asked for what it would log as an error."""
    before = running.log()
    found = attempt(f"kafka://127.0.0.1:{running.ports['CONTROLLER']}")
    assert told(found) == (State.WAITING, Reason.UNWANTED_ANSWER)
    assert noticed(running, before) == []


def test_a_broker_that_is_paused_is_not_ready(running: Broker) -> None:
    """Its port accepts still; the attempt says at which step its time was over."""
    port = running.ports["PLAIN"]
    with paused(running.process):
        assert attempt(f"kafka://127.0.0.1:{port}", 0.2) == f"waiting for an answer of 127.0.0.1:{port}"


def test_a_broker_that_finds_no_controller_is_not_ready(tmp_path: Path, pair: tuple[Pair, Pair]) -> None:
    """In KRaft it does not listen before it has caught up; and one that has gone is refused again."""
    with broker(tmp_path, pair[1], alone=False) as found:
        log = tmp_path / "log"
        until(lambda: "still catching up" in log.read_text(errors="replace"), "the broker to look for its controller")
        assert told(attempt(f"kafka://127.0.0.1:{found.ports['PLAIN']}")) == (State.WAITING, Reason.REFUSED)


def test_a_broker_that_stops_is_ready_no_more(running: Broker) -> None:
    """To no other protocol it was. On its way down it hangs up or refuses; no test of it follows."""
    is_nothing_else(running.ports["PLAIN"], "kafka")
    login = f"kafka://alice:{PASSWORD}@127.0.0.1:{running.ports['SASL']}"
    goes_for_good(running.process, f"kafka://127.0.0.1:{running.ports['PLAIN']}", login)


def text(value: bytes) -> bytes:
    """Return a string as it is sent."""
    return struct.pack(">h", len(value)) + value


VERSIONS = struct.pack(">hi" + "hhh" * 3, 0, 3, 3, 0, 13, 17, 0, 1, 18, 0, 4)
NO_LOGIN = struct.pack(">hi", 34, 0)
ONE = struct.pack(">ii", 0, 1) + struct.pack(">i", 1) + text(b"kafka-1") + struct.pack(">ih", 9092, -1) + text(b"id")


def topic(error: int, *partitions: tuple[int, int]) -> bytes:
    """Return a topic as it is sent, each partition with its error and its leader."""
    sent = b"".join(struct.pack(">hiiiiii", code, at, who, 1, 1, 1, 1) for at, (code, who) in enumerate(partitions))
    return struct.pack(">h", error) + text(b"orders") + b"\0" + struct.pack(">i", len(partitions)) + sent


def cluster(controller: int, *topics: bytes) -> bytes:
    """Return an answer to Metadata, with one broker that is number 1."""
    return ONE + struct.pack(">ii", controller, len(topics)) + b"".join(topics)


def scripted(answers: dict[int, bytes], client: socket) -> None:
    """Answer each request by its key."""
    with client.makefile("rb") as come:
        while size := come.read(4):
            request = come.read(*struct.unpack(">i", size))
            key, _, number = struct.unpack(">hhi", request[:8])
            client.sendall(struct.pack(">ii", 4 + len(answers[key]), number) + answers[key])


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (struct.pack(">iihii", 0, 0, -1, -1, 0), Reason.STARTING),  # it knows of no broker
        (cluster(-1), Reason.STARTING),
        (cluster(2), Reason.STARTING),
        (cluster(1, topic(5)), Reason.STARTING),
        (cluster(1, topic(0, (0, 1), (5, -1))), Reason.STARTING),
        (cluster(1, topic(0)), Reason.STARTING),
        (cluster(1, topic(3)), Reason.NOT_FOUND),
        (cluster(1), Reason.NOT_FOUND),
        (cluster(1, topic(29)), Reason.FORBIDDEN),
        (cluster(1, topic(7)), Reason.UNWANTED_ANSWER),
        (cluster(1, topic(0, (0, 1), (0, 1))), Reason.READY),
        (cluster(1, topic(0, (0, 1), (0, 1)))[:-1], Reason.WRONG_PROTOCOL),
        (b"", Reason.WRONG_PROTOCOL),
    ],
)
def test_what_a_broker_knows_is_weighed(answer: bytes, reason: Reason) -> None:
    """No controller, no leader: not yet. An answer that is cut is none."""
    answers = {18: VERSIONS, 17: NO_LOGIN, 3: answer}
    with serving(lambda client, _: scripted(answers, client)) as port:
        found = attempt(f"kafka://127.0.0.1:{port}", topic="orders")
    assert told(found) == (State.READY if reason is Reason.READY else State.WAITING, reason)
    assert "kafka-1" not in str(found)


def test_a_driver_that_is_too_old_is_none(tmp_path: Path) -> None:
    """An application may have another version of it installed: that is said before anything is waited for."""
    old = tmp_path / "kafka"
    (old / "sasl").mkdir(parents=True)
    (old / "__init__.py").touch()
    declare = "from gatekeeper.probes import load; load('kafka').parse('kafka://a:b@c', {})"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))}
    done = subprocess.run([sys.executable, "-c", declare], env=environ, capture_output=True, text=True, check=False)
    assert "logging in needs a driver: pip install 'gatekeeper-agent[kafka]'" in done.stderr


@pytest.mark.parametrize("proof", [b"", b"v=AAAA", b"e=other-error", b"r=x,s=AAAA,i=99999999", b"\xff"])
def test_a_broker_that_cannot_know_the_password_is_not_believed(proof: bytes) -> None:
    """SCRAM has the broker prove that it knows the password too (RFC 5802)."""
    answers = {18: VERSIONS, 17: struct.pack(">hi", 0, 0), 36: struct.pack(">hhi", 0, -1, len(proof)) + proof}
    with serving(lambda client, _: scripted(answers, client)) as port:
        found = attempt(f"kafka://bob:{PASSWORD}@127.0.0.1:{port}", mechanism="SCRAM-SHA-256")
    assert told(found) == (State.WAITING, Reason.UNWANTED_ANSWER)


@pytest.mark.parametrize(
    "banner",
    [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", struct.pack(">iihi", 10, 7, 0, 0), b"\0\0\0\0"],
)
def test_another_protocol_is_said_and_waited_out(banner: bytes) -> None:
    """A size that no answer has, or the number of another request; what was said is not repeated."""
    with serving(saying(banner)) as port:
        found = attempt(f"kafka://127.0.0.1:{port}")
    assert told(found) == (State.WAITING, Reason.WRONG_PROTOCOL)


@pytest.mark.parametrize(
    ("target", "options", "problem"),
    [
        (
            "kafka://SASL_SSL://a:PASSWORD@kafka",
            {},
            "has a user behind SSL:// or the like: write it in front",
        ),
        ("kafka://SSL://a,PLAINTEXT://b", {}, "lists servers of several protocols: declare them on their own"),
        ("kafka://SASL_SSL://kafka/orders", {}, "takes nothing behind the port: write kafka://HOST:PORT"),
        ("kafka://kafka/orders", {}, "takes nothing behind the port: write kafka://HOST:PORT"),
        ("kafka://kafka", {"partitions": "3"}, "partitions: needs topic, whose partitions are counted"),
        ("kafka://kafka", {"topic": "a b"}, "'a b' is no name of a topic"),
        ("kafka://kafka", {"mechanism": "PLAIN"}, "mechanism: is for who logs in: give password_file"),
        ("kafka://kafka", {"login": "yes"}, "login: needs a password: give password_file"),
        ("kafka://:PASSWORD@kafka", {}, "target: logs in without a user: write kafka://USER@HOST:PORT"),
        ("kafka://a:PASSWORD@kafka", {"password_file": "/x"}, "password_file: is a second password: leave one out"),
        ("kafka://kafka", {"mechanism": "GSSAPI"}, "'GSSAPI' is not one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"),
    ],
)
def test_a_bad_declaration_says_what_is_right(target: str, options: dict[str, str], problem: str) -> None:
    """Each problem names its place, and no password."""
    with pytest.raises(BadOptionsError) as caught:
        load("kafka").parse(target, {key: (value,) for key, value in options.items()})
    assert problem in str(caught.value)
    assert "PASSWORD" not in str(caught.value)
