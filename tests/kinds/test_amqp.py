"""amqp: RabbitMQ in each of its states, a server of AMQP 1.0, and what else may listen at that port."""

import base64
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from attempts import attempt, cancelled_at_every_turn, found
from badness import saying, serving
from certificates import Pair, authority, leaf
from discretion import told_nowhere
from realservers import accepts, free_port, paused, started, until
from stopping import goes_for_good
from strangers import is_nothing_else

from gatekeeper.model import Outcome, Reason, State
from gatekeeper.probes._options import BadOptionsError
from gatekeeper.probes.amqp import Amqp

SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"
PASSWORD = "sesame-61c0"
needs_rabbit = pytest.mark.needs(SERVER, "epmd")
READY, AUTH = ("ready", "ready"), ("ready", "ready_auth_required")
_START = bytes.fromhex("000a000a 0009 00000000 00000005") + b"PLAIN" + bytes.fromhex("00000005") + b"en_US"
START = b"\x01\x00\x00" + len(_START).to_bytes(4, "big") + _START + b"\xce"


class Rabbit(NamedTuple):
    """A node of RabbitMQ, and what attempts found while it booted."""

    port: int
    secure: int
    folder: Path
    environ: dict[str, str]
    process: "subprocess.Popen[bytes]"
    trust: Pair
    client: Pair
    booting: list[Outcome]

    @property
    def log(self) -> str:
        """Return what it has logged."""
        return (self.folder / "log").read_text(errors="replace")

    @property
    def targets(self) -> tuple[str, str]:
        """Return what asks it without a login, and with one."""
        return f"amqp://127.0.0.1:{self.port}", f"amqp://app:{PASSWORD}@127.0.0.1:{self.port}/shop"

    def ctl(self, *words: str) -> None:
        """Run rabbitmqctl."""
        with self.ctl_started(*words) as process:
            assert process.wait() == 0, self.log[-2000:]

    def ctl_started(self, *words: str) -> "subprocess.Popen[bytes]":
        """Start rabbitmqctl."""
        argv = ["/usr/lib/rabbitmq/bin/rabbitmqctl", "-n", "gate@localhost", "-q", *words]
        return subprocess.Popen(argv, env=dict(os.environ) | self.environ, stdout=subprocess.DEVNULL)


def hashed(password: str) -> str:
    """Return a password as RabbitMQ stores it: salted SHA-256."""
    return base64.b64encode(b"salt" + hashlib.sha256(b"salt" + password.encode()).digest()).decode()


def definitions() -> str:
    """Return users, virtual hosts and permissions as RabbitMQ reads them at its start."""
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    vhosts = ("/", "shop", "locked")
    return json.dumps(
        {
            "users": [
                {"name": name, "password_hash": hashed(password), "tags": ""}
                for name, password in (("guest", "guest"), ("app", PASSWORD), ("gatekeeper", "unknown"))
            ],
            "vhosts": [{"name": vhost} for vhost in vhosts],
            "permissions": [
                {"user": user, "vhost": vhost} | everything
                for user in ("guest", "app", "gatekeeper")
                for vhost in vhosts
                if (user, vhost) != ("app", "locked")
            ],
            "queues": [{"name": "orders", "vhost": "shop", "durable": True, "auto_delete": False, "arguments": {}}],
        }
    )


