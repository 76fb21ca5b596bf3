"""mysql: a real MariaDB in each of its states, and what else may listen at its port."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from textwrap import dedent

import certificates
import pytest
from attempts import attempt, cancelled_at_every_turn
from badness import descriptors, left_over, saying, serving
from mariadb import PASSWORD, Cluster, Running, made
from realservers import PATIENCE, free_port, paused, until
from stopping import goes_for_good
from strangers import is_nothing_else

from gatekeeper.model import Outcome, Reason, State
from gatekeeper.probes._options import BadOptionsError
from gatekeeper.probes.mysql import Mysql

pytestmark = pytest.mark.needs("mariadbd", "mariadb-install-db", "mariadb")


def probe(target: str, **options: str) -> Mysql:
    """Return the probe of a target with its options."""
    return Mysql.parse(target, {key: (value,) for key, value in options.items()})


def found(target: str, **options: str) -> tuple[State, Reason]:
    """Make one attempt that ends; return state and reason, having seen that its detail shows no secret."""
    outcome = attempt(target, **options)
    assert isinstance(outcome, Outcome), outcome
    assert PASSWORD not in outcome.detail
    return outcome.state, outcome.reason


READY = (State.READY, Reason.READY)
UP = (State.READY, Reason.READY_AUTH_REQUIRED)
REFUSED = (State.WAITING, Reason.REFUSED)
STARTING = (State.WAITING, Reason.STARTING)
FORBIDDEN = (State.FAILED, Reason.FORBIDDEN)
NOT_YET_ALLOWED = (State.WAITING, Reason.FORBIDDEN)
NOT_FOUND = (State.WAITING, Reason.NOT_FOUND)
FAILED = (State.FAILED, Reason.UNWANTED_ANSWER)
TLS_FAILED = (State.WAITING, Reason.TLS_FAILED)
UNWANTED = (State.WAITING, Reason.UNWANTED_ANSWER)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Give a server that is stopped."""
    with made() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def pair(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, tuple[str, ...]]:
    """Give an authority, and the options with which a server speaks TLS with a certificate of it for localhost."""
    folder = tmp_path_factory.mktemp("certificates")
    ca = certificates.authority(folder)
    made_for = certificates.leaf(folder, ca, "localhost")
    options = []
    for key, path in (("cert", made_for.cert), ("key", made_for.key)):
        copy = shutil.copy(path, cluster.folder / key)
        os.chmod(copy, 0o644)
        options.append(f"--ssl-{key}={copy}")
    return str(ca.cert), tuple(options)


@pytest.fixture(scope="module")
def server(cluster: Cluster, pair: tuple[str, tuple[str, ...]]) -> Iterator[Running]:
    """Give a server with TLS and without."""
    with cluster.copied() as copy, copy.running("--performance-schema=ON", *pair[1]) as server:
        yield server


