"""Redis: the real one in every state that it has, and what else may listen at its port."""

import asyncio
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import certificates
import namespace
import pytest
from attempts import attempt
from badness import MARK, descriptors, left_over, saying, serving
from discretion import told_nowhere
from realservers import accepts, free_port, paused, started, until
from stopping import goes_for_good
from strangers import is_nothing_else

from gatekeeper.model import Outcome, Reason, State
from gatekeeper.probes._options import BadOptionsError
from gatekeeper.probes.redis import Redis

pytestmark = pytest.mark.needs("redis-server", "redis-cli")
PASSWORD = "pass-9c1e/word"
QUOTED = "pass-9c1e%2Fword"
ACL = f"""
user default on >{PASSWORD} ~* &* +@all
user app on >{PASSWORD} ~app:* -@all +ping +exists +getrange +select
user mute on >{PASSWORD} ~* -@all +info
"""


def told(target: str, **options: str) -> tuple[str, str]:
    """Make one attempt; return its state and its reason, and see that the password is in no word of it."""
    found = attempt(target, **options)
    assert isinstance(found, Outcome)
    assert "9c1e" not in repr(found)
    return found.state, found.reason


class Server:
    """A running server: its port, its folder, its process."""

    def __init__(self, port: int, folder: Path, process: "subprocess.Popen[bytes]") -> None:
        """Take note of what runs."""
        self.port, self.folder, self.process = port, folder, process
        self.url = f"redis://127.0.0.1:{port}"

    def say(self, *words: str) -> str:
        """Send a command by redis-cli, as who may do anything."""
        locked = PASSWORD in (self.folder / "redis.conf").read_text()
        environ = os.environ | ({"REDISCLI_AUTH": PASSWORD} if locked else {})
        argv = ["redis-cli", "-p", str(self.port), *words]
        return subprocess.run(argv, env=environ, capture_output=True, text=True, check=True).stdout


