"""SMTP: a real exim in each state it can be brought into, and scripted servers for what it never says."""

import functools
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import attempts
import pytest
from badness import Manners, saying, serving
from certificates import Pair, authority, leaf
from discretion import told_nowhere
from realservers import accepts, free_port, paused, started, until
from stopping import goes_for_good
from strangers import is_nothing_else

from gatekeeper.model import Outcome, Reason, State
from gatekeeper.probes import load
from gatekeeper.probes._options import BadOptionsError

PASSWORD = "secret-7f3a"
SETTINGS = """
primary_hostname = mail.example.org
spool_directory = {folder}/spool
log_file_path = {folder}/exim-%slog
pid_file_path = {folder}/pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port} : {secure}
tls_on_connect_ports = {secure}
tls_certificate = {pair.cert}
tls_privatekey = {pair.key}
tls_advertise_hosts = *
smtp_accept_max = {most}
log_selector = +smtp_connection +smtp_protocol_error +smtp_syntax_error +smtp_no_mail

begin authenticators

plain:
  driver = plaintext
  public_name = PLAIN
  server_advertise_condition = ${{if def:tls_in_cipher}}
  server_condition = ${{if and{{{{eq{{$auth2}}{{app}}}}{{eq{{$auth3}}{{{password}}}}}}}}}
"""


class Exim(NamedTuple):
    """An exim that runs: its ports in plain and over TLS, and the authority of its certificate."""

    process: "subprocess.Popen[bytes]"
    port: int
    secure: int
    issuer: Pair
    log: Path


@contextmanager
def exim(most: int) -> Iterator[Exim]:
    """Run an exim that serves so many at a time."""
    # Not in pytest's own folder, which every run of pytest shuts to other users, and so to exim's.
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        issuer = authority(folder)
        pair = leaf(folder, issuer, "localhost")
        pair.key.chmod(0o644)
        port, secure = free_port(), free_port()
        conf = folder / "conf"
        filled = SETTINGS.format(folder=folder, port=port, secure=secure, pair=pair, password=PASSWORD, most=most)
        conf.write_text(filled)
        folder.chmod(0o777)
        log = folder / "exim-mainlog"
        with started(["exim4", "-bdf", "-C", conf], folder=folder, up=lambda: accepts(port)) as process:
            until(lambda: log.exists() and "no MAIL" in log.read_text(), "the look whether it is up to be over")
            yield Exim(process, port, secure, issuer, log)


@pytest.fixture(scope="module")
def running() -> Iterator[Exim]:
    """Give an exim that serves twenty at a time."""
    with exim(20) as found:
        yield found


attempt = functools.partial(attempts.attempt, secret=PASSWORD)


def told(outcome: Outcome | str) -> tuple[State, Reason]:
    """Return what an outcome says in two words."""
    assert isinstance(outcome, Outcome), outcome
    return outcome.state, outcome.reason


READY = (State.READY, Reason.READY)
FORBIDDEN = (State.FAILED, Reason.FORBIDDEN)


@pytest.mark.root
@pytest.mark.needs("exim4")
def test_a_server_is_ready_once_it_takes_ehlo(running: Exim) -> None:
    """And is left with QUIT; in its log it is gatekeeper who came, without a mail."""
    before = len(running.log.read_text())
    assert attempt(f"smtp://127.0.0.1:{running.port}") == Outcome(
        State.READY, Reason.READY, f"127.0.0.1:{running.port}"
    )
    until(lambda: "no MAIL" in running.log.read_text()[before:], "its log")
    assert "(gatekeeper) [127.0.0.1] closed by QUIT" in running.log.read_text()[before:]
    assert told(attempt(f"smtp://127.0.0.1:{free_port()}")) == (State.WAITING, Reason.REFUSED)


@pytest.mark.root
@pytest.mark.needs("exim4")
def test_tls_is_spoken_from_the_start_or_asked_for(running: Exim) -> None:
    """With the same verification."""
    ca = {"ca": str(running.issuer.cert)}
    secure, plain = f"smtps://localhost:{running.secure}", f"smtp://localhost:{running.port}"
    assert told(attempt(secure, **ca)) == READY
    assert told(attempt(secure)) == (State.WAITING, Reason.TLS_FAILED)
    assert told(attempt(plain, starttls="yes", **ca)) == READY
    assert told(attempt(plain, starttls="yes")) == (State.WAITING, Reason.TLS_FAILED)
    assert told(attempt(plain, **ca)) == (State.WAITING, Reason.WRONG_PROTOCOL)