class TestStates:
    """A server that starts, serves, is full and ends, each time by a process of its own."""

    def test_it_is_refused_until_it_serves(self, cluster: Cluster) -> None:
        """It opens its port when it has recovered, and no other state is in between; nor when it stops."""
        port, seen = free_port(), []
        target = f"mysql://127.0.0.1:{port}"

        def up() -> bool:
            seen.append(found(target))
            return seen[-1] != REFUSED

        with cluster.running(port=port, up=up) as server:
            assert set(seen) == {REFUSED, UP}
            goes_for_good(server.process, target, f"mysql://app:{PASSWORD}@127.0.0.1:{port}/app")

    def test_the_server_of_an_image_that_makes_its_database_listens_at_its_socket_alone(self, cluster: Cluster) -> None:
        """Over the network it is refused until the real one starts; over the socket file the two look alike."""
        for option in ("--skip-networking", "--port=0"):
            with cluster.running(option) as server:
                assert found(f"mysql://127.0.0.1:{server.port}") == REFUSED
                assert found("mysql://", unix=cluster.socket) == UP
                assert found(f"mysql://app:wrong@/app?unix_socket={cluster.socket}") == NOT_YET_ALLOWED

    def test_a_server_without_a_free_connection_is_not_ready(self, cluster: Cluster) -> None:
        """It is up, and of no use. There is one more than it says, for an administrator."""
        with cluster.running("--max-connections=10") as server, ExitStack() as stack:
            for _ in range(11):
                client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), PATIENCE))
                assert client.recv(4)
            outcome = attempt(f"mysql://127.0.0.1:{server.port}")
        assert isinstance(outcome, Outcome)
        assert (outcome.state, outcome.reason) == STARTING
        assert outcome.detail == f"127.0.0.1:{server.port} (it has no connection left: error 1040)"

    def test_one_that_takes_anybody_gives_a_session_that_is_ended_properly(self, cluster: Cluster) -> None:
        """Without a password nobody has to be told that there are credentials."""
        with cluster.copied() as copy, copy.running() as server:
            server.sql("CREATE USER gatekeeper@'%'")
            assert found(f"mysql://127.0.0.1:{server.port}") == READY
            server.comes_to_rest()
            assert "Aborted connection" not in copy.log

    def test_a_paused_server_is_not_ready(self, server: Running) -> None:
        """Its port accepts still; the attempt says at which step its time was over."""
        at = f"127.0.0.1:{server.port}"
        with paused(server.process):
            assert attempt(f"mysql://{at}", 0.2) == f"waiting for an answer of {at}"
            assert attempt(f"mysql://app:{PASSWORD}@{at}?ssl-mode=REQUIRED", 0.2) == f"waiting for an answer of {at}"


class TestUp:
    """A server that is up, asked without a login."""

    def test_it_is_up_for_whoever_is_named(self, server: Running) -> None:
        """With a user or without, in each of the forms that a DSN has; the user's own name is not used up."""
        at = f"127.0.0.1:{server.port}"
        before = server.cluster.log
        for target in (
            f"mysql://{at}",
            f"mariadb://app@{at}/app",
            f"mysql://app:{PASSWORD}@{at}/app?charset=utf8mb4&ssl-mode=PREFERRED&connect_timeout=3",
            f"mysql://{at},127.0.0.1:{free_port()}/app?user=app&password={PASSWORD}",
            f"mysql://app:{PASSWORD}@localhost/app?unix_socket={server.cluster.socket}",
            f"mysql:///app?socket={server.cluster.socket}",
        ):
            assert found(target, login="no") == UP
        assert found("mysql://ignored.test", unix=server.cluster.socket) == UP
        server.comes_to_rest()
        said = server.cluster.log.removeprefix(before).splitlines()
        assert len(said) == 7, said
        assert all("Access denied for user 'gatekeeper'@'localhost' (using password: NO)" in line for line in said)

    def test_one_that_takes_tls_alone_is_up(self, cluster: Cluster, pair: tuple[str, tuple[str, ...]]) -> None:
        """Asked in plain it refuses, as a server that has started."""
        with cluster.running("--require-secure-transport=ON", *pair[1]) as server:
            assert found(f"mysql://127.0.0.1:{server.port}") == UP
            assert found(f"mysql://127.0.0.1:{server.port}?ssl-mode=REQUIRED") == UP
            assert found(f"mysql://app:{PASSWORD}@127.0.0.1:{server.port}/app") == READY
            assert found(f"mysql://app:{PASSWORD}@127.0.0.1:{server.port}/app?ssl-mode=DISABLED") == FORBIDDEN