@contextmanager
def running(folder: Path, *options: str, config: str = "") -> Iterator[Server]:
    """Run a server with these options."""
    port = free_port()
    (folder / "redis.conf").write_text(f"bind 127.0.0.1\nport {port}\nsave ''\n{config}")
    argv = ["redis-server", folder / "redis.conf", *options]
    with started(argv, folder=folder, up=lambda: accepts(port)) as process:
        yield Server(port, folder, process)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run a server that wants no password, with a socket file."""
    folder = tmp_path_factory.mktemp("plain")
    with running(folder, config=f"unixsocket {folder}/socket\nlua-time-limit 20\n") as server:
        yield server


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run a server with users."""
    with running(tmp_path_factory.mktemp("locked"), config=ACL) as server:
        yield server


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a file of data with many keys."""
    folder = tmp_path_factory.mktemp("data")
    with running(folder) as server:
        server.say("EVAL", "for i = 1, 20000 do redis.call('set', 'key:' .. i, i) end", "0")
        assert server.say("SAVE") == "OK\n"
    return (folder / "dump.rdb").read_bytes()


@pytest.fixture(params=["", ACL], ids=["open", "locked"])
def loading(request: pytest.FixtureRequest, data: bytes, tmp_path: Path) -> Iterator[Server]:
    """Run a server that takes a minute to load."""
    (tmp_path / "dump.rdb").write_bytes(data)
    config = "key-load-delay 3000\nloading-process-events-interval-bytes 1024\n"
    with running(tmp_path, config=config + request.param) as server:
        yield server


def test_nobody_there_is_refused_and_a_server_is_ready(plain: Server) -> None:
    """A server answers by TCP, by its socket file, and under its other name."""
    found = attempt(f"redis://127.0.0.1:{free_port()}")
    assert isinstance(found, Outcome)
    assert (found.state, found.reason, found.gone) == (State.WAITING, Reason.REFUSED, True)
    assert attempt(plain.url) == Outcome(State.READY, Reason.READY, f"127.0.0.1:{plain.port}")
    assert attempt(f"valkey://127.0.0.1:{plain.port}/3") == Outcome(
        State.READY, Reason.READY, f"127.0.0.1:{plain.port}"
    )
    socket_file = str(plain.folder / "socket")
    assert attempt("redis://", unix=socket_file) == Outcome(State.READY, Reason.READY, socket_file)


def test_a_server_that_loads_is_starting_with_a_password_and_without(loading: Server) -> None:
    """PING says LOADING to who may ask; behind a password nothing tells, and that counts as not yet."""
    assert told(loading.url) == ("waiting", "starting")
    if "LOADING" in loading.say("PING"):
        assert told(f"redis://:{QUOTED}@127.0.0.1:{loading.port}") != ("ready", "ready")
        assert told(f"redis://app:{QUOTED}@127.0.0.1:{loading.port}", key="app:1")[0] != "ready"


def test_a_loading_server_is_starting_to_who_logs_in(data: bytes, tmp_path: Path) -> None:
    """A login goes through while it loads, and learns that it does."""
    (tmp_path / "dump.rdb").write_bytes(data)
    config = "key-load-delay 3000\nloading-process-events-interval-bytes 1024\n"
    with running(tmp_path, config=config + ACL) as server:
        found = attempt(f"redis://:{QUOTED}@127.0.0.1:{server.port}")
        assert found == Outcome(State.WAITING, Reason.STARTING, f"127.0.0.1:{server.port} (it is loading its data)")
        assert told(f"redis://:{QUOTED}2@127.0.0.1:{server.port}") == ("failed", "forbidden")


def test_the_gate_opens_when_the_data_is_loaded(data: bytes, tmp_path: Path) -> None:
    """Not at the open port, and not before the server itself says so."""
    (tmp_path / "dump.rdb").write_bytes(data)
    config = "key-load-delay 3000\nloading-process-events-interval-bytes 1024\n"
    with running(tmp_path, config=config) as server:
        argv = [sys.executable, "-m", "gatekeeper", "wait", "--log-format=json", f"cache={server.url}"]
        with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as gate:
            assert gate.stderr
            for line in gate.stderr:
                if '"starting"' in line:
                    break
            assert server.say("PING").startswith("LOADING")
            server.say("CONFIG", "SET", "key-load-delay", "0")
            gate.stderr.read()
        assert gate.returncode == 0
        assert server.say("PING") == "PONG\n"


def test_without_its_password_a_server_is_not_taken_for_loaded(locked: Server) -> None:
    """Unless `login=no` says that this is enough; the detail says what to do."""
    found = attempt(locked.url)
    assert isinstance(found, Outcome)
    assert (found.state, found.reason) == (State.WAITING, Reason.STARTING)
    assert "give one, or login=no" in found.detail
    assert told(locked.url, login="no") == ("ready", "ready_auth_required")
    assert told(f"redis://:{QUOTED}@127.0.0.1:{locked.port}/0", login="no") == ("ready", "ready_auth_required")


def test_a_login_is_made_with_what_is_given(locked: Server, tmp_path: Path) -> None:
    """By the URL or by a file, as the default user or another; what is refused is forbidden."""
    assert told(f"redis://:{QUOTED}@127.0.0.1:{locked.port}/0") == ("ready", "ready")
    assert told(f"redis://default:{QUOTED}@127.0.0.1:{locked.port}/15?socket_timeout=5") == ("ready", "ready")
    assert told(f"redis://app:{QUOTED}@127.0.0.1:{locked.port}") == ("ready", "ready")
    refused = attempt(f"redis://app:{QUOTED}x@127.0.0.1:{locked.port}")
    assert isinstance(refused, Outcome)
    assert (refused.state, refused.reason, refused.certain) == (State.FAILED, Reason.FORBIDDEN, True)
    assert told(f"redis://nobody:{QUOTED}@127.0.0.1:{locked.port}") == ("failed", "forbidden")
    assert told(f"redis://mute:{QUOTED}@127.0.0.1:{locked.port}") == ("waiting", "forbidden")
    assert told(locked.url, key="app:1") == ("failed", "forbidden")
    (tmp_path / "password").write_text(PASSWORD + "\n")
    assert told(f"redis://app@127.0.0.1:{locked.port}", password_file=str(tmp_path / "password")) == ("ready", "ready")
    (tmp_path / "empty").write_text("\n")
    for name, why in (("none", ""), ("empty", " (is empty)")):
        missing = attempt(f"redis://app@127.0.0.1:{locked.port}", password_file=str(tmp_path / name))
        assert missing == Outcome(State.WAITING, Reason.NOT_FOUND, f"password_file {tmp_path / name}{why}")


def test_a_password_that_the_server_does_not_have_is_forbidden(plain: Server) -> None:
    """An application's own login would fail on it as well."""
    outcome = attempt(f"redis://:{QUOTED}@127.0.0.1:{plain.port}")
    assert isinstance(outcome, Outcome)
    assert (outcome.state, outcome.reason, outcome.certain) == (State.FAILED, Reason.FORBIDDEN, True)
    assert outcome.detail.endswith("(it has no password, and is given one)")