@pytest.mark.root
@pytest.mark.needs("exim4")
def test_who_gives_a_password_is_logged_in(running: Exim, tmp_path: Path) -> None:
    """By PLAIN where that is offered, never in plain unless that is offered too."""
    given = {"starttls": "yes", "ca": str(running.issuer.cert)}
    host = f"localhost:{running.port}"
    assert told(attempt(f"smtp://app:{PASSWORD}@{host}", **given)) == READY
    assert told(attempt(f"smtp://app:other@{host}", **given)) == FORBIDDEN
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    assert told(attempt(f"smtp://app@{host}", **given, password_file=str(tmp_path / "password"))) == READY
    found = attempt(f"smtp://app:{PASSWORD}@{host}")
    assert told(found) == (State.WAITING, Reason.UNWANTED_ANSWER)
    assert "starttls=yes" in str(found)
    assert told(attempt(f"smtp://app:{PASSWORD}@{host}", login="no")) == READY


@pytest.mark.root
@pytest.mark.needs("exim4")
def test_a_password_stands_in_nothing_that_is_said(running: Exim, tmp_path: Path) -> None:
    """Be it the right one or not, whatever the command."""
    lines = (
        f"it{end}=smtp://app:{PASSWORD}{end}@127.0.0.1:{running.port} starttls=yes insecure=yes" for end in ("", "x")
    )
    assert "refuse" in told_nowhere(PASSWORD, "\n".join(lines), tmp_path)


@pytest.mark.root
@pytest.mark.needs("exim4")
def test_a_server_that_is_full_is_starting(running: Exim) -> None:
    """It greets with 421."""
    with ExitStack() as stack:

        def is_full() -> bool:
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", running.port)))
            return sock.recv(100).startswith(b"421")

        until(is_full, "a connection to be refused")
        found = attempt(f"smtp://127.0.0.1:{running.port}")
    assert told(found) == (State.WAITING, Reason.STARTING)
    assert "(it answers 421)" in str(found)


@pytest.mark.root
@pytest.mark.needs("exim4")
def test_a_server_that_is_paused_is_not_ready(running: Exim) -> None:
    """Its port accepts still; the attempt says at which step its time was over."""
    with paused(running.process):
        found = attempt(f"smtp://127.0.0.1:{running.port}", 0.2)
    assert found == f"waiting for an answer of 127.0.0.1:{running.port}"


@pytest.mark.root
@pytest.mark.needs("exim4")
def test_a_server_is_nothing_else_and_is_gone_once_it_stops() -> None:
    """To no other protocol it is ready; where it speaks TLS alone, it waits for that."""
    with exim(100) as found:
        is_nothing_else(found.port, "smtp")
        late = attempt(f"smtp://127.0.0.1:{found.secure}", 0.2)
        assert late == f"waiting for an answer of 127.0.0.1:{found.secure}"
        goes_for_good(found.process, f"smtp://127.0.0.1:{found.port}")


def scripted(greeting: bytes, *answers: bytes, heard: list[bytes] | None = None) -> Manners:
    """Return a server that greets, and then answers a line after the other."""

    def talk(client: socket.socket, over: threading.Event) -> None:
        client.sendall(greeting)
        with client.makefile("rb") as come:
            for answer in answers:
                line = come.readline()
                if heard is not None:
                    heard.append(line)
                client.sendall(answer)
        over.wait()

    return talk


OK, NO, TLS = b"250 mail\r\n", b"502 what?\r\n", b"250-mail\r\n250 STARTTLS\r\n"


