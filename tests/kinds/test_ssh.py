"""SSH: a real OpenSSH server in each state it can be brought into, and what else may answer at its port."""

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from attempts import attempt
from badness import Manners, serving
from realservers import accepts, free_port, paused, started, until
from stopping import goes_for_good
from strangers import is_nothing_else

from gatekeeper.model import Outcome, Reason, State
from gatekeeper.probes import load
from gatekeeper.probes._options import BadOptionsError

needs_sshd = pytest.mark.needs("sshd", "ssh-keygen")
KEXINIT = b"\x00\x00\x00\x0c\x0a\x14"


class Sshd(NamedTuple):
    """A server of SSH that runs."""

    process: "subprocess.Popen[bytes]"
    port: int
    log: Path


@contextmanager
def sshd(folder: Path, *more: str) -> Iterator[Sshd]:
    """Run a server of SSH; ``more`` are lines of its configuration."""
    port, key = free_port(), folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    Path("/run/sshd").mkdir(exist_ok=True)
    (folder / "conf").write_text(
        "\n".join([f"ListenAddress 127.0.0.1:{port}", f"HostKey {key}", "PidFile none", *more])
    )
    found = subprocess.run(["sh", "-c", "command -v sshd"], capture_output=True, text=True, check=True)
    argv = [found.stdout.strip(), "-D", "-e", "-f", folder / "conf"]
    with started(argv, folder=folder, up=lambda: accepts(port)) as process:
        until(lambda: "closed by" in (folder / "log").read_text(), "the look whether it is up to be over")
        yield Sshd(process, port, folder / "log")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """Give a server of SSH that takes two connections at a time."""
    with sshd(tmp_path_factory.mktemp("sshd"), "MaxStartups 2:100:2") as found:
        yield found


def told(outcome: Outcome | str) -> tuple[State, Reason]:
    """Return what an outcome says in two words."""
    assert isinstance(outcome, Outcome), outcome
    return outcome.state, outcome.reason


@pytest.mark.root
@needs_sshd
def test_a_server_is_ready_once_it_begins_to_agree_on_keys(running: Sshd) -> None:
    """With one line in its log, which is no error; a user in the target changes nothing."""
    before = len(running.log.read_text())
    for target in (f"ssh://127.0.0.1:{running.port}", f"ssh://git@127.0.0.1:{running.port}"):
        assert attempt(target) == Outcome(State.READY, Reason.READY, f"127.0.0.1:{running.port}")
    until(lambda: running.log.read_text()[before:].count("\n") >= 2, "its log")
    lines = running.log.read_text()[before:].splitlines()
    assert [line.split(" port")[0] for line in lines] == ["Connection closed by 127.0.0.1"] * 2
    assert told(attempt(f"ssh://127.0.0.1:{free_port()}")) == (State.WAITING, Reason.REFUSED)


@pytest.mark.root
@needs_sshd
def test_a_server_with_too_many_strangers_is_starting(running: Sshd) -> None:
    """MaxStartups connections that have not logged in are all that it takes."""
    with ExitStack() as stack:
        for _ in range(2):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", running.port)))
            sock.sendall(b"SSH-2.0-test\r\n")
            sock.recv(10)
        found = attempt(f"ssh://127.0.0.1:{running.port}")
    assert told(found) == (State.WAITING, Reason.STARTING)
    assert "MaxStartups" in str(found)
    until(lambda: told(attempt(f"ssh://127.0.0.1:{running.port}"))[0] is State.READY, "the others to be gone")


@pytest.mark.root
@needs_sshd
def test_a_server_that_is_paused_is_not_ready(running: Sshd) -> None:
    """Its port accepts still; the attempt says at which step its time was over."""
    with paused(running.process):
        found = attempt(f"ssh://127.0.0.1:{running.port}", 0.2)
    assert found == f"waiting for an answer of 127.0.0.1:{running.port}"


@pytest.mark.root
@needs_sshd
def test_a_server_is_nothing_else_and_is_gone_once_it_stops(tmp_path: Path) -> None:
    """It speaks first, so that whoever expects another protocol is told at once."""
    with sshd(tmp_path, "MaxStartups 100") as found:
        is_nothing_else(found.port, "ssh", speaks_first=True)
        goes_for_good(found.process, f"ssh://127.0.0.1:{found.port}")


def answering(said: bytes, *, hang_up: bool) -> Manners:
    """Return a server that reads the other side's version, says this, and then hangs up or waits."""

    def answer(client: socket.socket, over: threading.Event) -> None:
        client.recv(100)
        client.sendall(said)
        if not hang_up:
            over.wait()

    return answer


@pytest.mark.parametrize(
    ("said", "hang_up", "state", "reason"),
    [
        (b"Welcome\r\nto all\r\nSSH-2.0-x\r\n" + KEXINIT, False, State.READY, Reason.READY),
        (b"SSH-1.99-x\n" + KEXINIT, False, State.READY, Reason.READY),
        (b"SSH-1.5-x\n" + KEXINIT, False, State.WAITING, Reason.WRONG_PROTOCOL),
        (b"SSH-2.0-x\r\nSSH-2.0-x\r\n", False, State.WAITING, Reason.WRONG_PROTOCOL),
        (b"SSH-2.0-x\r\n", True, State.WAITING, Reason.CLOSED),
        (b"", True, State.WAITING, Reason.CLOSED),
        (b"Not allowed at this time\r\n", True, State.WAITING, Reason.FORBIDDEN),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", True, State.WAITING, Reason.WRONG_PROTOCOL),
        (b"+OK\r\n" * 100, False, State.WAITING, Reason.WRONG_PROTOCOL),
    ],
)
def test_only_a_whole_beginning_counts(said: bytes, hang_up: bool, state: State, reason: Reason) -> None:  # noqa: FBT001 - a column of the table
    """A greeting may come before the versions, and the keys must follow; what was said is not repeated."""
    with serving(answering(said, hang_up=hang_up)) as port:
        assert told(attempt(f"ssh://127.0.0.1:{port}")) == (state, reason)


@pytest.mark.parametrize("target", ["ssh://git:PASSWORD@h", "ssh://git@h/repository.git"])
def test_a_bad_declaration_says_what_is_right(target: str) -> None:
    """Nobody logs in, and nothing but the server is asked for."""
    with pytest.raises(BadOptionsError, match="takes no password, and nothing behind the port") as caught:
        load("ssh").parse(target, {})
    assert "PASSWORD" not in str(caught.value)