def test_a_key_is_looked_for_with_a_login_and_without(locked: Server, plain: Server) -> None:
    """It must be there, in its database, and hold the very value; who may not look is told."""
    plain.say("SET", "schema", "42")
    plain.say("RPUSH", "list", "42")
    plain.say("-n", "3", "SET", "there", "")
    assert told(plain.url, key="schema") == ("ready", "ready")
    assert told(plain.url, key="schema", value="42") == ("ready", "ready")
    assert told(plain.url, key="schema", value="4") == ("waiting", "unwanted_answer")
    assert told(plain.url, key="schema", value="421") == ("waiting", "unwanted_answer")
    assert told(plain.url, key="list") == ("ready", "ready")
    assert told(plain.url, key="list", value="42") == ("waiting", "unwanted_answer")
    found = attempt(plain.url, key="nowhere")
    assert found == Outcome(
        State.WAITING, Reason.NOT_FOUND, f"127.0.0.1:{plain.port} (it has no key 'nowhere')", gone=True
    )
    assert told(plain.url, key="there") == ("waiting", "not_found")
    assert told(plain.url + "/3", key="there", value="") == ("ready", "ready")
    assert told(plain.url + "/?db=3", key="there") == ("ready", "ready")
    assert told(plain.url + "/16", key="there") == ("waiting", "not_found")
    locked.say("SET", "app:ready", "yes")
    app = f"redis://app:{QUOTED}@127.0.0.1:{locked.port}"
    assert told(app, key="app:ready", value="yes") == ("ready", "ready")
    assert told(app, key="other") == ("waiting", "forbidden")


def test_the_server_sees_who_asks(locked: Server) -> None:
    """A login is named in the list of clients, and leaves no refused command behind but that of the first question."""

    async def held() -> None:
        from gatekeeper.probes._redis_login import logged_in  # noqa: PLC0415 - the driver is loaded for a login only

        probe = Redis.parse(f"redis://:{QUOTED}@127.0.0.1:{locked.port}", {})
        from gatekeeper.probes._account import At  # noqa: PLC0415 - as above

        with await probe.connected(At("127.0.0.1", locked.port, None, "localhost")) as dialog:
            async with logged_in(dialog, None, probe.password()):
                assert "name=gatekeeper" in await asyncio.to_thread(locked.say, "CLIENT", "LIST")

    asyncio.run(held())


def test_a_busy_server_is_starting(plain: Server) -> None:
    """A script that runs for too long keeps all others out."""
    with socket.create_connection(("127.0.0.1", plain.port)) as client:
        client.sendall(b'EVAL "while true do end" 0\r\n')
        until(lambda: "BUSY" in plain.say("PING"), "the script to be too slow")
        assert told(plain.url) == ("waiting", "starting")
        plain.say("SCRIPT", "KILL")
    until(lambda: "PONG" in plain.say("PING"), "the script to end")
    assert told(plain.url) == ("ready", "ready")


