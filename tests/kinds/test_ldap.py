"""LDAP: a real slapd in each state it can be brought into, and what else may answer at its port."""

import functools
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import attempts
import pytest
from badness import saying, serving
from certificates import Pair, authority, leaf
from discretion import told_nowhere
from realservers import accepts, free_port, paused, started, until
from stopping import goes_for_good
from strangers import is_nothing_else

from gatekeeper.model import Outcome, Reason, State
from gatekeeper.probes import load
from gatekeeper.probes._options import BadOptionsError

pytestmark = pytest.mark.needs("slapd", "slapadd")
PASSWORD = "secret-7f3a"
APP = "uid=app,dc=example,dc=org"
USER = quote(APP, safe="")
ENTRIES = f"""dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
o: example
dc: example

dn: {APP}
objectClass: account
objectClass: simpleSecurityObject
uid: app
userPassword: {PASSWORD}
"""


class Slapd(NamedTuple):
    """A slapd that runs: its ports in plain and over TLS, its socket file, the authority of its certificate."""

    process: "subprocess.Popen[bytes]"
    port: int
    secure: int
    path: str
    issuer: Pair


@contextmanager
def slapd(folder: Path, *rules: str) -> Iterator[Slapd]:
    """Run a slapd with an entry for an application; ``rules`` are further lines for all of its databases."""
    issuer = authority(folder)
    pair = leaf(folder, issuer, "localhost")
    (folder / "data").mkdir()
    lines = [
        "include /etc/ldap/schema/core.schema",
        "include /etc/ldap/schema/cosine.schema",
        "modulepath /usr/lib/ldap",
        "moduleload back_mdb",
        "moduleload back_ldap",
        f"TLSCertificateFile {pair.cert}",
        f"TLSCertificateKeyFile {pair.key}",
        *rules,
        "database mdb",
        'suffix "dc=example,dc=org"',
        f"directory {folder / 'data'}",
        'rootdn "cn=admin,dc=example,dc=org"',
        f"rootpw {PASSWORD}",
        "database ldap",
        'suffix "dc=away"',
        f"uri ldap://127.0.0.1:{free_port()}",
    ]
    (folder / "slapd.conf").write_text("\n".join(lines) + "\n")
    (folder / "entries").write_text(ENTRIES)
    argv = ["slapadd", "-f", "slapd.conf", "-b", "dc=example,dc=org", "-l", "entries"]
    subprocess.run(argv, cwd=folder, check=True, capture_output=True)
    port, secure, path = free_port(), free_port(), folder / "socket"
    places = f"ldap://127.0.0.1:{port} ldaps://127.0.0.1:{secure} ldapi://{quote(str(path), safe='')}"
    argv = ["slapd", "-f", str(folder / "slapd.conf"), "-h", places, "-d", "stats"]
    with started(argv, folder=folder, up=lambda: accepts(port) and path.exists()) as process:
        yield Slapd(process, port, secure, str(path), issuer)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    """Give a slapd that everybody may read."""
    with slapd(tmp_path_factory.mktemp("slapd")) as found:
        yield found


attempt = functools.partial(attempts.attempt, secret=PASSWORD)


def told(outcome: Outcome | str) -> tuple[State, Reason]:
    """Return what an outcome says in two words."""
    assert isinstance(outcome, Outcome), outcome
    return outcome.state, outcome.reason


READY = (State.READY, Reason.READY)
FORBIDDEN = (State.FAILED, Reason.FORBIDDEN)


def test_a_directory_is_ready_once_it_answers(running: Slapd) -> None:
    """By the port, by the socket file, and over TLS from the start; nobody there is refused."""
    assert told(attempt(f"ldap://127.0.0.1:{free_port()}")) == (State.WAITING, Reason.REFUSED)
    assert attempt(f"ldap://127.0.0.1:{running.port}") == Outcome(
        State.READY, Reason.READY, f"127.0.0.1:{running.port}"
    )
    assert told(attempt("ldap:///dc=example,dc=org", unix=running.path)) == READY
    assert told(attempt(f"ldaps://localhost:{running.secure}", ca=str(running.issuer.cert))) == READY
    assert told(attempt(f"ldaps://localhost:{running.secure}")) == (State.WAITING, Reason.TLS_FAILED)


