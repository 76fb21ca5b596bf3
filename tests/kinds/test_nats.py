"""nats: nats-server in each of its states, alone and in a cluster, and what else may listen at that port."""

import base64
import json
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import nkeys
import pytest
from attempts import attempt, cancelled_at_every_turn, found
from badness import Manners, saying, serving
from certificates import authority, leaf
from discretion import told_nowhere
from realservers import accepts, free_port, paused, started, until
from stopping import goes_for_good
from strangers import is_nothing_else

from gatekeeper.model import Outcome, Reason, State
from gatekeeper.probes._options import BadOptionsError
from gatekeeper.probes.nats import Nats

PASSWORD = "sesame-2d90"
READY, AUTH, FORBIDDEN = ("ready", "ready"), ("ready", "ready_auth_required"), ("failed", "forbidden")
REFUSED_IN_TLS = [("waiting", reason) for reason in ("tls_failed", "reset", "closed")]
needs_nats = pytest.mark.needs("nats-server")
INFO = b'INFO {"server_id":"N","version":"2.9.10","proto":1,"headers":true,"max_payload":1048576} \r\n'
STREAM = {"name": "orders", "subjects": ["orders.*"], "retention": "limits", "storage": "file", "num_replicas": 1}


class Running(NamedTuple):
    """A nats-server that runs."""

    port: int
    folder: Path
    process: "subprocess.Popen[bytes]"

    @property
    def where(self) -> str:
        """Return its address."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """Return what it has logged."""
        return (self.folder / "log").read_text()


@contextmanager
def nats(folder: Path, conf: str = "", name: str = "one") -> Iterator[Running]:
    """Run a nats-server with a configuration."""
    (folder / name).mkdir()
    port = free_port()
    (folder / name / "conf").write_text(f"host: 127.0.0.1\nport: {port}\nserver_name: {name}\n{conf}\n")
    argv = ["nats-server", "-c", "conf"]
    with started(argv, folder=folder / name, up=lambda: accepts(port)) as process:
        yield Running(port, folder / name, process)


def requested(port: int, subject: str, body: dict[str, Any], login: dict[str, str] | None = None) -> dict[str, Any]:
    """Make a request of the JetStream API in NATS's own words; return its answer."""
    payload = json.dumps(body).encode()
    with socket.create_connection(("127.0.0.1", port)) as sock, sock.makefile("rb") as lines:
        connect = json.dumps({"verbose": False} | (login or {})).encode()
        sock.sendall(b"CONNECT " + connect + b"\r\nSUB in 1\r\n")
        sock.sendall(b"PUB %s in %d\r\n%s\r\n" % (subject.encode(), len(payload), payload))
        while not lines.readline().startswith(b"MSG in"):
            pass
        answer: dict[str, Any] = json.loads(lines.readline())
        return answer


@needs_nats
def test_a_server_is_ready_once_it_answers(tmp_path: Path) -> None:
    """Nobody there is refused; one that runs is ready; it sees a name, and nothing of an attempt is in its log.

    Paused, it answers nobody, and once it stops it is gone.
    """
    port = free_port()
    assert found(f"nats://127.0.0.1:{port}") == ("waiting", "refused")
    with nats(tmp_path) as server:
        before = len(server.log)
        assert attempt(f"nats://{server.where}") == Outcome(State.READY, Reason.READY, server.where)
        assert found(f"nats://{server.where}/", login="yes") == READY
        assert found(f"nats://a:b@127.0.0.1:{port},nats://a:b@{server.where}", login="no") == READY
        assert found(f"nats://a:b@{server.where}") == READY  # it wants no login, and takes one
        assert server.log[before:] == ""
        with paused(server.process):
            assert attempt(f"nats://{server.where}", 0.2) == f"waiting for an answer of {server.where}"
        is_nothing_else(server.port, "nats", speaks_first=True)
        goes_for_good(server.process, f"nats://{server.where}", f"nats://a:b@{server.where}")