def test_a_replica_without_its_master_is_starting(tmp_path: Path) -> None:
    """Where it serves no stale data; where it does, it is ready."""
    with running(tmp_path, config=f"replicaof 127.0.0.1 {free_port()}\nreplica-serve-stale-data no\n") as server:
        found = attempt(server.url)
        assert isinstance(found, Outcome)
        assert (found.state, found.reason) == (State.WAITING, Reason.STARTING)
        assert "its master is down" in found.detail
        server.say("CONFIG", "SET", "replica-serve-stale-data", "yes")
        assert told(server.url) == ("ready", "ready")


def test_a_node_of_a_cluster_is_ready_with_its_cluster(tmp_path: Path) -> None:
    """PING alone would say so before."""
    config = f"cluster-enabled yes\ncluster-port {free_port()}\n"
    with running(tmp_path, config=config) as server:
        assert server.say("PING") == "PONG\n"
        found = attempt(server.url)
        assert found == Outcome(State.WAITING, Reason.STARTING, f"127.0.0.1:{server.port} (its cluster is down)")
        server.say("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        until(lambda: "cluster_state:ok" in server.say("CLUSTER", "INFO"), "the cluster to be up")
        assert told(server.url) == ("ready", "ready")
        assert told(server.url, key="nowhere") == ("waiting", "not_found")


def test_a_sentinel_is_asked_as_itself(tmp_path: Path) -> None:
    """What it watches over is not its own readiness."""
    with running(tmp_path, "--sentinel") as server:
        assert told(server.url) == ("ready", "ready")


def test_a_server_that_cannot_save_is_not_ready(tmp_path: Path) -> None:
    """It takes no writes then, and says so of PING too."""
    with running(tmp_path, config="stop-writes-on-bgsave-error yes\n") as server:
        server.say("CONFIG", "SET", "save", "3600 1")
        server.say("SET", "a", "1")
        (tmp_path / "dump.rdb").mkdir()  # a folder where its data should go
        server.say("BGSAVE")
        until(lambda: "MISCONF" in server.say("PING"), "saving to fail")
        assert told(server.url) == ("waiting", "unwanted_answer")


def test_more_clients_than_it_takes(plain: Server) -> None:
    """It says so and hangs up: not yet."""
    plain.say("CONFIG", "SET", "maxclients", "1")
    try:
        with socket.create_connection(("127.0.0.1", plain.port)) as client:
            client.sendall(b"PING\r\n")
            assert client.recv(7) == b"+PONG\r\n"
            assert told(plain.url) in (("waiting", "starting"), ("waiting", "reset"))
            client.sendall(b"CONFIG SET maxclients 10000\r\n")
            assert client.recv(5) == b"+OK\r\n"
    finally:
        until(lambda: told(plain.url) == ("ready", "ready"), "room for a client")


def test_a_paused_server_is_not_ready(plain: Server, locked: Server) -> None:
    """Its port accepts still; the attempt says at which step its time was over."""
    with paused(plain.process):
        assert attempt(plain.url, 0.2) == f"waiting for an answer of 127.0.0.1:{plain.port}"
    with paused(locked.process):
        late = attempt(f"redis://:{QUOTED}@127.0.0.1:{locked.port}", 0.2)
        assert late == f"waiting for an answer of 127.0.0.1:{locked.port}"


def test_a_server_that_stops_is_gone(tmp_path: Path) -> None:
    """From the moment that it no longer listens; no other protocol was spoken there."""
    with running(tmp_path, config=f"user app on >{PASSWORD} ~* &* +@all\n") as server:
        is_nothing_else(server.port, "redis")
        goes_for_good(server.process, server.url, f"redis://app:{QUOTED}@127.0.0.1:{server.port}")


def test_over_tls(tmp_path: Path) -> None:
    """As `rediss` or with `ca`, with a client's certificate where one is wanted; a hang-up in plain is explained."""
    authority = certificates.authority(tmp_path)
    leaf, client = certificates.leaf(tmp_path, authority, "127.0.0.1"), certificates.leaf(tmp_path, authority, "client")
    port = free_port()
    config = (
        f"tls-port {port}\ntls-cert-file {leaf.cert}\ntls-key-file {leaf.key}\ntls-ca-cert-file {authority.cert}\n"
        f"tls-auth-clients yes\n{ACL}"
    )
    ca, cert, key = str(authority.cert), str(client.cert), str(client.key)
    with running(tmp_path, config=config):
        secure = f"rediss://:{QUOTED}@127.0.0.1:{port}/0"
        assert told(secure, ca=ca, cert=cert, cert_key=key) == ("ready", "ready")
        in_url = f"{secure}?ssl_ca_certs={ca}&ssl_certfile={cert}&ssl_keyfile={key}"
        assert told(in_url) == ("ready", "ready")
        assert told(f"{secure}?ssl_cert_reqs=none", cert=cert, cert_key=key) == ("ready", "ready")
        assert told(f"redis://127.0.0.1:{port}", ca=ca, cert=cert, cert_key=key, login="no")[0] == "ready"
        assert told(secure, ca=ca)[1] in ("tls_failed", "closed", "reset")
        assert told(secure, cert=cert, cert_key=key) == ("waiting", "tls_failed")
        wrong = told(secure, ca=ca, cert=cert, cert_key=key, server_name="other.test")
        assert wrong == ("waiting", "tls_failed")
        in_url = in_url.replace("@127.0.0.1", "@localhost")
        assert told(in_url) == ("waiting", "tls_failed")
        assert told(f"{in_url}&ssl_check_hostname=false") == ("ready", "ready")
        assert told(f"redis://127.0.0.1:{port}") in (("waiting", "closed"), ("waiting", "reset"))
        hint = " (it hung up without a word; one that takes TLS alone wants tls=yes)"
        for declined in ({}, {"tls": "no"}):
            in_plain = attempt(f"redis://127.0.0.1:{port}", **declined)
            assert isinstance(in_plain, Outcome)
            assert in_plain.detail == f"127.0.0.1:{port}{'' if declined else hint}"


@pytest.mark.root
@pytest.mark.needs("unshare", "ip")
def test_protected_mode_is_forbidden(tmp_path: Path) -> None:
    """Who comes from elsewhere is turned away until somebody gives the server a password, and that is said."""
    script = f"""
    import asyncio, socket, subprocess, time
    from gatekeeper.probes import load
    subprocess.run(["ip", "address", "add", "10.77.0.1/32", "dev", "lo"], check=True)
    argv = ["redis-server", "--port", "6379", "--bind", "10.77.0.1", "--save", "", "--dir", {str(tmp_path)!r}]
    server = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    try:
        outcome = None
        while not outcome or outcome.reason == "refused":
            outcome = asyncio.run(load("redis").parse("redis://10.77.0.1", {{}}).attempt())
            time.sleep(0.01)
        print(outcome.state, outcome.reason, outcome.detail)
    finally:
        server.kill()
        server.wait()
    """
    said = namespace.run(script)
    assert said.startswith("failed forbidden 10.77.0.1:6379 (it is in protected mode")


@pytest.mark.parametrize(
    "banner",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"+OK ready\r\n",
        b"-" + MARK + b"\r\n",
        b"ERROR\r\n",
        b"$99999\r\n",
        b"$4\r\nPING\r\n",
    ],
)
def test_another_protocol_is_said_and_waited_out(banner: bytes) -> None:
    """The port may be taken over one day; what was said is not repeated."""
    with serving(saying(banner)) as port:
        found = attempt(f"redis://127.0.0.1:{port}")
    assert isinstance(found, Outcome)
    assert (found.state, found.reason) == (State.WAITING, Reason.WRONG_PROTOCOL)
    assert found.detail == f"127.0.0.1:{port} (it answers in another protocol)"