def test_an_attempt_says_goodbye(running: Slapd) -> None:
    """The directory sees an unbind, not a connection that was lost."""
    log = Path(f"/proc/{running.process.pid}/cwd/log")
    before = len(log.read_text())
    assert told(attempt(f"ldap://127.0.0.1:{running.port}")) == READY
    until(lambda: "closed" in log.read_text()[before:], "the connection to be closed")
    said = log.read_text()[before:]
    assert "UNBIND" in said
    assert "connection lost" not in said


def test_an_entry_must_be_there(running: Slapd) -> None:
    """One that is not there, or that nobody may see, is waited for."""
    target = f"ldap://127.0.0.1:{running.port}"
    assert told(attempt(f"{target}/dc=example,dc=org")) == READY
    assert told(attempt(f"{target}/uid%3Dapp%2Cdc%3Dexample%2Cdc%3Dorg")) == READY
    found = attempt(f"{target}/dc=nowhere")
    assert isinstance(found, Outcome)
    assert (*told(found), found.gone) == (State.WAITING, Reason.NOT_FOUND, False)
    assert found.detail == f"127.0.0.1:{running.port} (entry dc=nowhere)"
    assert told(attempt(f"{target}/{'dc=example,' * 500}dc=org")) == (State.WAITING, Reason.NOT_FOUND)


def test_a_database_that_is_away_is_starting(running: Slapd) -> None:
    """A directory that passes questions on to another one calls itself unavailable while that is down."""
    assert told(attempt(f"ldap://127.0.0.1:{running.port}/dc=away")) == (State.WAITING, Reason.STARTING)


def test_tls_is_asked_for_in_the_midst(running: Slapd) -> None:
    """StartTLS, with the same verification as from the start."""
    target = f"ldap://localhost:{running.port}"
    assert told(attempt(target, starttls="yes", ca=str(running.issuer.cert))) == READY
    assert told(attempt(target, starttls="yes")) == (State.WAITING, Reason.TLS_FAILED)
    assert told(attempt(target, starttls="yes", insecure="yes")) == READY


def test_who_gives_a_password_is_logged_in(running: Slapd, tmp_path: Path) -> None:
    """From the target or from a file; a wrong password of an entry that is seen can never succeed."""
    host = f"127.0.0.1:{running.port}"
    assert told(attempt(f"ldap://{USER}:{PASSWORD}@{host}/dc=example,dc=org")) == READY
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    given = {"bind_dn": APP, "password_file": str(tmp_path / "password")}
    assert told(attempt(f"ldap://{host}", **given)) == READY
    (tmp_path / "password").write_text("other")
    assert told(attempt(f"ldap://{host}", **given)) == FORBIDDEN
    assert told(attempt(f"ldap://{host}", **given, login="no")) == READY
    (tmp_path / "password").write_text("")
    assert told(attempt(f"ldap://{host}", **given)) == (State.WAITING, Reason.NOT_FOUND)
    found = attempt(f"ldap://{USER.replace('app', 'nobody')}:{PASSWORD}@{host}")
    assert told(found) == (State.WAITING, Reason.FORBIDDEN)
    assert isinstance(found, Outcome)
    assert "the entry not there yet" in found.detail
    assert found.retry_after == 10


def test_a_password_stands_in_nothing_that_is_said(running: Slapd, tmp_path: Path) -> None:
    """Be it the right one or not, whatever the command."""
    lines = (f"it{end}=ldap://{USER}:{PASSWORD}{end}@127.0.0.1:{running.port}" for end in ("", "x"))
    assert "refuse" in told_nowhere(PASSWORD, "\n".join(lines), tmp_path)