@pytest.fixture(scope="module")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rabbit]:
    """Give a node that has booted."""
    folder = tmp_path_factory.mktemp("rabbit")
    trust = authority(folder)
    server, client = leaf(folder, trust, "127.0.0.1"), leaf(folder, trust, "gatekeeper")
    port, secure, dist, names = (free_port() for _ in range(4))
    environ = {
        "HOME": str(folder),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(names),
        "RABBITMQ_NODENAME": "gate@localhost",
        "RABBITMQ_DIST_PORT": str(dist),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "logs"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none",  # no spinning beside other tests
    }
    (folder / "plugins").write_text("[rabbitmq_auth_mechanism_ssl].\n")
    (folder / "definitions.json").write_text(definitions())
    (folder / "rabbitmq.conf").write_text(
        f"""
listeners.tcp.1 = 127.0.0.1:{port}
listeners.ssl.1 = 127.0.0.1:{secure}
ssl_options.cacertfile = {trust.cert}
ssl_options.certfile = {server.cert}
ssl_options.keyfile = {server.key}
ssl_options.verify = verify_peer
ssl_cert_login_from = common_name
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = EXTERNAL
load_definitions = {folder}/definitions.json
"""
    )
    booting: list[Outcome] = []

    def up() -> bool:
        outcome = attempt(f"amqp://127.0.0.1:{port}")
        assert isinstance(outcome, Outcome)
        booting.append(outcome)
        return outcome.state is State.READY and accepts(secure)

    with ExitStack() as stack:
        argv = ["epmd", "-port", str(names), "-address", "127.0.0.1"]
        (folder / "epmd").mkdir()
        stack.enter_context(started(argv, folder=folder / "epmd", up=lambda: accepts(names)))
        process = stack.enter_context(started([SERVER], folder=folder, environ=environ, up=up))
        yield Rabbit(port, secure, folder, environ, process, trust, client, booting)


@needs_rabbit
def test_a_node_that_boots_is_refused_until_it_serves(rabbit: Rabbit) -> None:
    """RabbitMQ opens its port last; who gave no credentials is told that it wants some."""
    assert {each.reason for each in rabbit.booting[:-1] if each.state is not State.READY} == {Reason.REFUSED}
    expected = Outcome(State.READY, Reason.READY_AUTH_REQUIRED, f"127.0.0.1:{rabbit.port}")
    assert attempt(f"amqp://127.0.0.1:{rabbit.port}") == expected
    assert found(f"rabbitmq://app@127.0.0.1:{rabbit.port}/shop") == AUTH
    assert found(f"amqp://app:wrong@127.0.0.1:{rabbit.port}/shop?heartbeat=30", login="no") == AUTH


@needs_rabbit
def test_a_node_whose_application_is_stopped_is_refused(rabbit: Rabbit) -> None:
    """Erlang runs on, and nobody listens; it is ready when it is started again."""
    with rabbit.ctl_started("stop_app") as stopping:
        goes_for_good(stopping, *rabbit.targets, number=0)
    rabbit.ctl("start_app")
    assert found(f"amqp://127.0.0.1:{rabbit.port}") == AUTH


@needs_rabbit
def test_a_node_that_is_paused_is_not_ready(rabbit: Rabbit) -> None:
    """Its port accepts still; the attempt says at which step its time was over."""
    with paused(rabbit.process):
        assert attempt(f"amqp://127.0.0.1:{rabbit.port}", 0.2) == f"waiting for an answer of 127.0.0.1:{rabbit.port}"


@needs_rabbit
def test_who_has_a_password_is_let_in(rabbit: Rabbit, tmp_path: Path) -> None:
    """A target is taken as an application writes it: the virtual host encoded, guest where nobody is named."""
    port = rabbit.port
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    assert found(f"amqp://app:{PASSWORD}@127.0.0.1:{port}/shop") == READY
    assert found(f"amqp://app:{PASSWORD}@127.0.0.1:{port}/%2F?heartbeat=5&connection_timeout=3") == READY
    assert found(f"amqp://app:{PASSWORD}@127.0.0.1:{port}//") == READY
    assert found(f"amqp://app@127.0.0.1:{port}", password_file=str(tmp_path / "password")) == READY
    assert found(f"amqp://127.0.0.1:{port}", login="yes") == READY


