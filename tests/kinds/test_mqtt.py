"""mqtt: mosquitto in each of its states, brokers that say what mosquitto never does, and what else may listen there."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from attempts import attempt, cancelled_at_every_turn, found
from badness import saying, serving
from certificates import Pair, authority, leaf
from discretion import told_nowhere
from realservers import free_port, paused, started, until
from stopping import goes_for_good
from strangers import is_nothing_else

from gatekeeper.model import Outcome, Reason, State
from gatekeeper.probes._options import BadOptionsError
from gatekeeper.probes.mqtt import Mqtt

PASSWORD = "sesame-93b7"
READY, AUTH, FORBIDDEN = ("ready", "ready"), ("ready", "ready_auth_required"), ("failed", "forbidden")
REFUSED_IN_TLS = [("waiting", reason) for reason in ("tls_failed", "reset", "closed")]
needs_mosquitto = pytest.mark.needs("mosquitto", "mosquitto_passwd")
VERSIONS = pytest.mark.parametrize("version", ["3.1.1", "5"])


class Mosquitto(NamedTuple):
    """A mosquitto with a listener of each sort."""

    open: int
    locked: int
    secure: int
    mutual: int
    path: Path
    folder: Path
    process: "subprocess.Popen[bytes]"
    trust: Pair
    client: Pair
    starting: list[Outcome]

    @property
    def log(self) -> str:
        """Return what it has logged."""
        return (self.folder / "log").read_text()


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """Give a mosquitto that has started."""
    folder = tmp_path_factory.mktemp("mosquitto")
    trust = authority(folder)
    server, client = leaf(folder, trust, "127.0.0.1"), leaf(folder, trust, "gatekeeper")
    ports = [free_port() for _ in range(4)]
    users, path = folder / "users", folder / "socket"
    users.touch(0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(users), "app", PASSWORD], check=True, capture_output=True)
    tls = f"cafile {trust.cert}\ncertfile {server.cert}\nkeyfile {server.key}\n"
    (folder / "conf").write_text(
        f"per_listener_settings true\n{'user root' if os.geteuid() == 0 else ''}\n"
        f"listener {ports[0]} 127.0.0.1\nallow_anonymous true\n"
        f"listener {ports[1]} 127.0.0.1\nallow_anonymous false\npassword_file {users}\n"
        f"listener {ports[2]} 127.0.0.1\nallow_anonymous true\n{tls}"
        f"listener {ports[3]} 127.0.0.1\nallow_anonymous true\n{tls}require_certificate true\n"
        f"listener 0 {path}\nallow_anonymous true\n"
    )
    starting: list[Outcome] = []

    def up() -> bool:
        outcome = attempt(f"mqtt://127.0.0.1:{ports[0]}")
        assert isinstance(outcome, Outcome)
        starting.append(outcome)
        return outcome.state is State.READY and path.exists()

    with started(["mosquitto", "-c", folder / "conf"], folder=folder, up=up) as process:
        yield Mosquitto(*ports, path, folder, process, trust, client, starting)


@needs_mosquitto
@VERSIONS
def test_a_broker_is_ready_once_it_takes_a_connection(mosquitto: Mosquitto, version: str) -> None:
    """Until it listens it is refused; one that wants a login has started as well, and is told apart."""
    assert {each.reason for each in mosquitto.starting if each.state is not State.READY} <= {Reason.REFUSED}
    expected = Outcome(State.READY, Reason.READY, f"127.0.0.1:{mosquitto.open}")
    assert attempt(f"mqtt://127.0.0.1:{mosquitto.open}", version=version) == expected
    assert found(f"mqtt://127.0.0.1:{mosquitto.locked}", version=version) == AUTH
    assert found(f"mqtt://app:wrong@127.0.0.1:{mosquitto.locked}", version=version, login="no") == AUTH
    assert found("mqtt://", unix=str(mosquitto.path), version=version) == READY


@needs_mosquitto
@VERSIONS
def test_who_has_a_password_is_let_in(mosquitto: Mosquitto, version: str, tmp_path: Path) -> None:
    """A right one is ready, a wrong one or an unknown user can never be."""
    (tmp_path / "password").write_text(PASSWORD)
    where = f"127.0.0.1:{mosquitto.locked}"
    assert found(f"mqtt://app:{PASSWORD}@{where}", version=version) == READY
    assert found(f"mqtt://app@{where}", version=version, password_file=str(tmp_path / "password")) == READY
    assert found(f"mqtt://app:wrong@{where}", version=version) == FORBIDDEN
    assert found(f"mqtt://nobody:{PASSWORD}@{where}", version=version) == FORBIDDEN
    assert found(f"mqtt://app@{where}", version=version, login="yes") == FORBIDDEN
    (tmp_path / "password").write_text("x" * 70_000)
    assert found(f"mqtt://app@{where}", version=version, password_file=str(tmp_path / "password")) == (
        "waiting",
        "forbidden",
    )


@needs_mosquitto
def test_tls_is_spoken_where_it_is_declared(mosquitto: Mosquitto) -> None:
    """A certificate is verified; one of ours is shown where it is wanted; without TLS nobody answers there."""
    ca, cert, key = str(mosquitto.trust.cert), str(mosquitto.client.cert), str(mosquitto.client.key)
    assert found(f"mqtts://127.0.0.1:{mosquitto.secure}") == ("waiting", "tls_failed")
    assert found(f"mqtts://127.0.0.1:{mosquitto.secure}", ca=ca) == READY
    assert found(f"mqtt://127.0.0.1:{mosquitto.secure}", insecure="yes") == READY
    # In TLS 1.3 the refusal crosses what we say next, and the reset that answers that may overtake it.
    assert found(f"mqtts://127.0.0.1:{mosquitto.mutual}", ca=ca) in REFUSED_IN_TLS
    assert found(f"mqtts://127.0.0.1:{mosquitto.mutual}", ca=ca, cert=cert, key=key) == READY
    assert found(f"mqtts://127.0.0.1:{mosquitto.open}", ca=ca)[0] == "waiting"
    assert found(f"mqtt://127.0.0.1:{mosquitto.secure}")[1] in ("closed", "reset")


def _untimed(log: str) -> str:
    return "\n" + "\n".join(line.partition(": ")[2] for line in log.splitlines())


@needs_mosquitto
def test_a_broker_that_is_paused_is_not_ready(mosquitto: Mosquitto) -> None:
    """Its port accepts still; the attempt says at which step its time was over."""
    with paused(mosquitto.process):
        assert (
            attempt(f"mqtt://127.0.0.1:{mosquitto.open}", 0.2) == f"waiting for an answer of 127.0.0.1:{mosquitto.open}"
        )
        before = len(mosquitto.log)
    # It deals with that attempt now, which must not stand in what the next test reads.
    until(lambda: "\nClient gatekeeper-" in _untimed(mosquitto.log[before:]), "the log")


@needs_mosquitto
def test_a_broker_sees_who_came_and_a_proper_end(mosquitto: Mosquitto) -> None:
    """Each attempt has a client id of its own, unless one is declared, and says DISCONNECT."""
    before = len(mosquitto.log)

    def noted() -> list[str]:  # from the first connection on: those before may end just now
        lines = mosquitto.log[before:].splitlines()
        return lines[next((number for number, line in enumerate(lines) if "New connection" in line), len(lines)) :]

    for options in ({}, {}, {"client_id": "door"}):
        found(f"mqtt://127.0.0.1:{mosquitto.open}", **options)
    until(lambda: sum("disconnected" in line for line in noted()) == 3, "the log")
    lines = noted()
    clients = [line.partition(" as ")[2].split(" ")[0] for line in lines if " as " in line]
    assert [client[:11] for client in clients] == ["gatekeeper-", "gatekeeper-", "door"]
    assert len(set(clients)) == 3
    assert all(len(client) <= 23 for client in clients)
    assert sum(line.endswith(" disconnected.") for line in lines) == 3  # and not 'closed its connection'
    assert len(lines) == 9  # the connection, which it notes of everybody, the client, and its end


@needs_mosquitto
def test_a_password_is_told_nowhere(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """Neither a right one nor a wrong one, whatever comes of it."""
    where = f"127.0.0.1:{mosquitto.locked}"
    lines = (f"right=mqtt://app:{PASSWORD}@{where}", f"wrong=mqtt://nobody:{PASSWORD}@{where} version=5")
    assert "it refuses user and password" in told_nowhere(PASSWORD, "\n".join(lines), tmp_path)
    told_nowhere(PASSWORD, f"mq=mqtt://app:{PASSWORD}@{where}/{PASSWORD}?{PASSWORD}", tmp_path)


@needs_mosquitto
def test_a_broker_that_is_stopped_is_gone(mosquitto: Mosquitto) -> None:
    """Also for who waits for that; to no other protocol it was ready. No test of it follows."""
    target, login = f"mqtt://127.0.0.1:{mosquitto.open}", f"mqtt://app:{PASSWORD}@127.0.0.1:{mosquitto.locked}"
    is_nothing_else(mosquitto.open, "mqtt")
    goes_for_good(mosquitto.process, target, login)
    outcome = attempt(target)
    assert isinstance(outcome, Outcome)
    assert (outcome.reason, outcome.gone) == (Reason.REFUSED, True)


@pytest.mark.parametrize(
    ("version", "answer", "expected"),
    [  # byte for byte as MQTT 3.1.1, 3.2 and MQTT 5.0, 3.2 say
        ("3.1.1", "20020000", READY),
        ("3.1.1", "20020001", ("waiting", "wrong_protocol")),
        ("3.1.1", "20020002", ("waiting", "forbidden")),
        ("3.1.1", "20020003", ("waiting", "starting")),
        ("3.1.1", "20020004", AUTH),
        ("3.1.1", "20020005", AUTH),
        ("3.1.1", "20020006", ("waiting", "unwanted_answer")),
        ("5", "2003000000", READY),
        ("5", "20090000062200102100 14", READY),
        ("5", "20020001", ("waiting", "wrong_protocol")),  # a broker of 3.1.1 answers in its own words
        ("5", "2003008400", ("waiting", "wrong_protocol")),
        ("5", "2003008700", AUTH),
        ("5", "2003008800", ("waiting", "starting")),
        ("5", "2003008900", ("waiting", "starting")),
        ("5", "2003008a00", ("waiting", "forbidden")),
        ("5", "2003009d00", ("waiting", "unwanted_answer")),  # server moved
        ("5", "20ffff7f", ("waiting", "wrong_protocol")),  # two megabytes
        ("3.1.1", "200100", ("waiting", "wrong_protocol")),
        ("3.1.1", "20024000", ("waiting", "wrong_protocol")),
        ("3.1.1", "d000", ("waiting", "wrong_protocol")),
    ],
)
def test_each_code_has_its_meaning(version: str, answer: str, expected: tuple[str, str]) -> None:
    """What mosquitto never says is said by a server of its own words."""
    with serving(saying(bytes.fromhex(answer))) as port:
        assert found(f"mqtt://127.0.0.1:{port}", version=version) == expected
        if expected == AUTH:
            refused = attempt(f"mqtt://a:b@127.0.0.1:{port}", version=version)
            assert isinstance(refused, Outcome)
            assert (refused.state, refused.reason, refused.certain) == (State.FAILED, Reason.FORBIDDEN, True)
        else:
            assert found(f"mqtt://a:b@127.0.0.1:{port}", version=version) == expected


def test_a_driver_is_loaded_beside_the_loop() -> None:
    """Loading takes long where there is little CPU; signals and other attempts do not wait for it."""
    turns = """if True:
        import asyncio, sys
        from gatekeeper.probes._account import loaded

        async def run():
            task = asyncio.ensure_future(loaded("gatekeeper.probes._mqtt_login"))
            turns = 0
            while not task.done():
                await asyncio.sleep(0.001)
                turns += 1
            await task
            assert "paho.mqtt.client" in sys.modules
            assert turns > 1, turns

        asyncio.run(run())
    """
    subprocess.run([sys.executable, "-c", turns], check=True)


@pytest.mark.parametrize("banner", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\x00"])
def test_another_protocol_is_said_and_waited_out(banner: bytes) -> None:
    """The port may be taken over one day; what was said is not repeated."""
    with serving(saying(banner)) as port:
        outcome = attempt(f"mqtt://127.0.0.1:{port}")
    assert isinstance(outcome, Outcome)
    assert (outcome.state, outcome.reason) == (State.WAITING, Reason.WRONG_PROTOCOL)
    assert outcome.detail == f"127.0.0.1:{port} (it answers in another protocol)"


def test_a_login_that_is_cancelled_leaves_nothing_behind() -> None:
    """At whatever step the cancellation comes."""
    with serving(saying(b"\x20\x02\x00")) as port:
        cancelled_at_every_turn(f"mqtt://a:b@127.0.0.1:{port}", 20)


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("mqtt://mq", {"login": "yes"}, "logs in and names no user: write mqtt://USER@HOST"),
        ("mqtt://:b@mq", {}, "logs in and names no user: write mqtt://USER@HOST"),
        ("mqtt://mq/topic", {}, "takes nothing behind the port: write mqtt://HOST:PORT"),
        ("mqtt://" + "x" * 70_000 + "@mq", {}, "target: is empty, longer than 65535 bytes"),
        ("mqtt://mq", {"version": "4"}, "version: '4' is not one of 3.1.1, 5"),
        ("mqtt://mq", {"client_id": ""}, "client_id: is empty"),
    ],
)
def test_a_bad_declaration_is_told(target: str, options: dict[str, str], message: str) -> None:
    """Nothing is probed, and the message says what would be right."""
    with pytest.raises(BadOptionsError) as raised:
        Mqtt.parse(target, {key: (text,) for key, text in options.items()})
    assert message in str(raised.value)
