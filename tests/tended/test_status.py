"""How it stands, as probes and people ask: over HTTP at a port or a socket file, and by ``gatekeeper status``."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("measured")

GATEKEEPER = (sys.executable, "-m", "gatekeeper")
LIMIT = 30  # seconds that nothing takes, however slow the machine
SAY = '"$0" -m gatekeeper notify'
# Does as it is told, a line at a time: the words are those of `gatekeeper notify`, and the last line is the end.
PROGRAM = f'while read -r word; do {SAY} "$word"; done'


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Tended:
    """A running gatekeeper with a program that says what it is told to."""

    def __init__(self, process: "subprocess.Popen[str]", port: int, folder: Path) -> None:
        """Take the process and where it answers."""
        self.process, self.port, self.sock = process, port, folder / "status.sock"

    def say(self, assignment: str) -> None:
        """Have the program say something."""
        assert self.process.stdin
        self.process.stdin.write(assignment + "\n")
        self.process.stdin.flush()

    def asked(self, path: str, **headers: str) -> tuple[int, str]:
        """Ask over HTTP and return status and body."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=LIMIT) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def until(self, path: str, status: int, text: str | None = None) -> str:
        """Ask until the answer has this status, and this text where one is given."""
        end = time.monotonic() + LIMIT
        while True:
            try:
                found = self.asked(path)
            except urllib.error.URLError:
                found = 0, ""
            if found[0] == status and text in (None, found[1]):
                return found[1]
            assert time.monotonic() < end, found
            time.sleep(0.02)

    def status(self, *words: str) -> tuple[int, str]:
        """Ask by ``gatekeeper status``."""
        done = subprocess.run(
            [*GATEKEEPER, "status", f"--status=unix:{self.sock}", *words],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout


@contextmanager
def tended(
    folder: Path, *words: str, command: Sequence[str] = ("sh", "-c", PROGRAM, sys.executable)
) -> Iterator[Tended]:
    """Give a running ``gatekeeper run``; the end of its input is the end of the program."""
    port = free_port()
    where = f"--status=unix:{folder}/status.sock,127.0.0.1:{port}"
    environ = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    with subprocess.Popen(
        [*GATEKEEPER, "run", where, *words, "--", *command],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
    ) as process:
        try:
            yield Tended(process, port, folder)
            process.communicate(timeout=LIMIT)
        finally:
            process.kill()


def test_while_the_gate_is_shut(tmp_path: Path) -> None:
    """A startup probe fails with what is missing, and a liveness probe does not."""
    with tended(tmp_path, f"db=file://{tmp_path}/there") as it:
        why = f"waiting: 1 of 1 not ready: db (not_found: {tmp_path}/there)\n"
        it.until("/startupz", 503, why)
        assert it.asked("/readyz") == (503, why)
        assert it.asked("/livez") == (200, "alive\n")
        assert it.status("--started") == (1, why)
        assert it.status("--live") == (0, "alive\n")
        report = json.loads(it.asked("/readyz?verbose")[1])
        assert (report["phase"], report["gate"]) == ("waiting", "closed")
        assert report["dependencies"][0]["reason"] == "not_found"
        (tmp_path / "there").touch()
        assert it.until("/readyz", 503) is not None
        it.say("READY=1")
        it.until("/startupz", 200)


def test_what_the_program_says_is_what_is_answered(tmp_path: Path) -> None:
    """Ready is what it says of itself, with its own words; reloading is ready, and stopping is not any more."""
    with tended(tmp_path, "file:///") as it:
        it.until("/readyz", 503)
        it.say("STATUS=warming up")
        it.until("/readyz", 503, "starting: warming up\n")
        it.say("READY=1")
        assert it.until("/readyz", 200) == "ready: warming up\n"
        assert it.asked("/startupz") == (200, "started\n")
        it.say("RELOADING=1")
        it.until("/readyz", 200, "reloading: warming up\n")
        it.say("STOPPING=1")
        it.until("/readyz", 503, "stopping: warming up\n")
        assert it.asked("/startupz") == (200, "started\n")
        assert it.asked("/livez")[0] == 200
        it.say("READY=1")  # what is dying does not become ready again
        it.say("STATUS=bye")
        it.until("/readyz", 503, "stopping: bye\n")


def test_an_answer_waits_for_a_change(tmp_path: Path) -> None:
    """`wait` holds the answer until it is another one, and `while` only where it is that now."""
    with tended(tmp_path, "file:///") as it:
        it.until("/readyz", 503)
        assert it.asked("/readyz?wait=10ms")[0] == 503
        request = [sys.executable, "-c", "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).status)"]
        url = f"http://127.0.0.1:{it.port}/readyz?wait={LIMIT}s&while=503"
        with subprocess.Popen([*request, url], stdout=subprocess.PIPE, text=True) as asking:
            it.say("READY=1")
            assert asking.communicate(timeout=LIMIT)[0] == "200\n"
        assert it.asked(f"/readyz?wait={LIMIT}s&while=503")[0] == 200
        assert it.asked("/readyz?wait=soon")[0] == 400


def test_metrics_are_in_prometheus_words(tmp_path: Path) -> None:
    """Each dependency, the gate and the phase have their samples, and every line is one of the format."""
    name = 'odd"name'
    with tended(tmp_path, f"db=file://{tmp_path}", f"file://{tmp_path}/a%22b optional timeout=10ms") as it:
        it.until("/readyz", 503, "starting\n")  # and no longer waiting
        text = it.asked("/metrics")[1]
    assert 'gatekeeper_dependency_state{name="db",kind="file",state="ready"} 1\n' in text
    assert 'gatekeeper_phase{phase="starting"}' in text
    samples = [line for line in text.splitlines() if not line.startswith("# ")]
    assert all(line.rpartition(" ")[2].replace(".", "").replace("e-", "").isdigit() for line in samples)
    assert name not in text


TEXT, JSON = "text/plain; charset=utf-8", "application/json"
PREFERRED = {
    (): TEXT,
    ("",): TEXT,
    ("*/*",): TEXT,
    ("application/json",): JSON,
    ("Application/JSON",): JSON,
    ("application/json;q=0",): TEXT,
    ("application/json; q=0.001",): JSON,
    ("application/json;q=0.5, text/plain",): TEXT,
    ("text/plain;q=0.5, application/json",): JSON,
    ("text/plain;q=0.5", "application/json"): JSON,  # two lines are one list
    ("text/plain, application/json",): JSON,
    ("text/*;q=0, */*",): JSON,
    ("application/json;q=0, */*",): TEXT,
    ("text/html, application/xhtml+xml, */*;q=0.8",): TEXT,  # a browser
    # What has no weight from 0 to 1 is as though it had not been named.
    **{(f"application/json;q={weight}",): TEXT for weight in ("", "high", "nan", "inf", "1.001", "5", "-1")},
    **{(f"text/plain;q={weight}, application/json;q=0.1",): JSON for weight in ("", "high", "nan", "inf", "2")},
}


def test_who_prefers_json_is_answered_in_json(tmp_path: Path) -> None:
    """It goes to who names it or likes it better, by the weights of RFC 9110, and text to everybody else."""

    def kind_for(path: str, accepts: Sequence[str]) -> str:
        lines = [f"GET {path} HTTP/1.1", "Host: x", *(f"Accept: {accept}" for accept in accepts)]
        with socket.create_connection(("127.0.0.1", it.port), LIMIT) as sock:
            sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
            with sock.makefile("rb") as answer:
                head, _, body = answer.read().decode().partition("\r\n\r\n")
        kind = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])["Content-Type"]
        assert body.startswith("{") is (kind == JSON)
        return kind

    with tended(tmp_path, "file:///") as it:
        it.until("/livez", 200)
        for path in ("/livez", "/readyz"):
            assert {accepts: kind_for(path, accepts) for accepts in PREFERRED} == PREFERRED


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST /readyz HTTP/1.1\r\n\r\n", b"405"),
        (b"GET /nowhere HTTP/1.1\r\n\r\n", b"404"),
        (b"HEAD /livez HTTP/1.0\r\n\r\n", b"200"),
        (b"rubbish\r\n\r\n", b"400"),
        (b"\xff\xfe\x00 \r\n\r\n", b"400"),
        (b"GET " + b"x" * 100_000, b"400"),
        (b"GET //[ HTTP/1.1\r\n\r\n", b"400"),
        (b"", b""),
    ],
)
def test_strange_requests_are_answered_or_hung_up(request_: bytes, status: bytes, tmp_path: Path) -> None:
    """Whoever asks badly learns so, and nobody else notices."""
    with tended(tmp_path, "file:///") as it:
        it.until("/livez", 200)
        with socket.create_connection(("127.0.0.1", it.port), LIMIT) as sock:
            try:
                sock.sendall(request_)
                sock.shutdown(socket.SHUT_WR)
                said = sock.recv(65536)
            except ConnectionError:
                said = b""
        assert said[9:12] == status
        assert it.asked("/livez") == (200, "alive\n")


