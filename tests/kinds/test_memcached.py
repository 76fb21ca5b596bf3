"""memcached: the real one, and what else may listen at its port."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import certificates
import pytest
from attempts import attempt, told
from badness import hung_up, saying, serving
from realservers import accepts, free_port, paused, started
from stopping import goes_for_good
from strangers import is_nothing_else

from gatekeeper.model import Outcome, Reason, State

pytestmark = pytest.mark.needs("memcached")
USER = ["-u", "nobody"] if os.geteuid() == 0 else []


@contextmanager
def memcached(folder: Path, *options: str) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    """Run a memcached; give its port and its process."""
    port = free_port()
    argv = ["memcached", "-l", "127.0.0.1", "-p", str(port), *options, *(() if "-u" in options else USER)]
    with started(argv, folder=folder, up=lambda: accepts(port)) as process:
        yield port, process


def test_a_memcached_is_ready_once_it_answers(tmp_path: Path) -> None:
    """Nobody there is refused; one that runs is ready, at its default option and by a socket file too."""
    found = attempt(f"memcached://127.0.0.1:{free_port()}")
    assert isinstance(found, Outcome)
    assert (found.state, found.reason, found.gone) == (State.WAITING, Reason.REFUSED, True)
    with memcached(tmp_path) as (port, _):
        found = attempt(f"memcached://127.0.0.1:{port}")
        assert found == Outcome(State.READY, Reason.READY, f"127.0.0.1:{port}")
        is_nothing_else(port, "memcached")
    path = tmp_path / "socket"
    with started(["memcached", "-s", str(path), "-u", "root"], folder=tmp_path, up=path.exists):
        assert attempt("memcached://", unix=str(path)) == Outcome(State.READY, Reason.READY, str(path))


def test_a_memcached_that_is_paused_or_stops_is_not_ready(tmp_path: Path) -> None:
    """Paused, its port accepts still: the attempt says at which step its time was over."""
    with memcached(tmp_path) as (port, process):
        with paused(process):
            assert attempt(f"memcached://127.0.0.1:{port}", 0.2) == f"waiting for an answer of 127.0.0.1:{port}"
        goes_for_good(process, f"memcached://127.0.0.1:{port}")


def test_a_memcached_that_wants_a_login_is_ready(tmp_path: Path) -> None:
    """It has started as well, and is told apart."""
    (tmp_path / "users").write_text("app:secret\n")
    (tmp_path / "users").chmod(0o644)
    tmp_path.chmod(0o755)
    with memcached(tmp_path, "-Y", str(tmp_path / "users"), "-u", "root") as (port, _):
        found = attempt(f"memcached://127.0.0.1:{port}")
    assert found == Outcome(State.READY, Reason.READY_AUTH_REQUIRED, f"127.0.0.1:{port}")


def test_a_memcached_that_speaks_binary_alone_is_asked_in_that(tmp_path: Path) -> None:
    """As with SASL, by an address and by a socket file."""
    with memcached(tmp_path, "-B", "binary") as (port, _):
        found = attempt(f"memcached://127.0.0.1:{port}")
    assert found == Outcome(State.READY, Reason.READY, f"127.0.0.1:{port}")
    path = tmp_path / "socket"
    with started(["memcached", "-B", "binary", "-s", str(path), "-u", "root"], folder=tmp_path, up=path.exists):
        assert attempt("memcached://", unix=str(path)) == Outcome(State.READY, Reason.READY, str(path))


def test_a_memcached_over_tls_is_asked_in_that(tmp_path: Path) -> None:
    """With `ca`; on who asks in plain it hangs up."""
    trust = certificates.authority(tmp_path)
    mine = certificates.leaf(tmp_path, trust, "127.0.0.1")
    options = ("-Z", "-o", f"ssl_chain_cert={mine.cert},ssl_key={mine.key}", "-u", "root")
    with memcached(tmp_path, *options) as (port, _):
        assert told(f"memcached://127.0.0.1:{port}", ca=str(trust.cert)) == ("ready", "ready")
        assert told(f"memcached://127.0.0.1:{port}", tls="yes") == ("waiting", "tls_failed")
        assert told(f"memcached://127.0.0.1:{port}") in (("waiting", "closed"), ("waiting", "reset"))


def test_who_hangs_up_on_both_protocols_is_told_so() -> None:
    """It is nobody that one could ask."""
    with serving(hung_up) as port:
        found = attempt(f"memcached://127.0.0.1:{port}")
    assert isinstance(found, Outcome)
    assert (found.state, found.reason in (Reason.CLOSED, Reason.RESET)) == (State.WAITING, True)


@pytest.mark.parametrize("banner", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+OK\r\n"])
def test_another_protocol_is_said_and_waited_out(banner: bytes) -> None:
    """The port may be taken over one day; what was said is not repeated."""
    with serving(saying(banner)) as port:
        found = attempt(f"memcached://127.0.0.1:{port}")
    assert isinstance(found, Outcome)
    assert (found.state, found.reason) == (State.WAITING, Reason.WRONG_PROTOCOL)
    assert found.detail == f"127.0.0.1:{port} (it answers in another protocol)"
