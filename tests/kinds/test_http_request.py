"""The HTTP kind: what is sent, to whom, and with which credentials."""

import base64
from pathlib import Path

import pytest
from webservers import OK, answer, answering, outcome, serving

from gatekeeper import __version__
from gatekeeper.model import Reason, State


def _sent(path: str = "/", *, host: str = "127.0.0.1", user: str = "", **options: str | tuple[str, ...]) -> bytes:
    seen: list[bytes] = []
    with serving(answering(OK, seen=seen), host=host) as server:
        shown = f"[{host}]" if ":" in host else host
        found = outcome(f"http://{user}{shown}:{server.port}{path}", **options)
        assert found.state is State.READY
        return seen[0].replace(str(server.port).encode(), b"PORT")


def _fields(request: bytes) -> dict[str, str]:
    lines = request.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_plain_request() -> None:
    """Without options, it is a GET that takes anything, in no compression, and says who asks."""
    request = _sent("/healthz?a=b#part")
    assert request.startswith(b"GET /healthz?a=b HTTP/1.1\r\n")
    assert _fields(request) == {
        "host": "127.0.0.1:PORT",
        "user-agent": f"gatekeeper/{__version__}",
        "accept": "*/*",
        "accept-encoding": "identity",
        "connection": "close",
    }


def test_host_of_ipv6() -> None:
    """The Host field has IPv6 in brackets and the port behind them."""
    assert _fields(_sent(host="::1"))["host"] == "[::1]:PORT"


@pytest.mark.parametrize("name", ["xn--lzg.invalid", "xn--a.invalid", "a_b.invalid", "€.invalid"])
def test_host_of_a_strange_name(name: str) -> None:
    """A name that only some standards allow is sent as DNS has it."""
    seen: list[bytes] = []
    with serving(answering(OK, seen=seen)) as proxy:
        assert outcome(f"http://{name}/", proxy=f"http://127.0.0.1:{proxy.port}").state is State.READY
    assert _fields(seen[0])["host"] == name.replace("€", "xn--lzg")


@pytest.mark.parametrize(("path", "line"), [("", b"/"), ("?a=b", b"/?a=b"), ("/ü x", b"/%C3%BC%20x")])
def test_path_as_sent(path: str, line: bytes) -> None:
    """The path is never empty, and what a request line cannot hold is escaped."""
    assert _sent(path).startswith(b"GET " + line + b" HTTP/1.1\r\n")


def test_own_fields_replace_ours() -> None:
    """Declared fields are sent, several of a name too, and stand in for ours."""
    request = _sent(header=("Host: other", "Accept: text/plain", "X-A: 1", "X-A: 2"))
    assert _fields(request)["host"] == "other"
    assert request.count(b"Host:") == request.count(b"Accept:") == 1
    assert request.count(b"X-A:") == 2


def test_body_is_sent_on_every_attempt(tmp_path: Path) -> None:
    """A body from a file is whole on every attempt, and read again each time."""
    file = tmp_path / "body"
    seen: list[bytes] = []
    with serving(answering(OK, seen=seen)) as server:
        for body in (b"x" * 300_000, b"second"):
            file.write_bytes(body)
            outcome(f"http://127.0.0.1:{server.port}/", method="post", body_file=str(file))
            assert seen[-1].startswith(b"POST / ")
            assert seen[-1].partition(b"\r\n\r\n")[2] == body


def test_body_from_the_declaration() -> None:
    """A body from the declaration has its length said."""
    request = _sent(method="PUT", body='{"a": "ü"}')
    assert _fields(request)["content-length"] == "11"
    assert request.endswith('{"a": "ü"}'.encode())


def test_answer_before_the_body_is_read() -> None:
    """A server that answers and hangs up without reading a large body is understood all the same."""

    def rude(connection: object) -> None:
        connection.recv(1000)  # type: ignore[attr-defined]
        connection.sendall(answer(413))  # type: ignore[attr-defined]

    with serving(rude) as server:
        found = outcome(f"http://127.0.0.1:{server.port}/", method="POST", body="x" * 5_000_000)
    assert found.reason in (Reason.UNWANTED_ANSWER, Reason.RESET)


def test_user_of_the_url() -> None:
    """User and password of the URL are sent as basic credentials, their escapes undone."""
    sent = _fields(_sent(user="me:p%40ss@"))["authorization"]
    assert sent == "Basic " + base64.b64encode(b"me:p@ss").decode()


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("me:secret\n", "Basic " + base64.b64encode(b"me:secret").decode()),
        ("abc.def-ghi\n", "Bearer abc.def-ghi"),
        ("Bearer abc.def\n", "Bearer abc.def"),
        ("bearer  abc:def\n", "bearer  abc:def"),
        ("BASIC bWU6cEBzcw==\n", "BASIC bWU6cEBzcw=="),
        ("bearer", "Bearer bearer"),
    ],
)
def test_auth_file(tmp_path: Path, text: str, field: str) -> None:
    """A file holds user and password, or a bearer token, or says itself which of both it is."""
    file = tmp_path / "auth"
    file.write_text(text)
    assert _fields(_sent(auth_file=str(file)))["authorization"] == field


@pytest.mark.parametrize("option", ["auth_file", "body_file"])
def test_missing_file(tmp_path: Path, option: str) -> None:
    """A file that is not there yet is something to wait for, is not the dependency being gone, and nobody is asked."""
    path = tmp_path / "later"
    with serving(answering(OK)) as server:
        found = outcome(f"http://127.0.0.1:{server.port}/", **{option: str(path)})
        assert server.accepted == 0
    assert (found.state, found.reason, found.gone) == (State.WAITING, Reason.NOT_FOUND, False)
    assert found.detail == f"{option} {path}"


@pytest.mark.parametrize("text", ["", "two\nlines"])
def test_unusable_auth_file(tmp_path: Path, text: str) -> None:
    """A file that holds no credentials yet is something to wait for, and is not quoted."""
    file = tmp_path / "auth"
    file.write_text(text)
    found = outcome("http://127.0.0.1:1/", auth_file=str(file))
    assert (found.state, found.reason) == (State.WAITING, Reason.NOT_FOUND)
    assert "lines)" not in found.detail


def test_fifo_as_body(tmp_path: Path) -> None:
    """A FIFO for a file does not stop the program."""
    import os  # noqa: PLC0415 - for this test only

    os.mkfifo(tmp_path / "fifo")
    assert "not a regular file" in outcome("http://127.0.0.1:1/", body_file=str(tmp_path / "fifo")).detail


def test_no_log_of_the_url(caplog: pytest.LogCaptureFixture) -> None:
    """A program that waits with us and logs everything finds no URL in its log, for a query may be a secret."""
    caplog.set_level("DEBUG")
    _sent("/?token=s3cret")
    assert "s3cret" not in caplog.text
    assert "HTTP Request" not in caplog.text


def test_environment_has_no_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither proxy variables nor a netrc change what is sent, or to whom."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "authorization" not in _fields(_sent())