@pytest.mark.parametrize(
    ("manners", "options", "reason"),
    [
        (scripted(b"220-mail\r\n220-is\r\n220 here\r\n", OK), {}, Reason.READY),
        (scripted(b"220\r\n", b"250\r\n"), {}, Reason.READY),
        (scripted(b"220 mail\r\n", NO, OK), {}, Reason.READY),  # one that knows HELO only
        (scripted(b"220 ftp\r\n", b"530 log in\r\n", b"530 log in\r\n"), {}, Reason.WRONG_PROTOCOL),
        (scripted(b"220 mail\r\n", b"451 later\r\n"), {}, Reason.STARTING),
        (scripted(b"220 mail\r\n", b"550 never\r\n"), {}, Reason.UNWANTED_ANSWER),
        (scripted(b"554 no mail here\r\n"), {}, Reason.UNWANTED_ANSWER),
        (scripted(b"421 going down\r\n"), {}, Reason.STARTING),
        (scripted(b"220-mail\r\n" * 200), {}, Reason.WRONG_PROTOCOL),
        (scripted(b"220_mail\r\n"), {}, Reason.WRONG_PROTOCOL),
        (scripted(b"220 mail\r\n", OK), {"starttls": "yes"}, Reason.TLS_FAILED),
        (scripted(b"220 mail\r\n", TLS, b"454 not now\r\n"), {"starttls": "yes"}, Reason.TLS_FAILED),
        (scripted(b"220 mail\r\n", TLS, b"220 go\r\n250 OK\r\n"), {"starttls": "yes"}, Reason.WRONG_PROTOCOL),
    ],
)
def test_what_a_server_says_is_weighed(manners: Manners, options: dict[str, str], reason: Reason) -> None:
    """Whole replies count, a no for now is starting, and what is said in plain behind STARTTLS is not believed."""
    with serving(manners) as port:
        assert told(attempt(f"smtp://127.0.0.1:{port}", **options))[1] is reason


@pytest.mark.parametrize(
    ("offer", "answers", "said", "outcome"),
    [
        (b"AUTH LOGIN", [b"334 x\r\n", b"334 x\r\n", b"235 ok\r\n"], 4, READY),
        (b"AUTH LOGIN", [b"504 no\r\n"], 2, FORBIDDEN),
        (b"AUTH PLAIN LOGIN", [b"235 ok\r\n"], 2, READY),
        (b"AUTH PLAIN", [b"454 later\r\n"], 2, (State.WAITING, Reason.STARTING)),
        (b"AUTH PLAIN", [b"535 no\r\n"], 2, FORBIDDEN),
        (b"AUTH CRAM-MD5", [], 1, (State.WAITING, Reason.UNWANTED_ANSWER)),
        (b"SIZE", [], 1, (State.WAITING, Reason.UNWANTED_ANSWER)),
    ],
)
def test_a_login_is_made_as_it_is_offered(
    offer: bytes, answers: list[bytes], said: int, outcome: tuple[State, Reason]
) -> None:
    """The password is said once it is asked for, and to nobody who does not."""
    heard: list[bytes] = []
    script = scripted(b"220 mail\r\n", b"250-mail\r\n250 " + offer + b"\r\n", *answers, heard=heard)
    with serving(script) as port:
        found = attempt(f"smtp://app:{PASSWORD}@127.0.0.1:{port}")
    assert told(found) == outcome
    assert len(heard) == said


def test_a_login_that_wants_tls_says_so() -> None:
    """It is not the password that is refused (RFC 3207, 4)."""
    answers = (b"250-mail\r\n250 AUTH PLAIN\r\n", b"530 Must issue a STARTTLS command first\r\n")
    with serving(scripted(b"220 mail\r\n", *answers)) as port:
        found = attempt(f"smtp://app:{PASSWORD}@127.0.0.1:{port}")
    assert told(found) == FORBIDDEN
    assert "(it takes no login without TLS: starttls=yes asks for it)" in str(found)


@pytest.mark.parametrize("banner", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+OK\r\n"])
@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_another_protocol_is_said_and_waited_out(banner: bytes, scheme: str) -> None:
    """The port may be taken over one day; what was said is not repeated."""
    with serving(saying(banner)) as port:
        found = attempt(f"{scheme}://127.0.0.1:{port}")
    assert told(found) == (State.WAITING, Reason.WRONG_PROTOCOL)


@pytest.mark.parametrize(
    ("target", "options", "problem"),
    [
        ("smtp://h/x", {}, "takes nothing behind the port: write smtp://HOST:PORT"),
        ("smtps://h", {"starttls": "yes"}, "starttls: begins without TLS: write smtp:// and leave out tls"),
        ("smtp://:PASSWORD@h", {}, "logs in without a user: write smtp://USER@HOST:PORT"),
        ("smtp://a@h", {"login": "yes"}, "login: needs a password: give password_file"),
    ],
)
def test_a_bad_declaration_says_what_is_right(target: str, options: dict[str, str], problem: str) -> None:
    """Each problem names its place, and no password."""
    with pytest.raises(BadOptionsError) as caught:
        load("smtp").parse(target, {key: (value,) for key, value in options.items()})
    assert problem in str(caught.value)
    assert "PASSWORD" not in str(caught.value)