@needs_nats
def test_a_server_that_wants_a_login_is_ready(tmp_path: Path) -> None:
    """It is told apart, and no failed login is put into its log for that."""
    with nats(tmp_path, f"authorization {{ user: app, password: {PASSWORD} }}") as server:
        before = len(server.log)
        assert found(f"nats://{server.where}") == AUTH
        assert found(f"nats://app:wrong@{server.where}", login="no") == AUTH
        assert server.log[before:] == ""
        (tmp_path / "password").write_text(f"{PASSWORD}\n")
        assert found(f"nats://app:{PASSWORD}@{server.where}") == READY
        assert found(f"nats://app@{server.where}", password_file=str(tmp_path / "password")) == READY
        refused = attempt(f"nats://app:wrong@{server.where}")
        assert isinstance(refused, Outcome)
        assert (refused.state, refused.reason, refused.certain) == (State.FAILED, Reason.FORBIDDEN, True)
        assert found(f"nats://{server.where}", login="yes") == FORBIDDEN
        assert server.log[before:].count("gatekeeper") == 2  # the two that were refused, each in a line
        lines = (f"right=nats://app:{PASSWORD}@{server.where}", f"wrong=nats://nobody:{PASSWORD}@{server.where}")
        assert "it refuses the credentials" in told_nowhere(PASSWORD, "\n".join(lines), tmp_path)
        several = f"nats://app:{PASSWORD}@{server.where},nats://app:{PASSWORD}@{server.where}"
        told_nowhere(PASSWORD, f"{several}\n{several}/x", tmp_path)


@needs_nats
def test_a_token_is_what_stands_alone_before_the_host(tmp_path: Path) -> None:
    """As NATS's clients read it."""
    with nats(tmp_path, f"authorization {{ token: {PASSWORD} }}") as server:
        (tmp_path / "token").write_text(PASSWORD)
        assert found(f"nats://{server.where}") == AUTH
        assert found(f"nats://{PASSWORD}@{server.where}") == READY
        assert found(f"nats://{server.where}", password_file=str(tmp_path / "token")) == READY
        assert found(f"nats://wrong@{server.where}") == FORBIDDEN
        nobody = attempt(f"nats://{server.where}", stream="orders")
        assert isinstance(nobody, Outcome)
        assert (nobody.reason, nobody.certain) == (Reason.FORBIDDEN, True)
        assert nobody.detail.endswith("(it wants credentials, and is given none)")
        told_nowhere(PASSWORD, f"nats://{PASSWORD}@{server.where}\nnats://{PASSWORD}@{server.where}/x", tmp_path)


def written(prefix: int) -> tuple[Any, str]:
    """Return a key pair of NATS and its public key."""
    pair = nkeys.from_seed(nkeys.encode_seed(bytes(range(prefix % 7, 32 + prefix % 7)), prefix))
    return pair, pair.public_key.decode()


def signed(issuer: Any, subject: str, claims: dict[str, Any]) -> str:
    """Return a JWT as NATS signs it."""
    body = {"jti": "x", "iat": 1, "iss": issuer.public_key.decode(), "sub": subject, "nats": claims | {"version": 2}}
    parts = ({"typ": "JWT", "alg": "ed25519-nkey"}, body)
    text = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    return (text + b"." + base64.urlsafe_b64encode(issuer.sign(text)).rstrip(b"=")).decode()


