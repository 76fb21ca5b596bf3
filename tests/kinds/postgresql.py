"""A real PostgreSQL of this machine: made once, started with the settings that a test wants."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from realservers import PATIENCE, accepts, free_port, started, until

USER, PASSWORD = "app", "s3cret-pass"
_OWNER = "postgres"
_QUIET = {"fsync": "off", "max_wal_senders": "0", "wal_level": "replica", "log_line_prefix": "%a "}

_MADE_WITH = ("--no-sync", "--locale=C", "--encoding=UTF8", "--auth=trust")


def program(name: str) -> str:
    """Return the path of one of the server's programs, of its newest version."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    return str(found[-1]) if found else name


class Cluster(NamedTuple):
    """A cluster that is stopped: its folder, which also takes the socket file and the log."""

    folder: Path

    @property
    def data(self) -> Path:
        """The folder of the data."""
        return self.folder / "data"

    @property
    def log(self) -> str:
        """What the server has said so far."""
        return (self.folder / "log").read_text(errors="replace")

    @contextmanager
    def running(
        self, *, hba: str = "host all all all scram-sha-256", up: bool = True, **settings: str
    ) -> Iterator["Running"]:
        """Run the server until the block ends; ``up`` waits until it takes sessions."""
        (self.data / "pg_hba.conf").write_text(f"local all all trust\n{hba}\n")
        port = free_port()
        options = _QUIET | {"port": str(port), "unix_socket_directories": str(self.folder)} | settings
        argv = [program("postgres"), "-D", self.data, *(f"--{key}={value}" for key, value in options.items())]
        running = Running(self, port)
        ready = running.takes_sessions if up else lambda: (self.data / "postmaster.pid").exists() and accepts(port)
        with started(argv, folder=self.folder, up=ready, user=_OWNER) as process:
            try:
                yield running._replace(process=process)
            finally:
                # Its sessions are in groups of their own: killed with it, they would hold its data for a moment longer.
                process.send_signal(signal.SIGQUIT)
                process.wait(PATIENCE)
                (self.data / "postmaster.pid").unlink(missing_ok=True)

    @contextmanager
    def copied(self) -> Iterator["Cluster"]:
        """Make a copy that can run beside it, and remove it."""
        with _folder() as folder:
            subprocess.run(["cp", "-a", f"{self.folder}/.", folder], check=True)
            yield Cluster(folder)


class Running(NamedTuple):
    """A server that runs."""

    cluster: Cluster
    port: int
    process: "subprocess.Popen[bytes]" = None  # type: ignore[assignment]  # until it has started

    @property
    def socket(self) -> str:
        """The path of its socket file."""
        return f"{self.cluster.folder}/.s.PGSQL.{self.port}"

    def sql(self, *statements: str, database: str = "app", check: bool = True) -> str:
        """Run statements as the superuser; return what they print."""
        argv = ["psql", "-XqAtw", "-h", str(self.cluster.folder), "-p", str(self.port), "-U", _OWNER, "-d", database]
        argv += [word for each in statements for word in ("-c", each)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout.strip() if done.returncode == 0 else "failed"

    def takes_sessions(self) -> bool:
        """Tell whether it takes a session."""
        return self.sql("SELECT 1", database="postgres", check=False) == "1"

    def is_idle(self) -> bool:
        """Tell whether nobody but the one who asks has a session."""
        counted = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        return self.sql(counted, check=False) == "1"

    def comes_to_rest(self) -> None:
        """Wait until nobody has a session."""
        until(self.is_idle, "the server to have no session")


@contextmanager
def made() -> Iterator[Cluster]:
    """Make a cluster with a database and a user ``app``, and remove it."""
    with _folder() as folder:
        cluster = Cluster(folder)
        argv = [program("initdb"), "-D", str(cluster.data), "-U", _OWNER, *_MADE_WITH]
        owner = folder.stat()
        who = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        subprocess.run(argv, check=True, capture_output=True, cwd=folder, **who)  # type: ignore[call-overload]
        with cluster.running() as server:
            server.sql("CREATE DATABASE app", database="postgres")
            server.sql(f"CREATE USER {USER} PASSWORD '{PASSWORD}'", "CREATE SCHEMA shop")
            server.sql("CREATE TABLE shop.orders (id int)", "INSERT INTO shop.orders VALUES (41)")
            server.sql(f"GRANT USAGE ON SCHEMA shop TO {USER}", f"GRANT SELECT ON shop.orders TO {USER}")
            server.sql("CREATE TABLE shop.hidden (id int)", "CREATE SEQUENCE shop.numbers")
            server.sql(f"GRANT ALL ON shop.numbers TO {USER}")
        yield cluster


@contextmanager
def _folder() -> Iterator[Path]:
    """Make a folder of the server's account, which others reach, and remove it."""
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    try:
        folder.chmod(0o755)
        if os.geteuid() == 0:
            account = pwd.getpwnam(_OWNER)
            os.chown(folder, account.pw_uid, account.pw_gid)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