def test_silent_clients_keep_nobody_waiting(tmp_path: Path) -> None:
    """However many connect and say nothing, a probe is answered, once those are as many as there may be or not."""
    with tended(tmp_path, "file:///") as it:
        it.until("/livez", 200)
        silent = [socket.create_connection(("127.0.0.1", it.port), LIMIT) for _ in range(40)]
        assert it.asked("/livez") == (200, "alive\n")
        for sock in silent:
            sock.close()


def test_those_who_wait_keep_no_probe_waiting(tmp_path: Path) -> None:
    """A crowd that waits for a change, and one that has gone meanwhile, hold up nobody."""
    with tended(tmp_path, "file:///") as it:
        it.until("/readyz", 503)
        for _ in range(3):
            crowd = [socket.create_connection(("127.0.0.1", it.port), LIMIT) for _ in range(300)]
            for sock in crowd:
                sock.sendall(b"GET /readyz?wait=300s HTTP/1.1\r\n\r\n")
            assert it.asked("/livez") == (200, "alive\n")
            for sock in crowd:
                sock.close()


def test_an_address_that_cannot_be_had_is_a_bad_declaration(tmp_path: Path) -> None:
    """What was asked for and is not to be had keeps the program from starting."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"--status=127.0.0.1:{taken.getsockname()[1]}"
        done = subprocess.run(
            [*GATEKEEPER, "run", where, "file:///", "--", "touch", tmp_path / "x"],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert "--status: 127.0.0.1:" in done.stderr
    assert "Address already in use" in done.stderr
    assert not (tmp_path / "x").exists()


def test_a_socket_file_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    """An earlier run that was killed is no hindrance, and a file that is no socket is."""
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(tmp_path / "status.sock"))
    with tended(tmp_path, "file:///") as it:
        it.until("/livez", 200)
        assert it.status("--live")[0] == 0
    assert not (tmp_path / "status.sock").exists()
    (tmp_path / "status.sock").write_text("precious")
    where = f"--status=unix:{tmp_path}/status.sock"
    done = subprocess.run([*GATEKEEPER, "run", where, "file:///", "--", "true"], capture_output=True, check=False)
    assert done.returncode == 2
    assert (tmp_path / "status.sock").read_text() == "precious"


def test_a_probe_costs_little() -> None:
    """An exec probe loads no event loop and no engine."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "gatekeeper", "status"], capture_output=True, text=True, check=False
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert not loaded & {"asyncio", "gatekeeper.cli", "gatekeeper.gate", "structlog", "http.client", "ssl"}


def test_nobody_there_is_no(tmp_path: Path) -> None:
    """Without anybody who answers nothing is started, ready or alive, and that is said in a line."""
    environ = os.environ | {"GATEKEEPER_STATUS": f"unix:{tmp_path}/nobody"}
    done = subprocess.run([*GATEKEEPER, "status"], capture_output=True, text=True, env=environ, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == f"nobody answers at {tmp_path}/nobody: No such file or directory\n"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--redy"], "gatekeeper: --redy: unknown option; did you mean --ready?"),
        (["--ready", "--live"], "gatekeeper: --live: and --ready are two questions: ask one"),
        (["--status"], "gatekeeper: --status: needs a value: write --status=ADDRESS"),
        (["--status=off"], "gatekeeper: --status: is off: name an address at which somebody answers"),
        (["--status=here"], "gatekeeper: --status: 'here' is no address: write unix:/PATH, :PORT or HOST:PORT"),
    ],
)
def test_a_bad_question_is_told(words: list[str], problem: str) -> None:
    """What cannot be understood is status 2."""
    done: Any = subprocess.run([*GATEKEEPER, "status", *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, problem + "\n")