@needs_nats
def test_credentials_are_a_jwt_and_a_seed(tmp_path: Path) -> None:
    """As operators of NATS hand them out; a file that is not there yet is waited for."""
    operator, operator_id = written(nkeys.PREFIX_BYTE_OPERATOR)
    account, account_id = written(nkeys.PREFIX_BYTE_ACCOUNT)
    user, user_id = written(nkeys.PREFIX_BYTE_USER)
    limits = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1) | {"wildcards": True}
    operator_jwt = signed(operator, operator_id, {"type": "operator"})
    account_jwt = signed(operator, account_id, {"type": "account", "limits": limits})
    user_jwt = signed(account, user_id, {"type": "user", "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1})
    creds = tmp_path / "user.creds"
    conf = f"operator: {operator_jwt}\nresolver: MEMORY\nresolver_preload: {{ {account_id}: {account_jwt} }}"
    with nats(tmp_path, conf) as server:
        assert found(f"nats://{server.where}") == AUTH
        assert found(f"nats://{server.where}", creds=str(creds)) == ("waiting", "not_found")
        creds.write_text("nothing")
        assert found(f"nats://{server.where}", creds=str(creds)) == ("waiting", "forbidden")
        file = (
            "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n{}\n"
        )
        creds.write_text(file.format(user_jwt, user.seed.decode()) + "------END USER NKEY SEED------\n")
        assert found(f"nats://{server.where}", creds=str(creds)) == READY
        creds.write_text(file.format(user_jwt, account.seed.decode()))
        assert found(f"nats://{server.where}", creds=str(creds)) == ("waiting", "forbidden")
        told_nowhere(user_jwt, f"nats://{server.where} creds={creds}", tmp_path)


@needs_nats
def test_tls_is_spoken_behind_the_greeting(tmp_path: Path) -> None:
    """Where the server requires it, as clients do; a certificate is verified, and shown where it is wanted."""
    trust = authority(tmp_path)
    one, client = leaf(tmp_path, trust, "127.0.0.1"), leaf(tmp_path, trust, "gatekeeper")
    tls = f"cert_file: {one.cert}\nkey_file: {one.key}\nca_file: {trust.cert}"
    ca, cert, key = str(trust.cert), str(client.cert), str(client.key)
    login = f"authorization {{ user: app, password: {PASSWORD} }}"
    with ExitStack() as stack:
        required = stack.enter_context(nats(tmp_path, f"tls {{\n{tls}\n}}\n{login}", "required"))
        allowed = stack.enter_context(nats(tmp_path, f"tls {{\n{tls}\n}}\nallow_non_tls: true", "allowed"))
        mutual = stack.enter_context(nats(tmp_path, f"tls {{\n{tls}\nverify: true\n}}", "mutual"))
        plain = stack.enter_context(nats(tmp_path, name="plain"))
        assert found(f"nats://{required.where}") == ("waiting", "tls_failed")
        assert found(f"nats://{required.where}", tls="no") == ("waiting", "tls_failed")
        assert found(f"nats://{required.where}", ca=ca) == AUTH
        assert found(f"nats://app:{PASSWORD}@{required.where}", ca=ca) == READY
        assert found(f"nats://app:wrong@{required.where}", insecure="yes") == FORBIDDEN
        assert found(f"nats://{allowed.where}") == READY
        assert found(f"nats://{allowed.where}", ca=ca) == READY
        # In TLS 1.3 the refusal crosses what we say next, and the reset that answers that may overtake it.
        assert found(f"nats://{mutual.where}", ca=ca) in REFUSED_IN_TLS
        assert found(f"nats://{mutual.where}", ca=ca, cert=cert, key=key, login="yes") == READY
        assert found(f"nats://{plain.where}", ca=ca) == ("waiting", "tls_failed")


@needs_nats
def test_tls_may_be_spoken_first(tmp_path: Path) -> None:
    """As a server does that is configured so (nats-server 2.10, handshake_first): its greeting is inside."""
    trust = authority(tmp_path)
    one = leaf(tmp_path, trust, "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(one.cert, one.key)

    def inside(server: Running) -> Manners:
        def pass_on(client: socket.socket, _over: threading.Event) -> None:
            with socket.create_connection(("127.0.0.1", server.port)) as behind, suppress(OSError):
                tls = context.wrap_socket(client.dup(), server_side=True)
                with tls:
                    tls.sendall(behind.recv(4096))
                    while data := tls.recv(4096):
                        behind.sendall(data)
                        tls.sendall(behind.recv(4096))

        return pass_on

    with nats(tmp_path) as server, serving(inside(server)) as port:
        assert found(f"nats://127.0.0.1:{port}", handshake_first="yes", ca=str(trust.cert)) == READY


@needs_nats
def test_jetstream_and_its_streams_are_looked_for(tmp_path: Path) -> None:
    """Without a login as well, where the server wants none; without JetStream nobody answers for it yet."""
    with nats(tmp_path, name="core") as core:
        assert found(f"nats://{core.where}", jetstream="yes") == ("waiting", "starting")
        assert found(f"nats://{core.where}", jetstream="no") == READY
    users = f"{{user: app, password: {PASSWORD}}}, {{user: low, password: x, permissions: {{publish: {{deny: '>'}}}}}}"
    with nats(tmp_path, f"jetstream {{ store_dir: data }}\nauthorization {{ users: [ {users} ] }}") as server:
        target = f"nats://app:{PASSWORD}@{server.where}"
        assert found(target, jetstream="yes") == READY
        missing = attempt(target, stream="orders")
        assert missing == Outcome(State.WAITING, Reason.NOT_FOUND, f"{server.where} (no stream orders)")
        requested(server.port, "$JS.API.STREAM.CREATE.orders", STREAM, {"user": "app", "pass": PASSWORD})
        assert found(target, stream="orders", jetstream="yes") == READY
        missing = attempt(target, stream=("orders", "bills"))
        assert missing == Outcome(State.WAITING, Reason.NOT_FOUND, f"{server.where} (no stream bills)")
        denied = attempt(f"nats://low:x@{server.where}", stream="orders")
        detail = f"{server.where} (no permission to ask for stream orders)"
        assert denied == Outcome(State.WAITING, Reason.FORBIDDEN, detail)


@needs_nats
def test_a_cluster_without_a_quorum_serves_no_streams(tmp_path: Path) -> None:
    """Core NATS needs none, and is ready; JetStream is starting until enough servers have met."""
    meet = [free_port() for _ in range(3)]
    monitored = free_port()

    def conf(number: int) -> str:
        routes = ", ".join(f"nats://127.0.0.1:{port}" for port in meet)
        cluster = f"cluster {{ name: c, listen: '127.0.0.1:{meet[number]}', routes: [{routes}] }}"
        monitoring = f"http: '127.0.0.1:{monitored}'" if number == 0 else ""
        return f"jetstream {{ store_dir: data }}\n{cluster}\n{monitoring}"

    with ExitStack() as stack:
        first = stack.enter_context(nats(tmp_path, conf(0), "n0"))
        assert found(f"nats://{first.where}") == READY
        alone = attempt(f"nats://{first.where}", 2.0, jetstream="yes")
        assert alone == f"asking {first.where} for JetStream" or (
            isinstance(alone, Outcome) and (alone.state, alone.reason) == (State.WAITING, Reason.STARTING)
        )
        assert found(f"http://127.0.0.1:{monitored}/healthz") == ("waiting", "starting")
        second = stack.enter_context(nats(tmp_path, conf(1), "n1"))

        def elected() -> bool:
            outcome = attempt(f"nats://{second.where}", 3.0, jetstream="yes")
            return isinstance(outcome, Outcome) and outcome.state is State.READY

        until(elected, "a leader")
        requested(first.port, "$JS.API.STREAM.CREATE.orders", STREAM)
        assert found(f"nats://{first.where}", stream="orders") == READY
        until(lambda: found(f"http://127.0.0.1:{monitored}/healthz") == READY, "its monitoring to have heard of it")


@needs_nats
def test_a_server_that_is_about_to_stop_is_not_ready(tmp_path: Path) -> None:
    """In lame duck mode it takes nobody new; the port refuses while those that are there are let go."""
    with nats(tmp_path, "lame_duck_duration: 30s\nlame_duck_grace_period: 10s") as server, ExitStack() as stack:
        kept = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        kept.recv(4096)
        kept.sendall(b"CONNECT {}\r\n")
        server.process.send_signal(signal.SIGUSR2)
        until(lambda: "lame duck mode" in server.log, "lame duck mode")
        until(lambda: not accepts(server.port), "its port to be closed")
        assert found(f"nats://{server.where}") == ("waiting", "refused")
    with serving(saying(INFO.replace(b'"proto"', b'"ldm":true,"proto"'))) as port:
        assert found(f"nats://127.0.0.1:{port}") == ("waiting", "starting")


@needs_nats
def test_a_server_that_is_full_is_waited_for(tmp_path: Path) -> None:
    """It has as many connections as it is configured for."""
    with nats(tmp_path, "max_connections: 1") as server, ExitStack() as stack:
        until(lambda: found(f"nats://{server.where}") == READY, "the one that asked whether it is up to be gone")

        def taken() -> bool:
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            sock.sendall(b"CONNECT {}\r\nPING\r\n")
            with sock.makefile("rb") as lines, suppress(OSError):
                return any(line.startswith(b"PONG") for line in iter(lines.readline, b""))
            return False

        until(taken, "a connection")
        for options in ({}, {"login": "yes"}):
            assert found(f"nats://{server.where}", **options)[0] == "waiting"
        full = [attempt(f"nats://{server.where}") for _ in range(3)]
        assert any(isinstance(each, Outcome) and each.reason is Reason.UNWANTED_ANSWER for each in full)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (INFO + b"PONG\r\n", READY),
        (INFO + b"+OK\r\nPING\r\n" + INFO + b"PONG\r\n", READY),
        (INFO + b"-ERR 'Authorization Violation'\r\n", AUTH),
        (INFO + b"-ERR 'maximum connections exceeded'\r\n", ("waiting", "unwanted_answer")),
        (INFO + b"-ERR 'Secure Connection - TLS Required'\r\n", ("waiting", "tls_failed")),
        (b"-ERR 'maximum connections exceeded'\r\n", ("waiting", "unwanted_answer")),
        (INFO + b"-ERR 'what is this'\r\n", ("waiting", "unwanted_answer")),
        (INFO + b"MSG a 1 2\r\n", ("waiting", "wrong_protocol")),
        (INFO + b"PING\r\n" * 40, ("waiting", "wrong_protocol")),
        (b"INFO []\r\n", ("waiting", "wrong_protocol")),
        (b"INFO " + b"[" * 60_000 + b"\r\n", ("waiting", "wrong_protocol")),
        (b"INFO " + b" " * 70_000, ("waiting", "wrong_protocol")),
        (b"SSH-2.0-OpenSSH_9.2\r\n", ("waiting", "wrong_protocol")),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ("waiting", "wrong_protocol")),
    ],
)
def test_what_nats_server_seldom_says(answer: bytes, expected: tuple[str, str]) -> None:
    """Said by a server of its own words."""
    with serving(saying(answer)) as port:
        assert found(f"nats://127.0.0.1:{port}") == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (INFO + b"PONG\r\n", "asking"),
        (INFO + b"PING\r\nPONG\r\nMSG _INBOX 1 99999999999\r\n", "asking"),
        (INFO + b"PONG\r\n" + b"\x00\xff" * 4000, "asking"),
        (INFO + b"PONG\r\n" + b"PING\r\n" * 60_000, ("waiting", "wrong_protocol")),
        (INFO, "logging in"),
        (INFO + b"SSH-2.0-x\r\n", ("waiting", "wrong_protocol")),
        (INFO.replace(b'"headers":true', b'"headers":[{}],"nonce":7') + b"PONG\r\n", "asking"),
    ],
)
def test_a_login_against_a_bad_server_ends_with_the_attempt(answer: bytes, expected: str | tuple[str, str]) -> None:
    """Whatever it says, nothing is ready, and a cancellation at any step leaves neither tasks nor sockets."""
    with serving(saying(answer)) as port:
        target = f"nats://a:{PASSWORD}@127.0.0.1:{port}"
        outcome = attempt(target, 1.0 if isinstance(expected, str) else 60.0, stream="orders")
        if isinstance(outcome, Outcome):
            assert PASSWORD not in outcome.detail
            assert (str(outcome.state), str(outcome.reason)) == expected
        else:
            assert outcome.startswith(expected)
        cancelled_at_every_turn(target, 25, stream="orders")


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("nats://mq/orders", {}, "takes nothing behind the port: write nats://HOST:PORT"),
        ("nats://mq", {"stream": "a.b"}, "stream: 'a.b' is no name of a stream"),
        ("nats://mq", {"stream": "a", "login": "no"}, "stream: needs login: leave out login=no"),
        ("nats://t@mq", {"creds": "/x"}, "creds: is another way to log in"),
        ("nats://mq", {"creds": "/x", "login": "no"}, "creds: needs login: leave out login=no"),
    ],
)
def test_a_bad_declaration_is_told(target: str, options: dict[str, str], message: str) -> None:
    """Nothing is probed, and the message says what would be right."""
    with pytest.raises(BadOptionsError) as raised:
        Nats.parse(target, {key: (text,) for key, text in options.items()})
    assert message in str(raised.value)
