"""The HTTP kind: redirects, proxies, socket files, HTTP/2, several addresses."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from certificates import Pair, authority, leaf
from webservers import (
    OK,
    Server,
    Talk,
    answer,
    answering,
    endlessly,
    hanging_up,
    outcome,
    probe,
    request_of,
    serving,
    silent,
    speaking_h2,
    tls_server,
    tunnel_to,
    until_hung_up,
)

from gatekeeper.model import Reason, State


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pair, Pair]:
    """Make an authority and a certificate for the loopback addresses."""
    folder = tmp_path_factory.mktemp("pairs")
    ca = authority(folder)
    return ca, leaf(folder, ca, "localhost", "127.0.0.1", "::1")


def test_redirect_is_an_answer() -> None:
    """Without `redirects`, a redirect is judged by its status."""
    with serving(answering(answer(302, Location="http://127.0.0.1:1/"))) as server:
        assert outcome(f"http://127.0.0.1:{server.port}/").state is State.READY
        assert outcome(f"http://127.0.0.1:{server.port}/", status="2xx").reason is Reason.UNWANTED_ANSWER


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [(301, "GET", b"GET"), (302, "POST", b"GET"), (303, "PUT", b"GET"), (307, "POST", b"POST"), (308, "PUT", b"PUT")],
)
def test_redirect_is_followed(status: int, method: str, then: bytes) -> None:
    """A redirect is followed with the method and the body that RFC 9110 gives it."""
    seen: list[bytes] = []
    with serving(answering(answer(status, Location="/next?x=y"), OK, seen=seen)) as server:
        found = outcome(f"http://127.0.0.1:{server.port}/", redirects="1", method=method, body="abc", status="200")
    assert found.state is State.READY
    assert seen[1].startswith(then + b" /next?x=y ")
    assert seen[1].endswith(b"abc") is (then == method.encode())


def test_redirect_that_nobody_follows() -> None:
    """Without `redirects`, nobody minds where a redirect leads to."""
    with serving(answering(answer(302, Location="http://[::1/"))) as server:
        found = outcome(f"http://127.0.0.1:{server.port}/", expect_header="Location")
    assert found.detail.endswith("(status 302)")


def test_redirect_with_an_endless_body() -> None:
    """The body of a redirect that is followed is not read, be it as long as it may."""
    with serving(answering(OK)) as other:
        head = f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{other.port}/\r\n\r\n".encode()
        with serving(endlessly(head, b"x" * 60_000)) as server:
            assert outcome(f"http://127.0.0.1:{server.port}/", redirects="1").state is State.READY
            assert server.all_hung_up()


def test_cookies_last_for_an_attempt() -> None:
    """A cookie that a redirect sets is sent on its way, and not by a later attempt."""
    seen: list[bytes] = []
    with serving(answering(answer(302, Location="/", Set_Cookie="a=b"), OK, seen=seen)) as server:
        target = probe(f"http://127.0.0.1:{server.port}/", redirects="1")
        for _ in range(2):
            assert asyncio.run(target.attempt()).state is State.READY
    assert [b"Cookie: a=b" in request for request in seen] == [False, True, False]


def test_redirect_loop() -> None:
    """A loop of redirects ends after as many as were allowed."""
    seen: list[bytes] = []
    with serving(answering(answer(302, Location="/"), seen=seen)) as server:
        found = outcome(f"http://127.0.0.1:{server.port}/", redirects="3")
    assert (found.reason, len(seen)) == (Reason.UNWANTED_ANSWER, 4)
    assert "more than 3 redirects" in found.detail


def test_credentials_stay_with_their_origin() -> None:
    """Credentials and declared fields go to the same origin, and never to another."""
    here: list[bytes] = []
    there: list[bytes] = []
    with serving(answering(OK, seen=there)) as other:
        away = answer(302, Location=f"http://x:y@127.0.0.1:{other.port}/")
        with serving(answering(answer(302, Location="/2"), away, seen=here)) as server:
            target = f"http://me:s3cret@127.0.0.1:{server.port}/"
            assert outcome(target, redirects="2", header="X-Token: s3cret").state is State.READY
    assert all(b"X-Token" in request and b"Authorization" in request for request in here)
    assert b"X-Token" not in there[0]
    assert b"authorization" not in there[0].lower()


@pytest.mark.parametrize("location", ["ftp://h/", "http://h:99999/", "http://[::1/", "http://a b/"])
def test_redirect_to_nowhere(location: str) -> None:
    """A redirect to what is no HTTP URL is an unwanted answer, and is not quoted."""
    with serving(answering(answer(302, Location=location))) as server:
        found = outcome(f"http://127.0.0.1:{server.port}/", redirects="1")
        assert found.detail == f"127.0.0.1:{server.port} (redirects to what is no HTTP URL)"
    assert found.reason is Reason.UNWANTED_ANSWER


def test_redirect_to_refused_is_not_gone() -> None:
    """That a redirect leads to a closed port does not make the server that redirects gone."""
    with serving(answering(answer(302, Location="http://127.0.0.1:1/"))) as server:
        found = outcome(f"http://127.0.0.1:{server.port}/", redirects="1")
    assert (found.reason, found.gone) == (Reason.REFUSED, False)


def test_socket_file(tmp_path: Path) -> None:
    """HTTP goes over a socket file, and the Host field is the URL's."""
    seen: list[bytes] = []
    path = tmp_path / "app.sock"
    missing = outcome("http://app/", unix=str(path))
    assert (missing.reason, missing.gone) == (Reason.NOT_FOUND, True)
    with serving(answering(OK, seen=seen), unix=path):
        assert outcome("http://app/x", unix=str(path)).detail == f"{path} (status 200)"
    assert b"Host: app\r\n" in seen[0]
    assert outcome("http://app/", unix=str(path)).reason is Reason.REFUSED