@needs_rabbit
def test_who_is_refused_is_told_which_refusal_it_is(rabbit: Rabbit) -> None:
    """A wrong password will not become right; a virtual host and the permission for it may come yet."""
    port = rabbit.port
    refused = attempt(f"amqp://app:wrong@127.0.0.1:{port}/shop")
    assert isinstance(refused, Outcome)
    assert (refused.state, refused.reason, refused.certain) == (State.FAILED, Reason.FORBIDDEN, True)
    assert found(f"amqp://nobody:{PASSWORD}@127.0.0.1:{port}/shop") == ("failed", "forbidden")
    assert found(f"amqp://app:{PASSWORD}@127.0.0.1:{port}/none") == ("waiting", "not_found")
    assert found(f"amqp://app:{PASSWORD}@127.0.0.1:{port}/locked") == ("waiting", "forbidden")


@needs_rabbit
def test_queues_and_exchanges_are_looked_for(rabbit: Rabbit) -> None:
    """Each that was named must be there; the first that is not is named in turn."""
    target = f"amqp://app:{PASSWORD}@127.0.0.1:{rabbit.port}/shop"
    assert found(target, queue="orders", exchange=("amq.topic", "amq.direct")) == READY
    missing = attempt(target, queue=("orders", "bills"))
    assert missing == Outcome(State.WAITING, Reason.NOT_FOUND, f"127.0.0.1:{rabbit.port} (no queue bills)")
    missing = attempt(target, queue="orders", exchange="bills")
    assert missing == Outcome(State.WAITING, Reason.NOT_FOUND, f"127.0.0.1:{rabbit.port} (no exchange bills)")


@needs_rabbit
def test_a_node_that_takes_no_messages_for_want_of_memory_is_ready(rabbit: Rabbit) -> None:
    """RabbitMQ says connection.blocked only to who publishes, which is not for a probe to do."""
    target = f"amqp://app:{PASSWORD}@127.0.0.1:{rabbit.port}/shop"
    rabbit.ctl("set_vm_memory_high_watermark", "0.00001")
    try:
        assert found(target, queue="orders") == READY
    finally:
        rabbit.ctl("set_vm_memory_high_watermark", "0.4")


@needs_rabbit
def test_a_virtual_host_that_is_down_is_starting(rabbit: Rabbit) -> None:
    """The node is up, and the virtual host is started again by it or by an operator."""
    target = f"amqp://app:{PASSWORD}@127.0.0.1:{rabbit.port}/shop"
    rabbit.ctl("eval", 'rabbit_vhost_sup_sup:delete_on_all_nodes(<<"shop">>).')
    try:
        assert found(target) == ("waiting", "starting")
    finally:
        rabbit.ctl("restart_vhost", "-p", "shop")
    assert found(target) == READY


@needs_rabbit
def test_tls_is_spoken_as_the_scheme_or_the_query_says(rabbit: Rabbit) -> None:
    """A certificate is verified, by what an application's own target names too; who has one logs in with it."""
    ca, cert, key = str(rabbit.trust.cert), str(rabbit.client.cert), str(rabbit.client.key)
    assert found(f"amqps://127.0.0.1:{rabbit.secure}") == ("waiting", "tls_failed")
    assert found(f"amqps://127.0.0.1:{rabbit.secure}", ca=ca) == AUTH
    assert found(f"amqps://127.0.0.1:{rabbit.secure}?verify=verify_none") == AUTH
    assert found(f"amqps://app:{PASSWORD}@127.0.0.1:{rabbit.secure}/shop?cacertfile={ca}") == READY
    assert found(f"amqps://127.0.0.1:{rabbit.secure}", ca=ca, cert=cert, key=key, login="yes") == READY
    assert found(f"amqps://127.0.0.1:{rabbit.port}", ca=ca) == ("waiting", "wrong_protocol")
    assert found(f"amqp://127.0.0.1:{rabbit.secure}")[1] in ("wrong_protocol", "closed", "reset")