class TestTls:
    """How TLS is agreed on."""

    def test_modes_are_those_of_its_clients(self, server: Running, pair: tuple[str, tuple[str, ...]]) -> None:
        """A user who may come over TLS alone is logged in where the mode has TLS, verified as it says."""
        ca = pair[0]
        at = f"safe:{PASSWORD}@localhost:{server.port}/app"
        for query in ("", "ssl-mode=PREFERRED", "sslMode=REQUIRED", "ssl=true", "tls=skip-verify", "useSSL=true"):
            assert found(f"mysql://{at}?{query}") == READY, query
        for query in (f"ssl-mode=VERIFY_IDENTITY&ssl-ca={ca}", f"ssl_mode=verify_ca&ssl_ca={ca}"):
            assert found(f"mysql://{at}?{query}") == READY, query
        assert found(f'mysql://{at}?ssl={{"rejectUnauthorized":false}}') == READY
        assert found(f'mysql://{at}?ssl={{"rejectUnauthorized":true}}') == TLS_FAILED
        assert found(f"mysql://{at}?ssl-mode=DISABLED") == FORBIDDEN
        assert found(f"mysql://{at}", tls="yes") == TLS_FAILED
        assert found(f"mysql://{at}", ca=ca) == READY
        assert found(f"mysql://{at}", insecure="yes") == READY
        by_address = at.replace("localhost", "127.0.0.1")
        assert found(f"mysql://{by_address}?ssl-mode=VERIFY_CA", ca=ca) == READY
        assert found(f"mysql://{by_address}?ssl-mode=VERIFY_IDENTITY", ca=ca) == TLS_FAILED
        assert found(f"mysql://{by_address}?ssl-mode=VERIFY_IDENTITY", ca=ca, server_name="localhost") == READY
        assert found(f"mysql://localhost:{server.port}", ca=ca) == UP

    def test_a_certificate_that_does_not_verify_is_not_asked_for_again_at_once(self, server: Running) -> None:
        """The server counts each handshake that is broken off."""
        outcome = attempt(f"mysql://localhost:{server.port}", tls="yes")
        assert isinstance(outcome, Outcome)
        assert (outcome.state, outcome.reason) == TLS_FAILED
        assert outcome.retry_after == 10.0

    def test_tls_that_is_not_offered_is_said(self, cluster: Cluster) -> None:
        """A server without it is logged in to where either will do, and is not ready where TLS is a must."""
        with cluster.running("--skip-ssl") as server:
            at = f"app:{PASSWORD}@127.0.0.1:{server.port}/app"
            assert found(f"mysql://{at}") == READY
            outcome = attempt(f"mysql://{at}?ssl-mode=REQUIRED")
        assert isinstance(outcome, Outcome)
        assert (outcome.state, outcome.reason) == TLS_FAILED
        assert outcome.detail == f"127.0.0.1:{server.port} (it offers no TLS)"


_OUR_NAME = """
    SELECT attr_value FROM performance_schema.session_account_connect_attrs
    WHERE processlist_id = connection_id() AND attr_name = 'program_name'
"""


