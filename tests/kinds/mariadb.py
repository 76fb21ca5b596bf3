"""A real MariaDB of this machine: made once, started with the settings that a test wants."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from realservers import free_port, started, until

USER, PASSWORD = "app", "s3cret-pass"
_OWNER = "nobody"
_AS = (f"--user={_OWNER}",) if os.geteuid() == 0 else ()
_QUIET = ("--skip-log-bin", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=8M", "--log-warnings=2")


class Cluster(NamedTuple):
    """A server that is stopped: its folder, which also takes the socket file and the log."""

    folder: Path

    @property
    def log(self) -> str:
        """What the server has said so far."""
        return (self.folder / "log").read_text(errors="replace")

    @property
    def socket(self) -> str:
        """The path of its socket file."""
        return str(self.folder / "socket")

    @contextmanager
    def running(self, *options: str, port: int = 0, up: Callable[[], bool] | None = None) -> Iterator["Running"]:
        """Run the server until the block ends; without ``up`` it begins once the server takes sessions."""
        running = Running(self, port or free_port())
        argv = ["mariadbd", "--no-defaults", f"--datadir={self.folder}/data", f"--socket={self.socket}"]
        argv += [f"--port={running.port}", "--bind-address=127.0.0.1", f"--tmpdir={self.folder}"]
        argv += [*_AS, *_QUIET, *options]
        with started(argv, folder=self.folder, up=up or running.takes_sessions) as process:
            yield running._replace(process=process)

    @contextmanager
    def copied(self) -> Iterator["Cluster"]:
        """Make a copy that can run beside it, and remove it."""
        with _folder() as folder:
            subprocess.run(["cp", "-a", f"{self.folder}/.", folder], check=True)
            (folder / "log").unlink()
            yield Cluster(folder)


class Running(NamedTuple):
    """A server that runs."""

    cluster: Cluster
    port: int
    process: "subprocess.Popen[bytes]" = None  # type: ignore[assignment]  # until it has started

    def sql(self, *statements: str, check: bool = True) -> str:
        """Run statements as the superuser; return what they print."""
        argv = ["mariadb", "--no-defaults", f"--socket={self.cluster.socket}", "-uroot", "-N", "-B", "-e"]
        done = subprocess.run([*argv, ";".join(statements)], capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout.strip() if done.returncode == 0 else "failed"

    def takes_sessions(self) -> bool:
        """Tell whether it takes a session."""
        return self.sql("SELECT 1", check=False) == "1"

    def comes_to_rest(self) -> None:
        """Wait until nobody but the one who asks has a session."""
        counted = (
            "SELECT count(*) FROM information_schema.processlist WHERE user NOT IN ('system user', 'event_scheduler')"
        )
        until(lambda: self.sql(counted, check=False) == "1", "the server to have no session")


@contextmanager
def made() -> Iterator[Cluster]:
    """Make a server with a database and a user ``app``, and remove it."""
    with _folder() as folder:
        argv = ["mariadb-install-db", "--no-defaults", f"--datadir={folder}/data", "--skip-test-db"]
        argv += [*_AS, "--auth-root-authentication-method=normal", f"--tmpdir={folder}"]
        subprocess.run(argv, check=True, capture_output=True, cwd=folder)
        cluster = Cluster(folder)
        with cluster.running() as server:
            server.sql("CREATE DATABASE app", f"CREATE USER {USER}@'%' IDENTIFIED BY '{PASSWORD}'")
            server.sql(f"CREATE USER safe@'%' IDENTIFIED BY '{PASSWORD}' REQUIRE SSL", "GRANT SELECT ON app.* TO safe")
            server.sql(
                "CREATE TABLE app.orders (id int)", "INSERT INTO app.orders VALUES (41)", "CREATE DATABASE hidden"
            )
            server.sql(f"GRANT SELECT ON app.* TO {USER}", "CREATE SEQUENCE app.numbers")
            server.sql(f"GRANT INSERT ON app.* TO {USER}", "CREATE TABLE hidden.orders (id int)")
        yield cluster


@contextmanager
def _folder() -> Iterator[Path]:
    """Make a folder of the server's account, which others reach, and remove it."""
    folder = Path(tempfile.mkdtemp(prefix="mariadb-"))
    try:
        folder.chmod(0o755)
        if os.geteuid() == 0:
            os.chown(folder, pwd.getpwnam(_OWNER).pw_uid, -1)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