@needs_rabbit
def test_an_attempt_leaves_little_in_the_log(rabbit: Rabbit) -> None:
    """Without a login no more than any first byte does; with one it notes a proper end, and who it was."""

    def noted(come: Callable[[], object], last: str) -> list[str]:
        before = len(rabbit.log)
        come()

        def ours() -> list[str]:  # by the process that serves the connection: an earlier one may end just now
            came = re.findall(r"accepting AMQP connection (<[0-9.]+>)", rabbit.log[before:])
            return [line for line in rabbit.log[before:].splitlines() if came and f" {came[-1]} " in line]

        until(lambda: any(last in line for line in ours()), last)
        return ours()

    def say_a_byte() -> None:
        with socket.create_connection(("127.0.0.1", rabbit.port)) as sock:
            sock.sendall(b"A")

    def levels(lines: list[str]) -> list[str]:
        return [line.partition("[")[2].partition("]")[0] for line in lines]

    least = noted(say_a_byte, "client unexpectedly closed")
    lines = noted(lambda: found(f"amqp://127.0.0.1:{rabbit.port}"), "client unexpectedly closed")
    assert levels(lines) == levels(least) == ["info", "warning", "warning"]  # the warning stands over two lines
    target = f"amqp://app:{PASSWORD}@127.0.0.1:{rabbit.port}/shop"
    lines = noted(lambda: found(target), "closing AMQP connection")
    assert set(levels(lines)) == {"info"}
    assert [line for line in lines if "gatekeeper" in line]


@needs_rabbit
def test_a_password_is_told_nowhere(rabbit: Rabbit, tmp_path: Path) -> None:
    """Neither a right one nor a wrong one, whatever comes of it."""
    where = f"127.0.0.1:{rabbit.port}"
    lines = (
        f"right=amqp://app:{PASSWORD}@{where}/shop queue=bills",
        f"nowhere=amqp://app:{PASSWORD}@{where}/none",
        f"wrong=amqp://nobody:{PASSWORD}@{where}",
    )
    said = told_nowhere(PASSWORD, "\n".join(lines), tmp_path)
    assert "no queue bills" in said
    told_nowhere(PASSWORD, f"mq=amqp://app:{PASSWORD}/x@127.0.0.1", tmp_path)


@needs_rabbit
def test_a_node_is_nothing_else(rabbit: Rabbit) -> None:
    """To no other protocol it is ready."""
    is_nothing_else(rabbit.port, "amqp")


@needs_rabbit
def test_a_node_that_stops_is_gone(rabbit: Rabbit) -> None:
    """It closes its port, and takes its time then; no test of it follows."""
    goes_for_good(rabbit.process, *rabbit.targets)


PROTON = """
import sys
from proton.handlers import MessagingHandler
from proton.reactor import Container

class Server(MessagingHandler):
    def on_start(self, event):
        event.container.listen("127.0.0.1:" + sys.argv[1])

Container(Server()).run()
"""


@pytest.mark.needs("/usr/bin/python3")
def test_a_server_of_amqp_1_0_is_up(tmp_path: Path) -> None:
    """It answers our header with its own; but nobody can log in there with AMQP 0-9-1."""
    if subprocess.run(["/usr/bin/python3", "-c", "import proton"], check=False, capture_output=True).returncode:
        assert "CI" not in os.environ
        pytest.skip("needs python3-qpid-proton")
    port = free_port()
    argv = ["/usr/bin/python3", "-c", PROTON, str(port)]
    with started(argv, folder=tmp_path, up=lambda: accepts(port)):
        assert attempt(f"amqp://127.0.0.1:{port}") == Outcome(State.READY, Reason.READY, f"127.0.0.1:{port} (AMQP 1.0)")
        assert found(f"amqp://a:b@127.0.0.1:{port}") == ("waiting", "wrong_protocol")