class TestLogin:
    """With credentials."""

    def test_a_password_that_is_right_wrong_and_missing(self, server: Running, tmp_path: Path) -> None:
        """Taken is ready, refused is for good; its file is read at each attempt, and may come later."""
        at = f"127.0.0.1:{server.port}/app"
        assert found(f"mysql://app:{PASSWORD}@{at}") == READY
        assert found(f"mysql://app:wrong@{at}") == FORBIDDEN
        assert found(f"mysql://nobody:wrong@{at}") == FORBIDDEN
        outcome = attempt(f"mysql://app:wrong@{at}")
        assert isinstance(outcome, Outcome)
        assert outcome.certain, "one more try may lock the account"
        assert found(f"mysql://app:wrong@{at}", login="no") == UP
        file = tmp_path / "password"
        assert found(f"mysql://app@{at}", password_file=str(file)) == NOT_FOUND
        file.write_text(f"{PASSWORD}\n")
        assert found(f"mysql://app@{at}", password_file=str(file)) == READY
        assert found(f"mysql://app:{PASSWORD}@/app", unix=server.cluster.socket) == READY
        server.comes_to_rest()

    def test_a_database_that_is_not_there_yet_is_waited_for(self, server: Running) -> None:
        """Who has no right to it is told so whether it is there or not."""
        assert found(f"mysql://app:{PASSWORD}@127.0.0.1:{server.port}/later") == NOT_YET_ALLOWED
        assert found("mysql://root@/later", unix=server.cluster.socket, login="yes") == NOT_FOUND

    def test_tables_and_views_are_looked_for(self, server: Running) -> None:
        """In the database of the target or the one that is named, and only what one may see."""
        target = f"mysql://app:{PASSWORD}@127.0.0.1:{server.port}/app"
        for table in ("orders", "app.orders,orders", "information_schema.TABLES"):
            assert found(target, table=table) == READY, table
        for table in ("order", "hidden.orders", "nowhere.orders", "orders,later"):
            assert found(target, table=table) == NOT_FOUND, table
        server.sql("CREATE VIEW app.later AS SELECT 1")
        assert found(target, table="orders,later") == READY
        server.sql("DROP VIEW app.later")

    @pytest.mark.parametrize(
        ("query", "expect", "wanted"),
        [
            ("SELECT id FROM orders", "41", READY),
            ("SELECT id FROM orders", "4", UNWANTED),
            ("SELECT id FROM orders;", None, READY),
            ("SELECT count(*) FROM orders -- a comment", "1", READY),
            ("SELECT count(*) FROM orders WHERE id = 1", None, UNWANTED),
            ("SELECT id FROM orders WHERE id = 1", None, UNWANTED),
            ("SELECT id FROM orders WHERE id = 1", "", UNWANTED),
            ("SELECT EXISTS (SELECT * FROM orders)", None, READY),
            ("SELECT id = 1 FROM orders", None, UNWANTED),
            ("SELECT NULL", None, UNWANTED),
            ("SELECT 'ä', 2 UNION SELECT 'b', 3", "ä", READY),
            ("SELECT 1.50", "1.50", READY),
            ("SELECT x'e4'", "\N{REPLACEMENT CHARACTER}", READY),
            ("SELECT DATE('2026-01-02')", "2026-01-02", READY),
            ("SHOW DATABASES LIKE 'app'", "app", READY),
            ("SELECT seq FROM seq_1_to_1000000", "1", READY),
            (_OUR_NAME, "gatekeeper", READY),
            ("SELECT * FROM later", None, NOT_FOUND),
            ("SELECT later FROM orders", None, NOT_FOUND),
            ("SELECT * FROM hidden.orders", None, NOT_YET_ALLOWED),
            ("SELEC 1", None, FAILED),
            ("INSERT INTO orders VALUES (42)", None, FAILED),
            ("SELECT 1; DROP TABLE orders", None, FAILED),
        ],
    )
    def test_the_value_of_a_query(
        self, server: Running, query: str, expect: str | None, wanted: tuple[State, Reason]
    ) -> None:
        """It must be there and not false, or be what is expected; what it is stands in no detail."""
        options = {"query": query} if expect is None else {"query": query, "expect": expect}
        outcome = attempt(f"mysql://app:{PASSWORD}@127.0.0.1:{server.port}/app", **options)
        assert isinstance(outcome, Outcome)
        assert (outcome.state, outcome.reason) == wanted, outcome.detail
        assert "41" not in outcome.detail.replace(str(server.port), "").replace("error 1142", "")

    # Python's ssl, where the other side is gone just before the handshake, leaves that to the end of the object.
    @pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
    @pytest.mark.parametrize("mode", ["DISABLED", "REQUIRED"])
    def test_a_cancellation_at_any_time_leaves_nothing_behind(self, server: Running, mode: str) -> None:
        """However far the driver has come: no socket, no task, no thread, no session once its query has ended."""
        target = f"mysql://app:{PASSWORD}@127.0.0.1:{server.port}/app?ssl-mode={mode}"
        before = threading.active_count()
        cancelled_at_every_turn(target, 60, 0.001, query="SELECT sleep(0.2)")
        until(lambda: threading.active_count() <= before, "the threads to end")
        server.comes_to_rest()

    def test_a_paused_server_holds_no_attempt(self, server: Running) -> None:
        """One that falls silent in the midst of a query is left where it is."""
        target = f"mysql://app:{PASSWORD}@127.0.0.1:{server.port}/app?ssl-mode=REQUIRED"

        async def run() -> None:
            before = descriptors()
            task = asyncio.ensure_future(probe(target, query="SELECT sleep(1)").attempt())
            sleeping = "SELECT 1 FROM information_schema.processlist WHERE info LIKE 'SELECT sleep%'"
            await asyncio.to_thread(lambda: until(lambda: server.sql(sleeping), "the query to run"))
            with paused(server.process):
                began = time.monotonic()
                task.cancel()
                await asyncio.wait([task])
                assert time.monotonic() - began < PATIENCE / 10
                assert task.cancelled()
                assert left_over(before) == set()

        asyncio.run(run())
        server.comes_to_rest()