@pytest.mark.parametrize(
    "said",
    [
        b":x\r\n",
        b"$x\r\n",
        b"$-9\r\n",
        b"*x\r\n",
        b"*1\r\n" * 3000,
        b"*99999999\r\n+a\r\n",
        b"+PONG\r\n",
        b"$99999\r\n",
    ],
)
def test_what_answers_a_login_in_another_protocol_is_waited_out(said: bytes) -> None:
    """Whatever the driver would make of it: an exception, a list without an end, or a password that is refused."""

    def tend(client: socket.socket, _over: threading.Event) -> None:
        while question := client.recv(4096):
            client.sendall(said if b"AUTH" in question else b"+PONG\r\n")

    with serving(tend) as port:
        found = attempt(f"redis://:{QUOTED}@127.0.0.1:{port}")
    assert isinstance(found, Outcome)
    assert (found.state, found.reason) == (State.WAITING, Reason.WRONG_PROTOCOL)


def test_who_knows_ping_alone_is_ready() -> None:
    """A proxy may refuse all else, or hang up on it."""
    for more in (b"-ERR unknown command\r\n", b""):
        with serving(saying(b"+PONG\r\n", more, hang_up=not more)) as port:
            assert told(f"redis://127.0.0.1:{port}") == ("ready", "ready")


