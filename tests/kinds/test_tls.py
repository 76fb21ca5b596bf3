"""TLS, by itself and under HTTP: whom it believes, what it says when it does not, and what it leaves behind."""

import asyncio
import socket
import ssl
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from certificates import Pair, authority, leaf, locked
from webservers import (
    OK,
    answer,
    answering,
    hanging_up,
    outcome,
    probe,
    serving,
    silent,
    tls_server,
    until_hung_up,
)

from gatekeeper.model import Outcome, Reason, State
from gatekeeper.probes._options import BadOptionsError
from gatekeeper.probes._tls import Trust, context_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder for certificates."""
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def ca(folder: Path) -> Pair:
    """Make an authority."""
    return authority(folder)


@pytest.fixture(scope="module")
def good(folder: Path, ca: Pair) -> Pair:
    """Make a certificate for localhost that lasts for 90 days."""
    return leaf(folder, ca, "localhost", "127.0.0.1")


def _at(pair: Pair, kind: str, host: str = "127.0.0.1", **options: str | bool) -> Outcome:
    with serving(
        answering(OK) if kind == "https" else until_hung_up, context=tls_server(pair.cert, pair.key)
    ) as server:
        found = outcome(f"{kind}://{host}:{server.port}", **options)
        assert server.all_hung_up()
    return found


@pytest.mark.parametrize("kind", ["tls", "https"])
def test_verified(kind: str, ca: Pair, good: Pair) -> None:
    """A certificate of a trusted authority for the address that was asked is ready."""
    assert _at(good, kind, ca=str(ca.cert)).state is State.READY


def test_trusted_by_itself(good: Pair) -> None:
    """The very certificate of the server will do for `ca`."""
    assert _at(good, "tls", ca=str(good.cert)).state is State.READY


@pytest.mark.parametrize("kind", ["tls", "https"])
def test_unknown_issuer(kind: str, good: Pair) -> None:
    """A certificate of an authority that the system does not know fails, and may be put right."""
    found = _at(good, kind)
    assert (found.state, found.reason) == (State.WAITING, Reason.TLS_FAILED)
    assert "issuer certificate" in found.detail


@pytest.mark.parametrize(
    ("names", "starts", "ends", "why"),
    [
        (("elsewhere.test",), -1.0, 90.0, "mismatch"),
        (("127.0.0.1",), -2.0, -1.0, "has expired"),
        (("127.0.0.1",), 1.0, 90.0, "not yet valid"),
    ],
)
def test_bad_certificate(folder: Path, ca: Pair, names: tuple[str, ...], starts: float, ends: float, why: str) -> None:
    """The detail says what is wrong with a certificate."""
    found = _at(leaf(folder, ca, *names, starts=starts, ends=ends), "tls", ca=str(ca.cert))
    assert found.reason is Reason.TLS_FAILED
    assert why in found.detail


def test_insecure(good: Pair) -> None:
    """`insecure` believes anything."""
    assert _at(good, "https", insecure=True).state is State.READY


def test_server_name(folder: Path, ca: Pair) -> None:
    """`server_name` is what the certificate must be for, and is sent (SNI)."""
    pair = leaf(folder, ca, "api.test")
    asked: list[str | None] = []
    context = tls_server(pair.cert, pair.key)
    context.sni_callback = lambda _, name, __: asked.append(name)
    with serving(until_hung_up, context=context) as server:
        target = f"tls://127.0.0.1:{server.port}"
        assert outcome(target, ca=str(ca.cert), server_name="api.test").state is State.READY
        assert outcome(target, ca=str(ca.cert)).reason is Reason.TLS_FAILED
    assert asked == ["api.test", None]


def test_dot_of_the_root(ca: Pair, good: Pair) -> None:
    """A name with the root's dot behind it is the name in the certificate."""
    assert _at(good, "https", ca=str(ca.cert), server_name="localhost.").state is State.READY


@pytest.mark.parametrize(("wanted", "state"), [("14d", State.READY), ("89d", State.READY), ("91d", State.WAITING)])
def test_valid_for(ca: Pair, good: Pair, wanted: str, state: State) -> None:
    """`valid_for` wants a certificate that lasts so much longer."""
    found = _at(good, "tls", ca=str(ca.cert), valid_for=wanted)
    assert found.state is state
    if state is State.WAITING:
        assert found.reason is Reason.UNWANTED_ANSWER
        assert found.detail.endswith("(certificate ends in 89d)")