# Run where our address is not the loopback's, which is never blocked, and has a name, without which nothing is counted.
_COUNTED = """
    import asyncio, os, sys
    sys.path[:0] = [sys.argv[1], os.path.dirname(sys.argv[1])]
    from pathlib import Path
    from mariadb import Cluster
    from realservers import paused
    from gatekeeper.probes.mysql import Mysql

    def attempt(target, seconds=30.0, **options):
        async def once():
            try:
                async with asyncio.timeout(seconds):
                    outcome = await Mysql.parse(target, {key: (value,) for key, value in options.items()}).attempt()
                    return f"{outcome.state} {outcome.reason}"
            except TimeoutError:
                return "time over"
        return asyncio.run(once())

    cluster = Cluster(Path(sys.argv[2]))
    options = [f"--ssl-cert={cluster.folder}/cert", f"--ssl-key={cluster.folder}/key", "--bind-address=10.9.9.1"]
    with cluster.running("--max-connect-errors=3", "--performance-schema=ON", *options) as server:
        def counted(what):
            told = server.sql("SELECT sum_connect_errors, count_handshake_errors FROM performance_schema.host_cache")
            print(what, *(told.split() or "00"))

        at = f"10.9.9.1:{server.port}"
        print(attempt(f"mysql://{at}"))
        for _ in range(5):
            attempt(f"mysql://{at}")
            attempt(f"mysql://{at}?ssl-mode=REQUIRED")
            attempt(f"mysql://app:{sys.argv[3]}@{at}/app")
            attempt(f"mysql://app:wrong@{at}/app")
            attempt(f"mysql://{at}", server_name="localhost", ca=f"{cluster.folder}/ca")
        counted("asked")
        with paused(server.process):
            for _ in range(5):
                print(attempt(f"mysql://{at}", 0.05), attempt(f"mysql://{at}?ssl-mode=REQUIRED", 0.05))
        print(attempt(f"mysql://{at}"))
        server.comes_to_rest()
        counted("given up")
        server.sql("DROP USER app@'%', safe@'%'", "FLUSH PRIVILEGES")
        print(attempt(f"mysql://{at}"))
        server.sql("CREATE USER app@'10.9.9.%' IDENTIFIED BY 'x'")
        print(attempt(f"mysql://{at}"))
        counted("from where nobody may come, and somebody")
        print(attempt(f"mysql://{at}", tls="yes"))
        server.comes_to_rest()
        counted("a certificate that does not verify")
        for _ in range(2):
            attempt(f"mysql://{at}", tls="yes")
        server.comes_to_rest()
        print(attempt(f"mysql://{at}"))
"""
_NAMESPACE = 'mount --bind "$1" /etc/hosts && shift && ip link set lo up && ip addr add 10.9.9.1/24 dev lo && exec "$@"'