def test_proxy_for_plain_http() -> None:
    """A proxy gets the whole URL and its own credentials, for a name that only it can resolve."""
    seen: list[bytes] = []
    with serving(answering(OK, seen=seen)) as proxy:
        found = outcome("http://name.invalid:81/x", proxy=f"http://me:s3cret@127.0.0.1:{proxy.port}")
    assert found.state is State.READY
    assert "s3cret" not in found.detail
    assert seen[0].startswith(b"GET http://name.invalid:81/x HTTP/1.1\r\nHost: name.invalid:81\r\n")
    assert b"Proxy-Authorization: Basic " in seen[0]


def test_proxy_that_is_not_there() -> None:
    """A refusing proxy says nothing about what is behind it."""
    found = outcome("http://name.invalid/", proxy="http://127.0.0.1:1")
    assert (found.reason, found.gone, found.detail) == (Reason.REFUSED, False, "proxy 127.0.0.1:1")


def test_proxy_for_https(pairs: tuple[Pair, Pair]) -> None:
    """https:// goes through a tunnel, and the certificate of the server itself is verified."""
    ca, pair = pairs
    asked: list[bytes] = []
    inside: list[bytes] = []
    with (
        serving(answering(OK, seen=inside), context=tls_server(pair.cert, pair.key)) as server,
        serving(tunnel_to(server.port, asked)) as proxy,
    ):
        options = {"proxy": f"http://me:pw@127.0.0.1:{proxy.port}", "ca": str(ca.cert), "header": "X-Token: t"}
        assert outcome(f"https://localhost:{server.port}/x", **options).state is State.READY
        other = outcome(f"https://elsewhere.invalid:{server.port}/x", **options)
    assert other.reason is Reason.TLS_FAILED
    assert asked[0].startswith(b"CONNECT localhost:%d HTTP/1.1\r\n" % server.port)
    assert b"X-Token" not in asked[0]
    assert b"Proxy-Authorization" not in inside[0]


@pytest.mark.parametrize(
    ("status", "state", "reason"),
    [
        (407, State.FAILED, Reason.FORBIDDEN),
        (502, State.WAITING, Reason.UNREACHABLE),
    ],
)
def test_proxy_without_a_tunnel(status: int, state: State, reason: Reason) -> None:
    """A proxy that makes no tunnel is told apart from the server behind it."""
    with serving(answering(answer(status))) as proxy:
        found = outcome("https://name.invalid/", proxy=f"http://127.0.0.1:{proxy.port}")
    assert (found.state, found.reason) == (state, reason)


def test_http2_at_once() -> None:
    """On http://, HTTP/2 is spoken without asking, with the same fields and the whole body."""
    seen: list[dict[bytes, bytes]] = []
    with serving(speaking_h2(seen)) as server:
        found = outcome(
            f"http://127.0.0.1:{server.port}/x?y",
            http2=True,
            method="POST",
            body="b" * 300_000,
            header="X-A: b",
            expect_json='$.status == "ok"',
        )
        assert seen[0][b":authority"] == b"127.0.0.1:%d" % server.port
    assert found.state is State.READY
    assert (seen[0][b":method"], seen[0][b":path"], seen[0][b"x-a"]) == (b"POST", b"/x?y", b"b")
    assert seen[0][b"body"] == b"b" * 300_000


@pytest.mark.parametrize("offered", ["h2", "http/1.1"])
def test_http2_by_agreement(pairs: tuple[Pair, Pair], offered: str) -> None:
    """On https://, HTTP/2 is offered, and the server chooses."""
    ca, pair = pairs
    seen: list[dict[bytes, bytes]] = []
    talk = speaking_h2(seen, 503) if offered == "h2" else answering(answer(503))
    with serving(talk, context=tls_server(pair.cert, pair.key, alpn=(offered,))) as server:
        found = outcome(f"https://localhost:{server.port}/", http2=True, ca=str(ca.cert))
    assert (found.reason, bool(seen)) == (Reason.STARTING, offered == "h2")