@pytest.mark.parametrize(
    ("target", "options", "wrong"),
    [
        ("redis://cache/x", {}, ("", "has no number of a database as its path or db: write redis://HOST:PORT/0")),
        ("redis://cache/-1", {}, ("", "has no number of a database as its path or db: write redis://HOST:PORT/0")),
        ("redis://cache", {"value": "1"}, ("value", "needs key, which holds it")),
        ("redis://cache", {"cert_key": "/k"}, ("cert_key", "needs cert, the certificate that it belongs to")),
        (
            "rediss://cache",
            {"cert": "/c", "key": "/k"},
            ("key", "is a key to look for here: write cert_key for the file with that of cert"),
        ),
        ("redis://:p@cache", {"login": "no", "key": "a"}, ("key", "needs login: leave out login=no")),
        ("redis://:p@cache", {"password_file": "/p"}, ("password_file", "is a second password: leave one out")),
    ],
)
def test_a_bad_declaration_says_what_would_be_right(target: str, options: dict[str, str], wrong: object) -> None:
    """Each with the option that is wrong."""
    with pytest.raises(BadOptionsError) as caught:
        Redis.parse(target, {key: (value,) for key, value in options.items()})
    assert caught.value.wrong == (wrong,)


def test_a_missing_driver_is_told_with_the_command_that_installs_it() -> None:
    """Before anything is attempted; who does not log in needs none."""
    script = (
        "import sys, importlib.util as util; found = util.find_spec; "
        "import gatekeeper.probes._account as account; "
        "account.find_spec = lambda name: None if name == 'redis' else found(name); "
        "from gatekeeper.__main__ import main; sys.argv[0] = 'gatekeeper'; main()"
    )
    argv = [sys.executable, "-c", script, "plan", f"cache=redis://:{QUOTED}@cache/0"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'gatekeeper-agent[redis]'" in done.stderr
    assert "9c1e" not in done.stderr + done.stdout
    done = subprocess.run([*argv[:-1], f"{argv[-1]} login=no"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "9c1e" not in done.stderr + done.stdout


def test_no_output_holds_the_password(locked: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the plan, the log, the report nor the termination message, whether it is right or wrong."""
    with caplog.at_level(logging.DEBUG):
        assert told(f"redis://:{QUOTED}@127.0.0.1:{locked.port}") == ("ready", "ready")
    assert "9c1e" not in caplog.text
    lines = (
        f"{name}=redis://app:{QUOTED}{end}@127.0.0.1:{locked.port}/0" for name, end in (("right", ""), ("wrong", "x"))
    )
    told_nowhere("9c1e", "\n".join(lines), tmp_path)
    assert "9c1e" not in (locked.folder / "log").read_text()


def test_a_cancelled_login_leaves_nothing_behind(locked: Server) -> None:
    """At whatever step of the driver it comes."""

    async def run() -> None:
        probe = Redis.parse(f"redis://:{QUOTED}@127.0.0.1:{locked.port}/1", {"key": ("app:x",)})
        await probe.attempt()
        before = descriptors()
        for turns in range(80):
            task = asyncio.ensure_future(probe.attempt())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        assert left_over(before) == set()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())
