"""postgres: the real server in each of its states, and what else may listen at its port."""

import asyncio
import os
import select
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import certificates
import pytest
from attempts import attempt, cancelled_at_every_turn
from badness import descriptors, saying, serving
from postgresql import PASSWORD, Cluster, Running, made
from realservers import PATIENCE, accepts, free_port, paused, started, until
from stopping import goes_for_good
from strangers import is_nothing_else

from gatekeeper.model import Outcome, Reason, State, waiting
from gatekeeper.probes._options import BadOptionsError
from gatekeeper.probes.postgres import Postgres

pytestmark = pytest.mark.needs("pg_ctlcluster", "psql")
SCRAM = "host all all all scram-sha-256"
OVER_TLS = "hostssl all all all scram-sha-256"


def probe(target: str, **options: str) -> Postgres:
    """Return the probe of a target with its options."""
    return Postgres.parse(target, {key: (value,) for key, value in options.items()})


def found(target: str, **options: str) -> tuple[State, Reason]:
    """Make one attempt that ends; return state and reason, having seen that its detail shows no secret."""
    outcome = attempt(target, **options)
    assert isinstance(outcome, Outcome), outcome
    assert PASSWORD not in outcome.detail
    return outcome.state, outcome.reason


READY = (State.READY, Reason.READY)
UP = (State.READY, Reason.READY_AUTH_REQUIRED)
STARTING = (State.WAITING, Reason.STARTING)
FORBIDDEN = (State.FAILED, Reason.FORBIDDEN)
NOT_FOUND = (State.WAITING, Reason.NOT_FOUND)
TLS_FAILED = (State.WAITING, Reason.TLS_FAILED)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Give a cluster that is stopped."""
    with made() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def pair(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, str]]:
    """Give an authority, and the settings with which a server speaks TLS with a certificate of it for localhost."""
    folder = tmp_path_factory.mktemp("certificates")
    ca = certificates.authority(folder)
    made_for = certificates.leaf(folder, ca, "localhost")
    settings = {"ssl": "on"}
    for key, path in (("ssl_cert_file", made_for.cert), ("ssl_key_file", made_for.key)):
        copy = shutil.copy(path, cluster.folder / path.suffix[1:])
        os.chmod(copy, 0o600)
        os.chown(copy, cluster.data.stat().st_uid, -1)
        settings[key] = str(copy)
    return str(ca.cert), settings


@pytest.fixture(scope="module")
def server(cluster: Cluster, pair: tuple[str, dict[str, str]]) -> Iterator[Running]:
    """Give a server that wants a password, with TLS and without."""
    with cluster.copied() as copy, copy.running(**pair[1]) as server:
        yield server


@contextmanager
def signed(cluster: Cluster, name: str, settings: str = "") -> Iterator[None]:
    """Let the next start of the server be that of a standby or a recovery."""
    (cluster.data / name).touch()
    os.chown(cluster.data / name, cluster.data.stat().st_uid, -1)
    (cluster.data / "postgresql.auto.conf").write_text(settings)
    try:
        yield
    finally:
        (cluster.data / name).unlink(missing_ok=True)
        (cluster.data / "postgresql.auto.conf").write_text("")


class TestStates:
    """A server that starts, serves, is full and ends, each time by a process of its own."""

    def test_nobody_there_is_refused(self) -> None:
        """As everywhere."""
        outcome = attempt(f"postgres://127.0.0.1:{free_port()}")
        assert isinstance(outcome, Outcome)
        assert (outcome.state, outcome.reason, outcome.gone) == (State.WAITING, Reason.REFUSED, True)

    def test_a_standby_that_takes_nobody_is_starting_for_as_long_as_it_does(self, cluster: Cluster) -> None:
        """Its port accepts, and agrees to TLS; neither the user nor the want of one makes it ready."""
        with (
            signed(cluster, "standby.signal", "hot_standby = off\n"),
            cluster.running(up=False) as server,
        ):
            at = f"127.0.0.1:{server.port}"
            until(lambda: found(f"postgres://{at}") == STARTING, "the standby to say so")
            assert found(f"postgres://app:{PASSWORD}@{at}/app") == STARTING
            outcome = attempt(f"postgresql://@{at}")
            assert isinstance(outcome, Outcome)
            assert outcome.detail == f"{at} (it starts, recovers or shuts down: SQLSTATE 57P03)"
            assert found(f"postgres:///?host={cluster.folder}&port={server.port}") == STARTING

    def test_a_recovery_that_waits_for_its_archive_is_starting_and_then_ready(self, cluster: Cluster) -> None:
        """However long the log of what was written before takes to be read again."""
        go = cluster.folder / "go"
        command = f"while ! test -e {go}; do sleep 0.05; done; exit 1"
        with (
            signed(cluster, "recovery.signal", f"restore_command = '{command}'\n"),
            cluster.running(up=False) as server,
        ):
            target = f"postgres://127.0.0.1:{server.port}"
            until(lambda: found(target) == STARTING, "the recovery to say so")
            assert found(target) == STARTING
            go.touch()
            until(lambda: found(target) == UP, "the recovery to end")
        go.unlink()

    def test_a_server_whose_session_crashed_is_starting(self, cluster: Cluster) -> None:
        """It restarts all of itself; a process that does not end yet keeps it in that state."""
        with cluster.running() as server:
            sleeper, victim = (session(server) for _ in range(2))
            os.kill(sleeper, signal.SIGSTOP)
            os.kill(victim, signal.SIGKILL)
            target = f"postgres://127.0.0.1:{server.port}"
            until(lambda: found(target) == STARTING, "the server to recover")
            os.kill(sleeper, signal.SIGCONT)
            until(lambda: found(target) == UP, "the server to have recovered")

    def test_a_server_that_shuts_down_is_not_ready(self, cluster: Cluster) -> None:
        """While it waits for the sessions of others to end, while it ends them itself, and when it is gone."""
        with cluster.running() as server:
            session(server)
            server.process.send_signal(signal.SIGTERM)
            target = f"postgres://127.0.0.1:{server.port}"
            until(lambda: found(target) == STARTING, "the server to shut down")
            server.process.send_signal(signal.SIGINT)
            until(lambda: found(target) == (State.WAITING, Reason.REFUSED), "the server to be gone")
        with cluster.running() as server:
            session(server)
            at = f"127.0.0.1:{server.port}"
            login = f"postgres://app:{PASSWORD}@{at}/app"
            goes_for_good(server.process, f"postgres://{at}", login, number=signal.SIGINT)

    def test_a_paused_server_is_not_ready(self, server: Running) -> None:
        """Its port accepts still; the attempt says at which step its time was over."""
        at = f"127.0.0.1:{server.port}"
        with paused(server.process):
            assert attempt(f"postgres://{at}", 0.2) == f"waiting for an answer of {at}"
            assert attempt(f"postgres://{at}?sslmode=require", 0.2) == f"waiting for an answer of {at}"

    def test_a_server_without_a_free_connection_is_not_ready_and_an_attempt_takes_none(self, cluster: Cluster) -> None:
        """A login that is begun and not ended holds a connection: ours is ended before the next one comes."""
        settings = {"max_connections": "1", "superuser_reserved_connections": "0"}
        trusting = f"host app postgres all trust\n{SCRAM}"
        with cluster.running(hba=trusting, **settings) as server:
            at = f"127.0.0.1:{server.port}"
            for target in (f"postgres://app@{at}/app", f"postgres://postgres@{at}/app"):
                for _ in range(5):
                    until(lambda target=target: found(target) != STARTING, "the connection to be free again")
            until(server.takes_sessions, "the connection to be free again")
            pid = session(server, patient=True)
            outcome = attempt(f"postgres://{at}")
            assert isinstance(outcome, Outcome)
            assert (outcome.state, outcome.reason) == STARTING
            assert outcome.detail == f"{at} (it has no connection left: SQLSTATE 53300)"
            os.kill(pid, signal.SIGTERM)

    def test_the_server_of_an_image_that_makes_its_database_listens_at_its_socket_alone(self, cluster: Cluster) -> None:
        """Over the network it is refused until the real one starts; over the socket file the two look alike."""
        with cluster.running(listen_addresses="") as server:
            assert found(f"postgres://127.0.0.1:{server.port}") == (State.WAITING, Reason.REFUSED)
            assert found("postgres://", unix=server.socket) == UP


def session(server: Running, *, patient: bool = False) -> int:
    """Open a session that lasts until the server ends, and return the process that serves it."""
    argv = ["psql", "-XqAtw", "-h", str(server.cluster.folder), "-p", str(server.port), "-U", "postgres", "-d", "app"]
    while True:
        client = subprocess.Popen(
            [*argv, "-c", "SELECT pg_backend_pid()", "-c", "SELECT pg_sleep(1000)"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert client.stdout
        line = client.stdout.readline()
        _clients.append(client)
        if line or not patient:
            return int(line)


_clients: list["subprocess.Popen[str]"] = []


@pytest.fixture(autouse=True)
def no_client_is_left() -> Iterator[None]:
    """End the sessions of a test, whose server has gone."""
    yield
    while _clients:
        client = _clients.pop()
        client.kill()
        client.communicate()


class TestUp:
    """A server that is up, asked without a login."""

    def test_it_is_up_for_whoever_is_named(self, server: Running) -> None:
        """With a user or without, in each of the forms that a DSN has."""
        at = f"127.0.0.1:{server.port}"
        folder = str(server.cluster.folder)
        for target in (
            f"postgres://{at}",
            f"postgresql://app@{at}/app",
            f"postgres://app:{PASSWORD}@{at}/app?sslmode=prefer&connect_timeout=3&application_name=shop",
            f"postgres:///app?host=127.0.0.1&port={server.port}",
            f"postgres:///app?host=127.0.0.1,::1&port={server.port}",
            f"postgres://{at},127.0.0.1:{free_port()}/app?user=app",
        ):
            assert found(target, login="no") == UP
        for target in (
            f"postgres:///app?host={folder}&port={server.port}",
            f"postgres://nobody@{folder.replace('/', '%2F')}:{server.port}/app",
            f"postgres://nobody@/app?host={folder}&port={server.port}&sslmode=verify-full",
        ):
            assert found(target) == UP
        assert found("postgres://ignored.test", unix=server.socket) == UP

    def test_one_that_wants_no_password_gives_a_session(self, cluster: Cluster) -> None:
        """To a user whom it knows; a database that is named must be there, and none is held against who names none."""
        before = len(cluster.log)  # of servers that a test before has ended in the midst of their sessions
        with cluster.running(hba="host all all all trust") as server:
            at = f"127.0.0.1:{server.port}"
            assert found(f"postgres://app@{at}/app") == READY
            assert found(f"postgres://app@{at}") == READY
            assert found(f"postgres://postgres@{at}") == READY
            assert found(f"postgres://app@{at}/later") == NOT_FOUND
            assert found(f"postgres://{at}") == UP
            server.comes_to_rest()
            assert "unexpected EOF" not in cluster.log[before:]
            assert "could not send" not in cluster.log[before:]

    def test_one_that_lets_nobody_in_from_here_is_up(self, cluster: Cluster) -> None:
        """No line of pg_hba.conf is a refusal of a server that has started."""
        with cluster.running(hba="# none") as server:
            assert found(f"postgres://app@127.0.0.1:{server.port}/app") == UP
            assert found(f"postgres://app:{PASSWORD}@127.0.0.1:{server.port}/app") == FORBIDDEN

    def test_an_attempt_is_no_line_in_its_log(self, server: Running) -> None:
        """Hanging up before a password is no event for it."""
        before = server.cluster.log
        for _ in range(3):
            assert found(f"postgres://app@127.0.0.1:{server.port}/app") == UP
            assert found(f"postgres://app@127.0.0.1:{server.port}/app?sslmode=require") == UP
        assert server.cluster.log == before

    def test_its_name_in_the_log_is_ours(self, cluster: Cluster) -> None:
        """One line for a role that is not there, in which an administrator sees who asked."""
        with cluster.running(hba="host all all all trust", log_connections="on") as server:
            assert found(f"postgres://127.0.0.1:{server.port}") == UP
            until(lambda: 'role "gatekeeper" does not exist' in cluster.log, "the server to say so")
            assert found(f"postgres://app@127.0.0.1:{server.port}/app") == READY
            until(lambda: "user=app database=app application_name=gatekeeper" in cluster.log, "the server to say so")


class TestTls:
    """How TLS is agreed on."""

    def test_modes_are_libpqs(self, cluster: Cluster, pair: tuple[str, dict[str, str]]) -> None:
        """A server that takes logins over TLS alone is logged in to where the mode has TLS, verified as it says."""
        ca, settings = pair
        with cluster.running(hba=OVER_TLS, **settings) as server:
            at = f"app:{PASSWORD}@localhost:{server.port}/app"
            for query in ("", "sslmode=prefer", "sslmode=allow", "sslmode=require", "ssl=true", "sslmode=no-verify"):
                assert found(f"postgres://{at}?{query}") == READY, query
            for query in (f"sslmode=verify-full&sslrootcert={ca}", f"sslmode=verify-ca&sslrootcert={ca}"):
                assert found(f"postgres://{at}?{query}") == READY, query
            assert found(f"postgres://{at}?sslmode=disable") == FORBIDDEN
            assert found(f"postgres://localhost:{server.port}?sslmode=disable") == UP
            assert found(f"postgres://{at}?sslmode=verify-full") == TLS_FAILED
            assert found(f"postgres://{at}", tls="yes") == TLS_FAILED
            assert found(f"postgres://{at}", ca=ca) == READY
            assert found(f"postgres://{at}", insecure="yes") == READY
            by_address = at.replace("localhost", "127.0.0.1")
            assert found(f"postgres://{by_address}?sslmode=verify-ca", ca=ca) == READY
            assert found(f"postgres://{by_address}?sslmode=require", ca=ca) == READY
            assert found(f"postgres://{by_address}?sslmode=verify-full", ca=ca) == TLS_FAILED
            assert found(f"postgres://{by_address}?sslmode=verify-full", ca=ca, server_name="localhost") == READY
            assert found(f"postgres://localhost:{server.port}", ca=ca) == UP

    def test_tls_that_is_not_offered_is_said(self, cluster: Cluster) -> None:
        """A server without it is logged in to where either will do, and is not ready where TLS is a must."""
        with cluster.running() as server:
            at = f"app:{PASSWORD}@localhost:{server.port}/app"
            assert found(f"postgres://{at}") == READY
            outcome = attempt(f"postgres://{at}?sslmode=require")
            assert isinstance(outcome, Outcome)
            assert (outcome.state, outcome.reason) == TLS_FAILED
            assert outcome.detail.endswith(f":{server.port} (it offers no TLS)")

    def test_what_comes_before_the_handshake_is_not_believed(self) -> None:
        """An answer that is more than one byte was put there by somebody else (CVE-2021-23222)."""
        with serving(saying(b"SR\0\0\0\x08\0\0\0\0")) as port:
            assert found(f"postgres://127.0.0.1:{port}?sslmode=require") == (State.WAITING, Reason.WRONG_PROTOCOL)


class TestLogin:
    """With credentials."""

    def test_a_password_that_is_right_wrong_and_missing(self, server: Running, tmp_path: Path) -> None:
        """Taken is ready, refused is for good; its file is read at each attempt, and may come later."""
        at = f"127.0.0.1:{server.port}/app"
        assert found(f"postgres://app:{PASSWORD}@{at}") == READY
        assert found(f"postgres://app:wrong@{at}") == FORBIDDEN
        assert found(f"postgres://nobody:wrong@{at}") == FORBIDDEN
        outcome = attempt(f"postgres://app:wrong@{at}")
        assert isinstance(outcome, Outcome)
        assert outcome.certain, "one more try may lock the account"
        assert outcome.detail.endswith("(user or password is refused: SQLSTATE 28P01)")
        assert found(f"postgres://app:wrong@{at}", login="no") == UP
        file = tmp_path / "password"
        assert found(f"postgres://app@{at}", password_file=str(file)) == NOT_FOUND
        file.write_text(f"{PASSWORD}\n")
        assert found(f"postgres://app@{at}", password_file=str(file)) == READY
        assert found(f"postgres://app:{PASSWORD}@127.0.0.1:{server.port}/later") == NOT_FOUND
        server.comes_to_rest()

    def test_a_refusal_over_a_socket_file_may_be_that_of_a_server_in_the_making(self, cluster: Cluster) -> None:
        """An image's first server listens there, before its script has made the users."""
        with cluster.running() as server:
            assert found("postgres://later:secret@/app", unix=server.socket) == (State.WAITING, Reason.FORBIDDEN)
            assert found(f"postgres://app:x@/app?host={cluster.folder}&port={server.port}") == READY

    def test_tables_and_views_are_looked_for(self, server: Running) -> None:
        """By the rules of the server for names; who may not read one may know that it is there."""
        target = f"postgres://app:{PASSWORD}@127.0.0.1:{server.port}/app"
        for table in ("shop.orders", "SHOP.Orders", "shop.hidden,shop.orders", "pg_stat_activity"):
            assert found(target, table=table) == READY, table
        for table in ("orders", '"SHOP".orders', "nowhere.orders", "shop.orders,shop.later"):
            assert found(target, table=table) == NOT_FOUND, table
        server.sql("CREATE TABLE shop.later ()")
        assert found(target, table="shop.orders,shop.later") == READY
        server.sql("DROP TABLE shop.later")

    @pytest.mark.parametrize(
        ("query", "expect", "state", "reason"),
        [
            ("SELECT id FROM shop.orders", "41", State.READY, Reason.READY),
            ("SELECT id FROM shop.orders", "4", State.WAITING, Reason.UNWANTED_ANSWER),
            ("SELECT id FROM shop.orders;  ", None, State.READY, Reason.READY),
            ("SELECT count(*) FROM shop.orders -- a comment", "1", State.READY, Reason.READY),
            ("SELECT count(*) FROM shop.orders WHERE id = 1", None, State.WAITING, Reason.UNWANTED_ANSWER),
            ("SELECT id FROM shop.orders WHERE id = 1", None, State.WAITING, Reason.UNWANTED_ANSWER),
            ("SELECT id FROM shop.orders WHERE id = 1", "", State.WAITING, Reason.UNWANTED_ANSWER),
            ("SELECT EXISTS (SELECT FROM shop.orders)", None, State.READY, Reason.READY),
            ("SELECT EXISTS (SELECT FROM shop.orders)", "true", State.READY, Reason.READY),
            ("SELECT id = 1 FROM shop.orders", None, State.WAITING, Reason.UNWANTED_ANSWER),
            ("SELECT NULL", None, State.WAITING, Reason.UNWANTED_ANSWER),
            ("VALUES ('ä', 2), ('b', 3)", "ä", State.READY, Reason.READY),
            ("WITH x AS (SELECT 1.50) SELECT * FROM x", "1.50", State.READY, Reason.READY),
            ("SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()", "gatekeeper", *READY),
            ("SELECT * FROM shop.later", None, *NOT_FOUND),
            ("SELECT later FROM shop.orders", None, *NOT_FOUND),
            ("SELECT later()", None, *NOT_FOUND),
            ("SELECT * FROM shop.hidden", None, State.WAITING, Reason.FORBIDDEN),
            ("SELEC 1", None, State.FAILED, Reason.UNWANTED_ANSWER),
            ("SELECT nextval('shop.numbers')", None, State.FAILED, Reason.UNWANTED_ANSWER),
            ("SELECT 1/0", None, State.WAITING, Reason.UNWANTED_ANSWER),
        ],
    )
    def test_the_value_of_a_query(
        self, server: Running, query: str, expect: str | None, state: State, reason: Reason
    ) -> None:
        """It must be there and not false, or be what is expected; what it is stands in no detail."""
        options = {"query": query} if expect is None else {"query": query, "expect": expect}
        outcome = attempt(f"postgres://app:{PASSWORD}@127.0.0.1:{server.port}/app", **options)
        assert isinstance(outcome, Outcome)
        assert (outcome.state, outcome.reason) == (state, reason)
        assert "41" not in outcome.detail.replace(str(server.port), "")

    def test_what_a_session_must_be(self, server: Running) -> None:
        """An application that writes wants no standby, as its DSN says."""
        target = f"postgres://app:{PASSWORD}@127.0.0.1:{server.port}/app"
        for attrs in ("any", "read-write", "primary", "prefer-standby"):
            assert found(f"{target}?target_session_attrs={attrs}") == READY
        for attrs in ("read-only", "standby"):
            assert found(f"{target}?target_session_attrs={attrs}") == (State.WAITING, Reason.UNWANTED_ANSWER)
        assert found(f"{target}?target_session_attrs=standby", login="no") == UP
        assert found(f"postgres://127.0.0.1:{server.port}", target_session_attrs="any") == UP
        assert found(target, target_session_attrs="standby") == (State.WAITING, Reason.UNWANTED_ANSWER)

    def test_a_query_ends_with_the_attempt(self, server: Running) -> None:
        """The server sees within a moment that nobody waits for it."""
        target = f"postgres://app:{PASSWORD}@127.0.0.1:{server.port}/app"
        at = f"127.0.0.1:{server.port}"
        assert attempt(target, 1.0, query="SELECT 1 FROM pg_sleep(1000)") == f"asking {at}"
        server.comes_to_rest()

    @pytest.mark.parametrize("mode", ["disable", "require"])
    def test_a_cancellation_at_any_await_leaves_nothing_behind(self, server: Running, mode: str) -> None:
        """However far the driver has come: no socket, no task, no session."""
        target = f"postgres://app:{PASSWORD}@127.0.0.1:{server.port}/app?sslmode={mode}"
        cancelled_at_every_turn(target, 60, 0.001, query="SELECT 1 FROM pg_sleep(1000)")
        server.comes_to_rest()

    def test_a_paused_server_holds_no_attempt(self, cluster: Cluster, pair: tuple[str, dict[str, str]]) -> None:
        """One that falls silent in the midst of a login, or of its end, is left where it is."""
        with cluster.running(hba=OVER_TLS, **pair[1]) as server:
            target = f"postgres://app:{PASSWORD}@127.0.0.1:{server.port}/app?sslmode=require"

            async def run() -> None:
                task = asyncio.ensure_future(probe(target, query="SELECT 1 FROM pg_sleep(1000)").attempt())
                sleeping = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
                await asyncio.to_thread(lambda: until(lambda: server.sql(sleeping), "the query to run"))
                pid = int(server.sql(sleeping))
                os.kill(pid, signal.SIGSTOP)
                before = descriptors()
                began = time.monotonic()
                task.cancel()
                await asyncio.wait([task])
                assert time.monotonic() - began < PATIENCE / 10
                assert task.cancelled()
                assert len(descriptors()) < len(before)
                assert len(asyncio.all_tasks()) == 1
                os.kill(pid, signal.SIGCONT)

            asyncio.run(run())