@pytest.mark.parametrize(
    "banner",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"AMQP\x01\x01\x00\x0a",  # AMQP 0-10
        b"AMQP\x02\x01\x00\x00",  # AMQP 1.0, TLS first
        b"AMQP\x00\x00\x09\x01",  # it wants what we have just said
        b"\x01\x00\x00\xff\xff\xff\xff\x00\x0a\x00\x0a",  # a frame of 4 GiB
        START[:-1] + b"\x00",
        START.replace(b"\x00\x0a\x00\x0a", b"\x00\x0a\x00\x1e"),  # Tune before Start
    ],
)
def test_another_protocol_is_said_and_waited_out(banner: bytes) -> None:
    """The port may be taken over one day; what was said is not repeated."""
    with serving(saying(banner)) as port:
        outcome = attempt(f"amqp://127.0.0.1:{port}")
    assert isinstance(outcome, Outcome)
    assert (outcome.state, outcome.reason) == (State.WAITING, Reason.WRONG_PROTOCOL)
    assert outcome.detail.startswith(f"127.0.0.1:{port} (it ")


def test_a_server_that_closes_instead_of_greeting_is_starting() -> None:
    """Connection.Close as the first method: it is a broker, and takes nobody now."""
    with serving(saying(bytes.fromhex("01 0000 0000000b 000a0032 0140 00 0000 0000 ce"))) as port:
        assert found(f"amqp://127.0.0.1:{port}") == ("waiting", "starting")


@pytest.mark.parametrize("answer", [b"", b"\x01\x00\x00\x00\x00\x00\x05\x00\x0a\x00\x1e\x00\xce", b"SSH-2.0-x\r\n" * 9])
def test_a_login_that_is_cancelled_leaves_nothing_behind(answer: bytes) -> None:
    """Whatever comes instead of an answer to the login is an outcome, and a cancellation goes through."""
    with serving(saying(START, answer)) as port:
        cancelled_at_every_turn(f"amqp://a:b@127.0.0.1:{port}", 30)
        if answer:
            assert found(f"amqp://a:b@127.0.0.1:{port}") == ("waiting", "wrong_protocol")


def test_what_rabbitmq_seldom_says_to_a_login() -> None:
    """It is being stopped (320 CONNECTION_FORCED); it is for certificates alone; it has what it takes (530)."""

    def close(code: int) -> bytes:
        arguments = bytes.fromhex("000a0032") + code.to_bytes(2, "big") + b"\x04full" + bytes(4)
        return b"\x01\x00\x00" + len(arguments).to_bytes(4, "big") + arguments + b"\xce"

    for said, expected in (
        (START + close(320), "starting"),
        (START + close(530), "unwanted_answer"),
        (START.replace(b"PLAIN", b"OTHER"), "unwanted_answer"),
    ):
        with serving(saying(said)) as port:
            assert found(f"amqp://a:b@127.0.0.1:{port}") == ("waiting", expected)


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("amqp://app@mq", {"queue": "a"}, "has a user to log in as, and no password: give one, or password_file"),
        ("amqp://mq", {"queue": "a", "login": "no"}, "queue: needs login: leave out login=no"),
        ("amqp://mq", {"queue": "x" * 256}, "queue: is empty, longer than 255 bytes"),
        ("amqp://mq/" + "x" * 256, {}, "has a virtual host that is longer than 255 bytes"),
    ],
)
def test_a_bad_declaration_is_told(target: str, options: dict[str, str], message: str) -> None:
    """Nothing is probed, and the message says what would be right."""
    with pytest.raises(BadOptionsError) as raised:
        Amqp.parse(target, {key: (text,) for key, text in options.items()})
    assert message in str(raised.value)


def test_a_missing_driver_is_a_bad_declaration() -> None:
    """It is named with the command that installs it; who does not log in needs none."""
    code = """
import sys
sys.modules["pika"] = None
from gatekeeper.probes.amqp import Amqp
try:
    Amqp.parse("amqp://a:b@mq", {})
except ValueError as error:
    print(error)
print(Amqp.parse("amqp://a:b@mq", {"login": ("no",)}).logs_in)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    message, logs_in = done.stdout.splitlines()
    assert "pip install 'gatekeeper-agent[amqp]'" in message
    assert logs_in == "False"