def test_a_directory_that_is_paused_is_not_ready(running: Slapd) -> None:
    """Its port accepts still; the attempt says at which step its time was over."""
    with paused(running.process):
        found = attempt(f"ldap://127.0.0.1:{running.port}", 0.2)
    assert found == f"waiting for an answer of 127.0.0.1:{running.port}"


def test_a_directory_is_nothing_else(running: Slapd) -> None:
    """To no other protocol it is ready, nor in plain where it speaks TLS alone: there it hangs up."""
    is_nothing_else(running.port, "ldap")
    assert told(attempt(f"ldap://127.0.0.1:{running.secure}"))[1] in (Reason.CLOSED, Reason.RESET)


def test_a_directory_that_stops_is_gone(tmp_path: Path) -> None:
    """From the moment that it no longer listens."""
    with slapd(tmp_path) as found:
        at = f"127.0.0.1:{found.port}"
        goes_for_good(found.process, f"ldap://{at}", f"ldap://{USER}:{PASSWORD}@{at}")


def test_a_directory_that_wants_a_login_is_up(tmp_path: Path) -> None:
    """It refuses even its root DSE, and is ready as such; an entry is not shown then."""
    with slapd(tmp_path, "require authc") as found:
        target = f"ldap://127.0.0.1:{found.port}"
        assert told(attempt(target)) == (State.READY, Reason.READY_AUTH_REQUIRED)
        assert told(attempt(f"{target}/dc=example,dc=org")) == (State.WAITING, Reason.FORBIDDEN)


def test_a_directory_that_wants_tls_is_up(tmp_path: Path) -> None:
    """It takes no password and shows nothing without."""
    with slapd(tmp_path, "security tls=1") as found:
        host = f"localhost:{found.port}"
        assert told(attempt(f"ldap://{host}")) == (State.READY, Reason.READY_AUTH_REQUIRED)
        for target in (f"ldap://{host}/dc=example,dc=org", f"ldap://{USER}:{PASSWORD}@{host}"):
            refused = attempt(target)
            assert told(refused) == FORBIDDEN
            assert "(it wants TLS)" in str(refused)
            assert told(attempt(target, starttls="yes", insecure="yes")) == READY


def test_a_directory_that_hides_its_root_is_up(tmp_path: Path) -> None:
    """What it has there is its own business; no TLS where it has none."""
    with slapd(tmp_path, 'access to dn.base="" by * none', "access to * by * read") as found:
        assert told(attempt(f"ldap://127.0.0.1:{found.port}"))[0] is State.READY


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("300c02010165070a013304000400", Reason.STARTING),
        ("300c02010165070a013404000400", Reason.STARTING),
        ("300c02010165070a013504000400", Reason.READY_AUTH_REQUIRED),
        ("300c02010165070a015004000400", Reason.UNWANTED_ANSWER),
        ("300c02010078070a013404000400", Reason.STARTING),  # a notice that it hangs up
        ("308400000010020101658400000007" + "0a010004000400", Reason.READY),  # Active Directory's long lengths
        ("300c02010265070a010004000400", Reason.WRONG_PROTOCOL),
        ("300c04010165070a010004000400", Reason.WRONG_PROTOCOL),
        ("300c020101650702010004000400", Reason.WRONG_PROTOCOL),
        ("300c020101657f0a010004000400", Reason.WRONG_PROTOCOL),
        ("300c02010161070a010004000400", Reason.WRONG_PROTOCOL),
        ("3003020101", Reason.WRONG_PROTOCOL),
        ("3080", Reason.WRONG_PROTOCOL),
        ("3087ffffffffffffff", Reason.WRONG_PROTOCOL),
        ("3005020101" + "6400", Reason.WRONG_PROTOCOL),
    ],
)
def test_only_a_result_counts(answer: str, reason: Reason) -> None:
    """Busy and unavailable are not yet; what is cut, or answers another question, is none."""
    with serving(saying(bytes.fromhex(answer) * 101)) as port:
        assert told(attempt(f"ldap://127.0.0.1:{port}"))[1] is reason