@pytest.mark.root
@pytest.mark.needs("unshare", "ip")
def test_attempts_are_not_counted_against_our_host(
    cluster: Cluster, pair: tuple[str, tuple[str, ...]], tmp_path: Path
) -> None:
    """Neither those that end nor those that are given up; only TLS that we break off is, and it is not hurried."""
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n10.9.9.1 probe.test\n")
    with cluster.copied() as copy:
        shutil.copy(pair[0], copy.folder / "ca")
        script = [sys.executable, "-c", dedent(_COUNTED), str(Path(__file__).parent), str(copy.folder), PASSWORD]
        argv = ["unshare", "--net", "--mount", "sh", "-c", _NAMESPACE, "sh", str(hosts), *script]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "ready ready_auth_required",
        "asked 0 0",
        *["time over time over"] * 5,
        "ready ready_auth_required",
        "given up 0 0",
        "waiting forbidden",
        "ready ready_auth_required",
        "from where nobody may come, and somebody 0 0",
        "waiting tls_failed",
        "a certificate that does not verify 1 1",
        "waiting forbidden",
    ]


OTHERS = [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"-ERR unknown command\r\n", b"\0\0\0\0"]
OTHERS += [b"\4\0\0\0\x09abc", b"\4\0\0\1\x0aabc", b"\1\0\0\0\xff", b"\0\0\1\0\x0a", b"\4\0\0\0\x0aabc\1\0\0\2\x55"]


@pytest.mark.parametrize("said", OTHERS)
def test_another_protocol_is_said_and_waited_out(said: bytes) -> None:
    """The port may be taken over one day; what was said is not repeated."""
    with serving(saying(said)) as port:
        outcome = attempt(f"mysql://127.0.0.1:{port}")
    assert isinstance(outcome, Outcome)
    assert (outcome.state, outcome.reason) == (State.WAITING, Reason.WRONG_PROTOCOL)
    assert outcome.detail == f"127.0.0.1:{port} (it answers in another protocol)"


def packet(number: int, content: bytes) -> bytes:
    """Return a packet as a server writes it."""
    return len(content).to_bytes(3, "little") + bytes((number,)) + content


GREETING = packet(0, b"\x0a8.4.0\0" + bytes(13) + b"\xff\xff\xff\x02\x00\xff\xdf\x15" + bytes(30))


def error(code: int) -> bytes:
    """Return the content of an ERR packet, with a text that nobody may see."""
    return b"\xff" + code.to_bytes(2, "little") + b"#HY000secret text"


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        (1040, STARTING),
        (1203, STARTING),
        (1053, STARTING),
        (3032, STARTING),
        (1129, NOT_YET_ALLOWED),
        (1130, NOT_YET_ALLOWED),
        (1045, UP),
        (1251, UP),
        (3159, UP),
        (3118, UP),
        (1105, UNWANTED),
        (9002, UNWANTED),
    ],
)
def test_numbers_of_errors(code: int, wanted: tuple[State, Reason]) -> None:
    """What a server or a proxy says before a login and instead of one; what proves nothing opens no gate."""
    for said in (packet(0, error(code)), GREETING + packet(2, error(code))):
        with serving(saying(said)) as port:
            outcome = attempt(f"mysql://127.0.0.1:{port}")
        assert isinstance(outcome, Outcome)
        assert (outcome.state, outcome.reason) == wanted
        assert "secret" not in outcome.detail
        assert ("may want TLS, as by sslmode=require, or a user" in outcome.detail) == (wanted == UNWANTED)