@contextmanager
def pooled(server: Running, *settings: str) -> Iterator[str]:
    """Run a PgBouncer before a server; give who logs in, and where."""
    folder, port = server.cluster.folder, free_port()
    (folder / "users").write_text(f'"app" "{PASSWORD}"\n')
    config = folder / "pooler.ini"
    lines = (
        f"[databases]\napp = host=127.0.0.1 port={server.port}\ngone = host=127.0.0.1 port={free_port()}",
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =",
        f"auth_type = scram-sha-256\nauth_file = {folder}/users\npool_mode = transaction",
    )
    config.write_text("".join(f"{line}\n" for line in lines + settings))
    with started(["pgbouncer", config], folder=folder, user="postgres", up=lambda: accepts(port)):
        yield f"app:{PASSWORD}@127.0.0.1:{port}"


@pytest.mark.needs("pgbouncer")
def test_a_pooler_answers_for_itself_until_somebody_logs_in(cluster: Cluster) -> None:
    """Without a login nobody can tell whether a server is behind it; with one, that is what is told."""
    with cluster.running() as server, pooled(server) as at:
        for database in ("app", "gone", "unknown"):
            assert found(f"postgres://{at}/{database}", login="no") == UP
        assert found(f"postgres://{at}/app", table="shop.orders", query="SELECT 1") == READY
        assert found(f"postgres://{at}/app", query="SELECT id FROM shop.orders", expect="41") == READY
        import_module("asyncpg")  # which may take longer than the attempt
        assert attempt(f"postgres://{at}/gone", 0.5) == f"logging in to {at.rpartition('@')[2]}"
        assert found(f"postgres://{at}/unknown") == (State.WAITING, Reason.UNWANTED_ANSWER)