@pytest.mark.parametrize("kind", ["tls", "https"])
def test_client_certificate(folder: Path, ca: Pair, good: Pair, kind: str) -> None:
    """A server that wants a client's certificate takes a good one, and its refusal is told as TLS's."""
    client = leaf(folder, ca, "client")
    context = tls_server(good.cert, good.key, ca=ca.cert)
    if kind == "tls":  # without a request, TLS 1.3 has no moment at which a refusal must have come
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    with serving(answering(answer(204)) if kind == "https" else until_hung_up, context=context) as server:
        target = f"{kind}://127.0.0.1:{server.port}"
        with_it = outcome(target, ca=str(ca.cert), cert=str(client.cert), key=str(client.key))
        without = outcome(target, ca=str(ca.cert))
    assert with_it.state is State.READY
    assert without.reason in (Reason.TLS_FAILED, Reason.RESET)
    assert without.reason is Reason.RESET or "the other side says" in without.detail


@pytest.mark.parametrize("option", ["ca", "cert", "key"])
def test_missing_file(tmp_path: Path, good: Pair, option: str) -> None:
    """A file of a secret that is not mounted yet is something to wait for, and nobody is asked."""
    options = {"cert": str(good.cert), "key": str(good.key), "ca": str(good.cert), option: str(tmp_path / "later")}
    with serving(silent) as server:
        found = outcome(f"tls://127.0.0.1:{server.port}", **options)
        assert server.accepted == 0
    assert (found.state, found.reason, found.gone) == (State.WAITING, Reason.NOT_FOUND, False)
    assert found.detail == f"{option} {tmp_path / 'later'}"


def test_unusable_files(tmp_path: Path, folder: Path, ca: Pair, good: Pair) -> None:
    """Junk, a key of another certificate and a locked key are told apart, and nobody is asked for a password."""
    (tmp_path / "junk").write_text("junk")
    junk = outcome("tls://127.0.0.1:1", ca=str(tmp_path / "junk"))
    other = outcome("tls://127.0.0.1:1", ca=str(ca.cert), cert=str(good.cert), key=str(ca.key))
    shut = outcome("tls://127.0.0.1:1", ca=str(ca.cert), cert=str(good.cert), key=str(locked(good, folder)))
    assert {found.reason for found in (junk, other, shut)} == {Reason.TLS_FAILED}
    assert "cannot be read" in junk.detail
    assert "do not belong together" in other.detail
    assert "cannot be read" in shut.detail


def test_file_is_replaced(tmp_path: Path, folder: Path, ca: Pair, good: Pair) -> None:
    """An authority that is put right between two attempts is believed at the next."""
    path = tmp_path / "ca.crt"
    path.write_bytes(authority(folder, "another authority").cert.read_bytes())
    with serving(until_hung_up, context=tls_server(good.cert, good.key)) as server:
        target = f"tls://127.0.0.1:{server.port}"
        assert outcome(target, ca=str(path)).reason is Reason.TLS_FAILED
        path.write_bytes(ca.cert.read_bytes() + b"\n")
        assert outcome(target, ca=str(path)).state is State.READY


