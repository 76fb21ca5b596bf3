"""InfluxDB: the real one of Debian, with users and without, and answers of later versions."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote
from urllib.request import Request, urlopen

import certificates
import pytest
from attempts import attempt, told
from badness import saying, serving
from discretion import told_nowhere
from realservers import accepts, free_port, paused, started, until
from stopping import goes_for_good
from strangers import is_nothing_else

from gatekeeper.model import Outcome, Reason, State

CONFIG = """
bind-address = "127.0.0.1:{backup}"
reporting-disabled = true
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
[monitor]
store-enabled = false
[http]
bind-address = "127.0.0.1:{port}"
"""


@contextmanager
def influxdb(folder: Path, more: str = "") -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    """Run a server; give its port and its process."""
    port = free_port()
    (folder / "config").write_text(CONFIG.format(folder=folder, port=port, backup=free_port()) + more)
    argv = ["influxd", "run", "-config", folder / "config"]
    with started(argv, folder=folder, up=lambda: accepts(port)) as process:
        yield port, process


@pytest.mark.needs("influxd")
def test_a_server_is_ready_once_it_answers(tmp_path: Path) -> None:
    """Nobody there is refused, one that runs is ready; paused it answers nobody."""
    assert told(f"influxdb://127.0.0.1:{free_port()}") == ("waiting", "refused")
    with influxdb(tmp_path) as (port, process):
        found = attempt(f"influxdb://127.0.0.1:{port}/metrics")
        assert found == Outcome(State.READY, Reason.READY, f"127.0.0.1:{port}")
        with paused(process):
            assert attempt(f"influxdb://127.0.0.1:{port}", 0.3) == f"waiting for an answer from 127.0.0.1:{port}"
        is_nothing_else(port, "influxdb")


@pytest.mark.needs("influxd")
def test_a_login_is_tried_with_a_query(tmp_path: Path) -> None:
    """Without one the server is up all the same; the wrong password is forbidden, and who may do little is known.

    Once it stops it is gone, with a login and without.
    """
    with influxdb(tmp_path, "auth-enabled = true\n") as (port, process):
        at = f"127.0.0.1:{port}"

        def query(text: str, as_root: str = "") -> None:
            urlopen(Request(f"http://{at}/query?{as_root}q={quote(text)}", method="POST")).close()

        query("CREATE USER root WITH PASSWORD 'pw-9c1e' WITH ALL PRIVILEGES")
        query("CREATE USER app WITH PASSWORD 'pw-9c1e'", "u=root&p=pw-9c1e&")
        assert told(f"influxdb://{at}") == ("ready", "ready")
        assert told(f"influxdb://root:pw-9c1e@{at}") == ("ready", "ready")
        assert told(f"influxdb://app:pw-9c1e@{at}/metrics") == ("ready", "ready")
        assert told(f"influxdb://app:wrong@{at}", login="no") == ("ready", "ready")
        before = len((tmp_path / "log").read_text())
        assert told(f"influxdb://app:pw-9c1e@{at}") == ("ready", "ready")
        until(lambda: "gatekeeper" in (tmp_path / "log").read_text()[before:], "the log")
        noted = [line for line in (tmp_path / "log").read_text()[before:].splitlines() if "gatekeeper" in line]
        assert [line.split('"')[1] for line in noted] == ["GET /query?q=SHOW+DATABASES HTTP/1.1"]
        found = attempt(f"influxdb://app:pw-9c1e2@{at}")
        refused = f"{at} (user or password is refused)"
        assert found == Outcome(State.FAILED, Reason.FORBIDDEN, refused, certain=True)
        (tmp_path / "password").write_text("pw-9c1e\n")
        assert told(f"influxdb://app@{at}", password_file=str(tmp_path / "password")) == ("ready", "ready")
        lines = (f"right=influxdb://app:pw-9c1e@{at}", f"wrong=influxdb://app:pw-9c1e2@{at}/metrics?p=pw-9c1e")
        assert "user or password is refused" in told_nowhere("9c1e", "\n".join(lines), tmp_path)
        goes_for_good(process, f"influxdb://{at}", f"influxdb://app:pw-9c1e@{at}")


@pytest.mark.needs("influxd")
def test_a_server_that_asks_for_a_user_even_then(tmp_path: Path) -> None:
    """Where a ping wants one too, the server is up and wants credentials; over TLS it is found with `ca`."""
    authority = certificates.authority(tmp_path)
    leaf = certificates.leaf(tmp_path, authority, "127.0.0.1")
    more = f'https-enabled = true\nhttps-certificate = "{leaf.cert}"\nhttps-private-key = "{leaf.key}"\n'
    with influxdb(tmp_path, more) as (port, _):
        target = f"influxdb://127.0.0.1:{port}"
        until(lambda: told(target, ca=str(authority.cert)) == ("ready", "ready"), "the server to start")
        assert told(target, tls="yes") == ("waiting", "tls_failed")
        assert told(target) == ("waiting", "unwanted_answer")  # 400, in plain
    with serving(saying(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")) as port:
        assert told(f"influxdb://127.0.0.1:{port}") == ("ready", "ready_auth_required")


def said(status: str, body: bytes, *fields: str) -> bytes:
    """Return an answer in HTTP."""
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "", ""]).encode() + body


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (said("200 OK", b'{"name":"influxdb","status":"pass"}'), ("ready", "ready")),  # as 1.8 and 2
        (said("200 OK", b"OK", "X-Influxdb-Version: 3"), ("ready", "ready")),
        (said("503 Service Unavailable", b'{"name":"influxdb","status":"fail"}'), ("waiting", "starting")),
        (said("200 OK", b'{"database":"ok"}'), ("waiting", "wrong_protocol")),  # as Grafana
        (said("404 Not Found", b""), ("waiting", "unwanted_answer")),
        (b"SSH-2.0-OpenSSH_9.2\r\n", ("waiting", "wrong_protocol")),
    ],
)
def test_the_answers_of_others(answer: bytes, expected: tuple[str, str]) -> None:
    """Later versions tell their health; what is no InfluxDB is never ready."""
    with serving(saying(answer)) as port:
        assert told(f"influxdb://127.0.0.1:{port}") == expected