@pytest.mark.needs("pgbouncer")
def test_who_wants_tls_is_asked_over_tls(cluster: Cluster, pair: tuple[str, dict[str, str]]) -> None:
    """Poolers, and databases in a cloud, have no code for that and say it in words: TLS is spoken where it may be."""
    files = {key: pair[1][f"ssl_{key}_file"] for key in ("cert", "key")}
    settings = ("client_tls_sslmode = require", *(f"client_tls_{key}_file = {file}" for key, file in files.items()))
    with cluster.running() as server, pooled(server, *settings) as at:
        assert found(f"postgres://{at}/app", login="no") == UP
        assert found(f"postgres://{at}/app?sslmode=allow", login="no") == UP
        assert found(f"postgres://{at}/app", query="SELECT 1") == READY
        refused = (State.WAITING, Reason.UNWANTED_ANSWER)
        assert found(f"postgres://{at}/app?sslmode=disable", login="no") == refused
        assert found(f"postgres://{at}/app", login="no", ca=pair[0]) == TLS_FAILED  # it is not for that address


OTHERS = [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"-ERR unknown command\r\n", b"ERROR\r\n"]
OTHERS += [b"E\0\0\0\x08abcd", b"R\0\0\0\x01", b"S\0\0\0\4" * 500, b"J\0\0\0\n5.5.5-10.11\0"]