def test_a_permission_that_lacks_may_be_granted() -> None:
    """A directory that is being filled gets its rules of access as well (result 50)."""
    said = "300c02010165070a010004000400" + "300c02010265070a013204000400"
    with serving(saying(bytes.fromhex(said))) as port:
        found = attempt(f"ldap://127.0.0.1:{port}/dc=example")
    assert told(found) == (State.WAITING, Reason.FORBIDDEN)


@pytest.mark.parametrize(
    ("code", "entry", "certain"), [(1, b"", True), (50, b"", True), (32, b"", False), (0, b"", True), (0, b"d", True)]
)
def test_a_refused_login_is_tried_again_only_where_the_entry_may_come(code: int, entry: bytes, certain: bool) -> None:  # noqa: FBT001 - a column of the table
    """A directory that does not show its entries (Active Directory says 1) may lock the account."""

    def message(number: int, kind: int, content: str) -> bytes:
        body = bytes([2, 1, number, kind, len(content) // 2]) + bytes.fromhex(content)
        return bytes([0x30, len(body)]) + body

    said = message(1, 0x65, "0a010004000400") + message(2, 0x61, "0a013104000400")
    said += message(3, 0x64, "04003000") if entry else b""
    with serving(saying(said + message(3, 0x65, f"0a01{code:02x}04000400"))) as port:
        found = attempt(f"ldap://{USER}:{PASSWORD}@127.0.0.1:{port}")
    assert isinstance(found, Outcome)
    assert (found.reason, found.certain, found.state is State.FAILED) == (Reason.FORBIDDEN, certain, certain)


@pytest.mark.parametrize("banner", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
@pytest.mark.parametrize("scheme", ["ldap", "ldaps"])
def test_another_protocol_is_said_and_waited_out(banner: bytes, scheme: str) -> None:
    """The port may be taken over one day; what was said is not repeated."""
    with serving(saying(banner)) as port:
        found = attempt(f"{scheme}://127.0.0.1:{port}")
    assert told(found) == (State.WAITING, Reason.WRONG_PROTOCOL)


@pytest.mark.parametrize("code", ["02", "33", "34"])
def test_a_directory_without_tls_says_so(code: str) -> None:
    """StartTLS that is refused is a failure of TLS; a directory that is busy has not said."""
    with serving(saying(bytes.fromhex(f"300c02010178070a01{code}04000400"))) as port:
        found = attempt(f"ldap://127.0.0.1:{port}", starttls="yes")
    assert told(found) == (State.WAITING, Reason.STARTING if code == "33" else Reason.TLS_FAILED)


@pytest.mark.parametrize(
    ("target", "options", "problem"),
    [
        ("ldap://h/dc=x?cn", {}, "takes no attributes, scope or filter: write ldap://HOST:PORT/DN"),
        ("ldaps://h", {"starttls": "yes"}, "starttls: begins without TLS: write ldap:// and leave out tls"),
        ("ldap://a:PASSWORD@h", {"bind_dn": "cn=a"}, "bind_dn: is a second user: leave one out"),
        ("ldap://:PASSWORD@h", {}, "logs in without a user: give bind_dn"),
        ("ldap://a:@h", {"login": "yes"}, "logs in without a password: give password_file"),
        ("ldap://h", {"bind_dn": "cn=a"}, "bind_dn: needs a password: give password_file"),
    ],
)
def test_a_bad_declaration_says_what_is_right(target: str, options: dict[str, str], problem: str) -> None:
    """Each problem names its place, and no password."""
    with pytest.raises(BadOptionsError) as caught:
        load("ldap").parse(target, {key: (value,) for key, value in options.items()})
    assert problem in str(caught.value)
    assert "PASSWORD" not in str(caught.value)