@pytest.mark.parametrize("talk", [answering(answer(400)), answering(b"SSH-2.0-x\r\n")])
def test_http2_to_another_protocol(talk: Talk) -> None:
    """A server that does not speak HTTP/2 where it was declared can never become ready."""
    with serving(talk) as server:
        found = outcome(f"http://127.0.0.1:{server.port}/", http2=True)
    assert (found.state, found.reason) == (State.FAILED, Reason.WRONG_PROTOCOL)


@pytest.mark.parametrize(
    "talk",
    [
        hanging_up,
        answering(b"\0\0\0\4\0\0\0\0\0" + b"\0\0\1\1\5\0\0\0\1\xff"),
        answering(b"\0\0\0\4\0\0\0\0\0" + b"\0\0\5\1\5\0\0\0\1\x08\x03 ok"),  # a status of ' ok'
    ],
)
def test_broken_http2(talk: Talk) -> None:
    """A hang-up or a malformed frame in HTTP/2 is something to wait for."""
    with serving(talk) as server:
        found = outcome(f"http://127.0.0.1:{server.port}/", http2=True)
    assert found.state is State.WAITING
    assert found.reason in (Reason.CLOSED, Reason.RESET, Reason.UNWANTED_ANSWER)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"\0\0\4\3\0\0\0\0\1" + b"\0\0\0\2", Reason.RESET),  # RST_STREAM of stream 1
        (b"\0\0\x08\7\0\0\0\0\0" + bytes(4) + b"\0\0\0\2", Reason.CLOSED),  # GOAWAY, no stream done
        (b"\0\0\x08\7\0\0\0\0\0" + b"\0\0\0\1" + bytes(4), Reason.CLOSED),  # GOAWAY, without haste, and then silence
    ],
)
def test_http2_says_no(frame: bytes, reason: Reason) -> None:
    """A reset stream and a goodbye in HTTP/2 are something to wait for."""
    with serving(answering(b"\0\0\0\4\0\0\0\0\0" + frame)) as server:
        found = outcome(f"http://127.0.0.1:{server.port}/", http2=True)
    assert (found.state, found.reason) == (State.WAITING, reason)


def test_http2_answers_early() -> None:
    """An answer that comes while a large body has no window left ends the sending."""
    settings, status_503 = b"\0\0\0\4\0\0\0\0\0", b"\x08\x03503"
    headers = b"\0\0" + bytes([len(status_503)]) + b"\1\4\0\0\0\1" + status_503

    def early(connection: socket.socket) -> None:
        request_of(connection)
        connection.sendall(settings + headers)
        until_hung_up(connection)

    with serving(early) as server:
        found = outcome(f"http://127.0.0.1:{server.port}/", http2=True, method="POST", body="b" * 300_000)
        assert found.detail == f"127.0.0.1:{server.port} (status 503)"


def test_silent_http2() -> None:
    """A silent server of HTTP/2 is left when the attempt's time is up."""
    with serving(silent) as server:
        with pytest.raises(TimeoutError, match="waiting for an answer from"):
            outcome(f"http://127.0.0.1:{server.port}/", http2=True, limit=0.3)
        assert server.all_hung_up()


@pytest.mark.parametrize(
    ("first", "second", "wanted", "state"),
    [
        (200, 503, "1", State.READY),
        (200, 503, "all", State.WAITING),
        (200, 200, "all", State.READY),
        (200, 200, "3", State.WAITING),
    ],
)
def test_endpoints(first: int, second: int, wanted: str, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `endpoints`, each address of a name gets the request, and enough of them must pass."""
    with ExitStack() as stack:
        one, two = _on_one_port(stack, answering(answer(first)), answering(answer(second)))
        # The resolver of the C library stands outside: a name with two addresses cannot be made without root.
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{host}", one.port)) for host in (1, 2)]
        real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **more: _two(found, real, host, *rest, **more))
        assert outcome(f"http://two.test:{one.port}/", endpoints=wanted).state is state
        assert wanted != "all" or one.accepted == two.accepted == 1


def _two(found: list[Any], real: Callable[..., Any], host: bytes, *rest: Any, **more: Any) -> Any:
    if host != b"two.test":
        return real(host, *rest, **more)
    if more.get("flags"):
        raise socket.gaierror(socket.EAI_NONAME, "not a number")
    return found


def _on_one_port(stack: ExitStack, first: Talk, second: Talk) -> tuple[Server, Server]:
    while True:
        one = stack.enter_context(serving(first))
        with suppress(OSError):  # taken by somebody else: another port
            return one, stack.enter_context(serving(second, host="127.0.0.2", port=one.port))