@pytest.mark.parametrize("said", OTHERS)
@pytest.mark.parametrize("query", ["", "?sslmode=require"])
def test_another_protocol_is_said_and_waited_out(said: bytes, query: str) -> None:
    """The port may be taken over one day; what was said is not repeated."""
    if query and said.startswith(b"S"):
        return  # which agrees to TLS, and then speaks none
    with serving(saying(said)) as port:
        outcome = attempt(f"postgres://127.0.0.1:{port}{query}")
    assert isinstance(outcome, Outcome)
    assert (outcome.state, outcome.reason) == (State.WAITING, Reason.WRONG_PROTOCOL)
    assert outcome.detail == f"127.0.0.1:{port} (it answers in another protocol)"


def error(code: str, text: str = "secret text") -> bytes:
    """Return an ErrorResponse as a server writes it, with a text that nobody may see."""
    body = f"SFATAL\0VFATAL\0C{code}\0M{text}\0\0".encode()
    return b"E" + (len(body) + 4).to_bytes(4, "big") + body


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        ("57P03", STARTING),
        ("57P01", STARTING),
        ("53300", STARTING),
        ("53200", STARTING),
        ("58030", STARTING),
        ("28000", UP),
        ("28P01", UP),
        ("42501", UP),
        ("3D000", READY),
        ("08P01", (State.WAITING, Reason.UNWANTED_ANSWER)),
        ("XX000", (State.WAITING, Reason.UNWANTED_ANSWER)),
    ],
)
def test_codes_of_errors(code: str, wanted: tuple[State, Reason]) -> None:
    """What a server or a pooler says before a login; a code that proves nothing opens no gate."""
    with serving(saying(error(code))) as port:
        assert found(f"postgres://127.0.0.1:{port}") == wanted
        outcome = attempt(f"postgres://127.0.0.1:{port}")
    assert isinstance(outcome, Outcome)
    assert "secret" not in outcome.detail
    assert ("it may want a user" in outcome.detail) == (code in ("08P01", "XX000"))