def test_another_method_than_ours_is_answered_until_it_is_refused() -> None:
    """MySQL 8 wants caching_sha2_password of whom it does not know, and may want more of it (scripted)."""
    switch = packet(2, b"\xfecaching_sha2_password\0" + bytes(21))
    with serving(saying(GREETING + switch + packet(4, b"\x01\x04") + packet(6, error(1045)))) as port:
        assert found(f"mysql://127.0.0.1:{port}") == UP
    with serving(saying(GREETING + switch + packet(4, b"\x01\x03") * 50)) as port:
        assert found(f"mysql://127.0.0.1:{port}") == (State.WAITING, Reason.WRONG_PROTOCOL)


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("mysql:///app", {}, "has no host: write mysql://HOST:PORT"),
        ("mysql://h/app?ssl_mod=required", {}, "that is nearly ssl_mode"),
        ("mysql://h/app?ssl-mode=s3cret-pass", {}, "has a ssl-mode in its query that is not usable (its text is not"),
        ("mysql://h/app", {"table": "x"}, "logging in needs a user: write mysql://USER@HOST, or login=no"),
        ("mysql://u@h", {"table": "x"}, "needs a database: write DATABASE.TABLE, or name it in the target"),
        ("mysql://u@h/app", {"query": "x", "login": "no"}, "needs login: leave out login=no"),
        ("mysql://u@h/app", {"expect": "x"}, "needs query, whose value it is compared with"),
        ("mysql://u:s3cret-pass/x@h", {}, "in user and password, write / ? # @ as %2F %3F %23 %40"),
    ],
)
def test_a_bad_declaration_is_told(target: str, options: dict[str, str], message: str) -> None:
    """With what would be right, and without what may be secret."""
    with pytest.raises(BadOptionsError) as caught:
        probe(target, **options)
    assert message in str(caught.value)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "places", "unix"),
    [
        ("mysql://u:p@ss@tcp(db:3307)/app?tls=skip-verify", (("db", 3307),), None),
        ("mariadb://u:p@ss@(db)/app?tls=skip-verify", (("db", 3306),), None),
        ("mysql://u:p@ss@tcp6([::1]:1)/app?tls=skip-verify&x=(y)", (("::1", 1),), None),
        ("mysql://u:p@ss@unix(/run/mysqld.sock)/app?tls=skip-verify", (), "/run/mysqld.sock"),
    ],
)
def test_the_form_of_gos_driver_is_understood(
    target: str, places: tuple[tuple[str, int], ...], unix: str | None
) -> None:
    """Behind the name of the kind, as in mysql://${DSN}."""
    said = probe(target, login="no")
    assert (said.dsn.places, said.unix, said.sslmode) == (places, unix, "require")
    assert (said.dsn.user, said.dsn.path, said.dsn.password) == ("u", "app", ("p@ss",))


@pytest.mark.parametrize(
    ("query", "mode"),
    [
        ("useSSL=true&requireSSL=true&verifyServerCertificate=false", "require"),
        ("verifyServerCertificate=true", "verify-ca"),
        ("useSSL=false&verifyServerCertificate=true", "disable"),
        ("ssl_verify_cert=true", "verify-ca"),
        ("ssl_verify_cert=true&ssl_verify_identity=True", "verify-full"),
        ("ssl_ca=/ca", "verify-full"),
        ("ssl_ca=/ca&ssl_check_hostname=false", "verify-ca"),
        ("sslMode=trust", "require"),
        ("requireSSL=false", "prefer"),
    ],
)
def test_what_drivers_say_of_tls_in_flags(query: str, mode: str) -> None:
    """An application that insists on TLS, or on the certificate, is not asked for in plain."""
    assert probe(f"mysql://db/app?{query}").mode == mode


def test_a_missing_driver_is_a_bad_declaration(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the command that installs it, and the way without."""
    monkeypatch.setattr(Mysql, "DRIVER", "no_such_driver")
    with pytest.raises(BadOptionsError, match=r"pip install 'gatekeeper-agent\[mysql\]'; login=no looks whether"):
        probe(f"mysql://u:{PASSWORD}@h")
    probe(f"mysql://u:{PASSWORD}@h", login="no")
    probe("mysql://u@h")


def test_it_is_nothing_else(server: Running) -> None:
    """It speaks first, so that whoever expects another protocol is told at once."""
    is_nothing_else(server.port, "mysql", speaks_first=True)


def test_what_a_dsn_says_in_the_words_of_other_drivers() -> None:
    """Those of Rails, too; what only looks like one of these is left to the driver."""
    said = probe("mysql://db/app?sslca=/ca&sslcert=/c&sslkey=/k&sql_mode=ANSI&ssl_mode=")
    assert (said.mode, said.ca, said.cert, said.key) == ("verify-full", "/ca", "/c", "/k")