def test_store_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ca: Pair, good: Pair) -> None:
    """SSL_CERT_FILE names the store, is the only one, and is believed as soon as it is there."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "store"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    with serving(until_hung_up, context=tls_server(good.cert, good.key)) as server:
        target = f"tls://127.0.0.1:{server.port}"
        assert outcome(target).reason is Reason.TLS_FAILED
        assert context_of(Trust()).cert_store_stats()["x509_ca"] == 0
        (tmp_path / "store").write_bytes(ca.cert.read_bytes())
        assert outcome(target).state is State.READY


def test_no_store_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no store, the authorities of certifi stand in."""
    none = ssl.DefaultVerifyPaths(None, str(tmp_path), "SSL_CERT_FILE", "/none", "SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: none)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    assert context_of(Trust()).cert_store_stats()["x509_ca"] > 50


@pytest.mark.parametrize("kind", ["tls", "https"])
def test_no_tls(kind: str) -> None:
    """A server that answers in something else than TLS can never become ready."""

    def in_the_clear(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer(400))

    with serving(in_the_clear) as server:
        found = outcome(f"{kind}://127.0.0.1:{server.port}")
    assert (found.state, found.reason) == (State.FAILED, Reason.WRONG_PROTOCOL)


@pytest.mark.parametrize("kind", ["tls", "https"])
def test_hung_up_in_the_handshake(kind: str) -> None:
    """A hang-up instead of a handshake is not ready."""
    with serving(hanging_up) as server:
        assert outcome(f"{kind}://127.0.0.1:{server.port}").reason in (Reason.CLOSED, Reason.RESET)


@pytest.mark.parametrize("kind", ["tls", "https"])
def test_half_open(kind: str) -> None:
    """A server that accepts and never shakes hands is left when the attempt's time is up."""
    with serving(silent) as server:
        with pytest.raises(TimeoutError, match="the TLS handshake with"):
            outcome(f"{kind}://127.0.0.1:{server.port}", limit=0.3)
        assert server.all_hung_up()


def test_silent_after_the_handshake(ca: Pair, good: Pair) -> None:
    """A server that shakes hands and never answers is left when the attempt's time is up."""
    with serving(silent, context=tls_server(good.cert, good.key)) as server:
        with pytest.raises(TimeoutError, match="waiting for an answer from"):
            outcome(f"https://127.0.0.1:{server.port}", limit=0.5, ca=str(ca.cert))
        assert server.all_hung_up()


def test_greeting_after_the_handshake(ca: Pair, good: Pair) -> None:
    """A server that greets first, as mail servers do, is ready."""

    def greeting(connection: socket.socket) -> None:
        connection.sendall(b"220 mail\r\n")
        until_hung_up(connection)

    with serving(greeting, context=tls_server(good.cert, good.key)) as server:
        assert outcome(f"tls://127.0.0.1:{server.port}", ca=str(ca.cert)).state is State.READY


def test_hung_up_after_the_handshake(ca: Pair, good: Pair) -> None:
    """A server that says goodbye with the last bytes of the handshake is not ready."""
    context = tls_server(good.cert, good.key)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # whose handshake ends with the server's bytes
    with serving(partial(_saying_goodbye, context)) as server:
        found = outcome(f"tls://127.0.0.1:{server.port}", ca=str(ca.cert))
    assert (found.reason, found.detail.partition(" ")[2]) == (Reason.CLOSED, "(after the TLS handshake)")


def _saying_goodbye(context: ssl.SSLContext, connection: socket.socket) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=True)
    done = False
    while not done:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            connection.sendall(outgoing.read())
            incoming.write(connection.recv(65536))
        else:
            done = True
    with suppress(ssl.SSLWantReadError):
        tls.unwrap()
    connection.sendall(outgoing.read())
    until_hung_up(connection)


def test_old_protocol(ca: Pair, good: Pair) -> None:
    """A server whose versions of TLS are others than ours fails with a reason."""
    context = tls_server(good.cert, good.key)
    context.set_ciphers("NULL-SHA256:@SECLEVEL=0")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with serving(until_hung_up, context=context) as server:
        found = outcome(f"tls://127.0.0.1:{server.port}", ca=str(ca.cert))
    assert found.reason is Reason.TLS_FAILED
    assert "handshake failure" in found.detail


@pytest.mark.parametrize(("taken", "state"), [("imap", State.READY), ("other", State.WAITING)])
def test_alpn(ca: Pair, good: Pair, taken: str, state: State) -> None:
    """Of the protocols that are offered, the server must take one."""
    context = tls_server(good.cert, good.key, alpn=(taken,))
    with serving(until_hung_up, context=context) as server:
        assert outcome(f"tls://127.0.0.1:{server.port}", ca=str(ca.cert), alpn="imap,x").state is state


def test_nothing_stays_open_after_cancellation(ca: Pair, good: Pair) -> None:
    """Cancelled at whatever await, an attempt holds no connection."""
    with serving(answering(OK), context=tls_server(good.cert, good.key)) as server:
        target = probe(f"https://127.0.0.1:{server.port}/", ca=str(ca.cert), expect_body="never")

        async def all_of_them() -> None:
            for turns in range(40):
                task = asyncio.ensure_future(target.attempt())
                for _ in range(turns):
                    await asyncio.sleep(0.0005)
                task.cancel()
                await asyncio.wait([task])
            assert await asyncio.to_thread(server.all_hung_up)

        asyncio.run(all_of_them())


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"key": "/k"}, "key"),
        ({"insecure": True, "ca": "/c"}, "insecure"),
        ({"insecure": True, "valid_for": "14d"}, "valid_for"),
        ({"valid_for": "soon"}, "valid_for"),
        ({"alpn": "x" * 300}, "alpn"),
        ({"server_name": ".x"}, "server_name"),
    ],
)
def test_bad_declaration(options: dict[str, str | bool], key: str) -> None:
    """Options that do not go together are told under the one that is too many."""
    with pytest.raises(BadOptionsError) as caught:
        probe("tls://h:443", **options)
    assert [found for found, _ in caught.value.wrong] == [key]


@pytest.mark.parametrize("target", ["tls://h", "tls://h:0", "tls://h:1/path", "tls://u@h:1"])
def test_bad_target(target: str) -> None:
    """A target is a host and a port, and nothing else."""
    with pytest.raises(BadOptionsError):
        probe(target)