@pytest.mark.parametrize(
    "text",
    [
        "SSL required",  # PgBouncer
        "node is running secure mode, SSL connection required",  # CockroachDB
        "connection is insecure (try using `sslmode=require`)",  # Neon
    ],
)
def test_tls_that_is_wanted_and_not_spoken_is_told(text: str) -> None:
    """Whoever wants TLS is asked for it; one who then has none is told as such, and no text of his is."""
    with serving(saying(error("08P01", text))) as port:
        outcome = attempt(f"postgres://127.0.0.1:{port}")
    assert outcome == waiting(Reason.WRONG_PROTOCOL, f"127.0.0.1:{port} (it answers in another protocol)")


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("postgres:///app", {}, "has no host: write postgres://HOST:PORT, or ?host=/FOLDER for that of a socket file"),
        ("postgres://h/app?sslmod=require", {}, "that is nearly sslmode"),
        ("postgres://h/app?sslmode=s3cret-pass", {}, "has a sslmode in its query that is not usable (its text is not"),
        ("postgres://h/app?port=1,2", {}, "has not as many ports as hosts"),
        ("postgres:///app?host=/run,h", {}, "names several hosts, one of them a folder"),
        ("postgres:///app?host=h&host=/run", {}, "names several hosts, one of them a folder"),
        ("postgres://h/app", {"table": "x"}, "logging in needs a user: write postgres://USER@HOST, or login=no"),
        ("postgres://u@h/app", {"table": "x", "login": "no"}, "needs login: leave out login=no"),
        ("postgres://u@h/app", {"expect": "x"}, "needs query, whose value it is compared with"),
        ("postgres://u:p@h/app", {"password_file": "/x"}, "is a second password"),
        ("postgres://u:p@/app", {"unix": "/run/db.sock"}, "the driver wants one that ends in .s.PGSQL.PORT; login=no"),
        ("postgres://u:p@/app?host=@db", {}, "the driver wants one that ends in .s.PGSQL.PORT; login=no"),
        ("postgres://h", {"sslmode": "maybe"}, "is none of disable, allow, prefer, require, verify-ca, verify-full"),
        ("postgres://h", {"sslmode": "disable", "ca": "/ca"}, "means nothing without TLS: leave out sslmode=disable"),
        ("postgres://h", {"sslmode": "require", "tls": "yes"}, "and sslmode say the same: keep one"),
        ("postgres://u:s3cret-pass/x@h", {}, "in user and password, write / ? # @ as %2F %3F %23 %40"),
    ],
)
def test_a_bad_declaration_is_told(target: str, options: dict[str, str], message: str) -> None:
    """With what would be right, and without what may be secret."""
    with pytest.raises(BadOptionsError) as caught:
        probe(target, **options)
    assert message in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_a_missing_driver_is_a_bad_declaration(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the command that installs it, and the way without."""
    monkeypatch.setattr(Postgres, "DRIVER", "no_such_driver")
    with pytest.raises(BadOptionsError, match=r"pip install 'gatekeeper-agent\[postgres\]'; login=no looks whether"):
        probe(f"postgres://u:{PASSWORD}@h")
    probe(f"postgres://u:{PASSWORD}@h", login="no")
    probe("postgres://u@h")
    with pytest.raises(BadOptionsError, match=r"; without, leave out query, table$"):
        probe(f"postgres://u:{PASSWORD}@h", query="SELECT 1", table="orders")


@pytest.mark.parametrize(
    ("said", "meant"), [("primary", "primary"), ("Secondary", "standby"), ("preferSecondary", None), ("any", None)]
)
def test_what_a_session_must_be_in_javas_words(said: str, meant: str | None) -> None:
    """The parameter targetServerType of its driver."""
    assert probe(f"postgresql://u@a,b/app?targetServerType={said}").target_session_attrs == meant


def test_tls_may_begin_at_once(cluster: Cluster, tmp_path: Path) -> None:
    """As servers since version 17 take it, here a TLS proxy before one: the protocol is inside."""
    authority = certificates.authority(tmp_path)
    leaf = certificates.leaf(tmp_path, authority, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.cert, leaf.key)
    context.set_alpn_protocols(["postgresql"])

    with cluster.running() as server:

        def inside(client: socket.socket, _over: threading.Event) -> None:
            with (
                context.wrap_socket(client.dup(), server_side=True) as tls,
                socket.create_connection(("127.0.0.1", server.port)) as behind,
            ):
                assert tls.selected_alpn_protocol() == "postgresql"
                ends = {tls: behind, behind: tls}
                while True:
                    for one in select.select([tls, behind], [], [])[0]:
                        if not (data := one.recv(65536)):
                            return
                        ends[one].sendall(data)

        with serving(inside) as port:
            query = f"sslmode=verify-full&sslrootcert={authority.cert}&sslnegotiation=direct"
            assert found(f"postgres://localhost:{port}/app?{query}") == UP
            assert found(f"postgres://app:{PASSWORD}@localhost:{port}/app?{query}") == READY
    with pytest.raises(BadOptionsError, match="sslnegotiation=direct, which needs sslmode=require or stricter"):
        probe("postgres://h?sslnegotiation=direct")


def test_no_host_is_lost_where_each_has_a_key() -> None:
    """As SQLAlchemy writes several; one port is for all of them."""
    assert probe("postgresql:///app?host=a:1&host=b&port=").dsn.places == (("a", 1), ("b", 5432))
    assert probe("postgresql:///app?host=a&host=b&port=7").dsn.places == (("a", 7), ("b", 7))


def test_several_hosts_are_asked_for_one_that_is_ready(server: Running) -> None:
    """As libpq does; all of them where that is wanted."""
    hosts = f"127.0.0.1:{free_port()},127.0.0.1:{server.port}"
    assert found(f"postgres://app:{PASSWORD}@{hosts}/app") == READY
    assert found(f"postgres://{hosts}", endpoints="all") == (State.WAITING, Reason.REFUSED)


def test_it_is_nothing_else(server: Running) -> None:
    """To no other protocol it is ready."""
    is_nothing_else(server.port, "postgres")


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("ssl-mode=require", ("require", None, None, None)),
        ("ssl_mode=verify-ca&ssl-root-cert=/ca", ("verify-ca", "/ca", None, None)),
        ("ssl-ca=/ca&ssl-cert=/c&ssl-key=/k", ("verify-full", "/ca", "/c", "/k")),
        ("sslmode=require&sslrootcert=system", ("verify-full", None, None, None)),
        ("sslrootcert=&sslmode=", ("prefer", None, None, None)),
    ],
)
def test_what_a_dsn_says_of_tls(query: str, wanted: tuple[str | None, ...]) -> None:
    """In the words of libpq and of other drivers; what is empty is left out."""
    said = probe(f"postgres://db/app?{query}")
    assert (said.mode, said.ca, said.cert, said.key) == wanted
