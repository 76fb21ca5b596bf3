"""gRPC health: a real server of grpcio with its health service in each state, and what else may answer at its port."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attempts
import grpc
import pytest
from badness import saying, serving
from certificates import Pair, authority, leaf
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from realservers import accepts, free_port, paused, started
from stopping import goes_for_good
from strangers import is_nothing_else

from gatekeeper.model import Outcome, Reason, State
from gatekeeper.probes import load
from gatekeeper.probes._grpc import _status
from gatekeeper.probes._options import BadOptionsError

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
TOKEN = "PASSWORD-token-5d1c"
TEMPORAL = "temporal.api.workflowservice.v1.WorkflowService"


def attempt(target: str, **options: str) -> Outcome:
    """Make one attempt."""

    async def once() -> Outcome:
        probe = load(target.partition(":")[0]).parse(target, {key: (value,) for key, value in options.items()})
        async with asyncio.timeout(30):
            outcome: Outcome = await probe.attempt()
            return outcome

    return asyncio.run(once())


def told(outcome: Outcome) -> tuple[State, Reason]:
    """Return what an outcome says in two words."""
    return outcome.state, outcome.reason


class Refusing(grpc.ServerInterceptor):
    """Wants a token; what it finds without it is refused with a status code."""

    def __init__(self, code: grpc.StatusCode) -> None:
        """Refuse with this code."""
        self._refusal = grpc.unary_unary_rpc_method_handler(lambda _, context: context.abort(code, TOKEN))

    def intercept_service(self, go_on: Callable[[Any], Any], call: grpc.HandlerCallDetails) -> Any:
        """Let a call with the token pass."""
        given = dict(call.invocation_metadata).get("authorization")
        return go_on(call) if given == f"Bearer {TOKEN}" else self._refusal


class Server:
    """A server of gRPC on a free port, which ends with its `with`."""

    def __init__(self, *interceptors: grpc.ServerInterceptor, checked: bool = True) -> None:
        """Make a server, without the health service where it is not to be ``checked``."""
        self.health = health.HealthServicer()
        self.server = grpc.server(ThreadPoolExecutor(4), interceptors=interceptors)
        if checked:
            health_pb2_grpc.add_HealthServicer_to_server(self.health, self.server)

    @contextmanager
    def at(self, address: str, credentials: grpc.ServerCredentials | None = None) -> Iterator[int]:
        """Listen, and give the port."""
        listen = self.server.add_secure_port if credentials else self.server.add_insecure_port
        port = listen(address, credentials) if credentials else listen(address)
        self.server.start()
        try:
            yield port
        finally:
            self.server.stop(None).wait()


# As applications end theirs: the health first, the rest a moment later.
ENDING = """
import signal, sys, time
from concurrent.futures import ThreadPoolExecutor
import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

port, *services = sys.argv[1:]
servicer, server = health.HealthServicer(), grpc.server(ThreadPoolExecutor(4))
for service in services:
    servicer.set(service, health_pb2.HealthCheckResponse.SERVING)
health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
server.add_insecure_port(f"127.0.0.1:{port}")
server.start()
signal.sigwait({signal.SIGTERM})
servicer.enter_graceful_shutdown()
time.sleep(0.2)
server.stop(None).wait()
"""


@contextmanager
def ending(folder: Path, *services: str) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    """Run a server of its own process, which serves these services; give its port and its process."""
    port = free_port()
    argv = [sys.executable, "-c", ENDING, str(port), *services]
    with started(argv, folder=folder, up=lambda: accepts(port)) as process:
        yield port, process


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pair, Pair]:
    """Return an authority and a certificate for localhost."""
    folder = tmp_path_factory.mktemp("certificates")
    issuer = authority(folder)
    return issuer, leaf(folder, issuer, "localhost")


def test_nobody_there_is_refused() -> None:
    """A port at which nothing listens is refused, and proves that the server is gone."""
    found = attempt(f"grpc://127.0.0.1:{free_port()}")
    assert (*told(found), found.gone) == (State.WAITING, Reason.REFUSED, True)


def test_a_server_is_as_ready_as_its_health_says() -> None:
    """Of the server as a whole and of each service: serving, not serving, unknown; and whatever it says later."""
    server = Server()
    with server.at("127.0.0.1:0") as port:
        target = f"grpc://127.0.0.1:{port}"
        assert attempt(target) == Outcome(State.READY, Reason.READY, f"127.0.0.1:{port}")
        server.health.set("", NOT_SERVING)
        found = attempt(target)
        assert (*told(found), found.detail) == (State.WAITING, Reason.STARTING, f"127.0.0.1:{port} (NOT_SERVING)")
        server.health.set("", health_pb2.HealthCheckResponse.UNKNOWN)
        assert told(attempt(target)) == (State.WAITING, Reason.STARTING)

        found = attempt(target, service="shop.Orders")
        assert (*told(found), found.gone) == (State.WAITING, Reason.NOT_FOUND, True)
        server.health.set("shop.Orders", SERVING)
        assert told(attempt(target, service="shop.Orders")) == (State.READY, Reason.READY)
        server.health.set("x" * 200, SERVING)
        assert told(attempt(target, service="x" * 200)) == (State.READY, Reason.READY)
        server.health.enter_graceful_shutdown()
        assert told(attempt(target, service="shop.Orders")) == (State.WAITING, Reason.STARTING)


def test_a_server_that_is_paused_or_ends_is_not_ready(tmp_path: Path) -> None:
    """Paused, its port accepts still; going, it does not serve at first. No other kind takes it for its own."""
    with ending(tmp_path) as (port, process):
        is_nothing_else(port, "grpc")
        with paused(process):
            late = attempts.attempt(f"grpc://127.0.0.1:{port}", 0.2)
        assert late == f"waiting for an answer from 127.0.0.1:{port}"
        goes_for_good(process, f"grpc://127.0.0.1:{port}")


def test_a_server_without_the_health_service_is_taken_only_where_that_is_said() -> None:
    """UNIMPLEMENTED can never become ready, unless a server without the service will do."""
    with Server(checked=False).at("127.0.0.1:0") as port:
        found = attempt(f"grpc://127.0.0.1:{port}")
        assert told(found) == (State.FAILED, Reason.UNWANTED_ANSWER)
        assert "accept_unimplemented" in found.detail
        found = attempt(f"grpc://127.0.0.1:{port}", accept_unimplemented="yes")
        assert told(found) == (State.READY, Reason.READY)


def test_a_server_that_wants_credentials_is_up(tmp_path: Path) -> None:
    """Without credentials it is ready as such; a service that was asked for is not seen; given ones must be taken."""
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "other").write_text("nobody:PASSWORD-other")
    with Server(Refusing(grpc.StatusCode.UNAUTHENTICATED)).at("127.0.0.1:0") as port:
        target = f"grpc://127.0.0.1:{port}"
        assert told(attempt(target)) == (State.READY, Reason.READY_AUTH_REQUIRED)
        assert told(attempt(target, service="shop.Orders")) == (State.FAILED, Reason.FORBIDDEN)
        assert told(attempt(target, auth_file=str(tmp_path / "token"))) == (State.READY, Reason.READY)
        found = attempt(target, auth_file=str(tmp_path / "other"))
        assert told(found) == (State.WAITING, Reason.FORBIDDEN)
        assert "PASSWORD" not in str(found)
        assert told(attempt(target, auth_file=str(tmp_path / "none"))) == (State.WAITING, Reason.NOT_FOUND)
    with Server(Refusing(grpc.StatusCode.PERMISSION_DENIED)).at("127.0.0.1:0") as port:
        found = attempt(f"grpc://127.0.0.1:{port}")
        assert (*told(found), found.detail) == (
            State.WAITING,
            Reason.FORBIDDEN,
            f"127.0.0.1:{port} (gRPC status 7)",
        )


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, Reason.STARTING),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.STARTING),
        (grpc.StatusCode.INTERNAL, Reason.UNWANTED_ANSWER),
    ],
)
def test_another_status_is_waited_out(code: grpc.StatusCode, reason: Reason) -> None:
    """What is unavailable or too busy is starting; nothing of the server's own words is repeated."""
    with Server(Refusing(code)).at("127.0.0.1:0") as port:
        found = attempt(f"grpc://127.0.0.1:{port}")
    assert told(found) == (State.WAITING, reason)
    assert found.detail == f"127.0.0.1:{port} (gRPC status {code.value[0]})"


def test_a_server_behind_a_socket_file_is_asked(tmp_path: Path) -> None:
    """Its name is then localhost's."""
    path = str(tmp_path / "socket")
    with Server().at(f"unix:{path}"):
        assert attempt("grpc://", unix=path) == Outcome(State.READY, Reason.READY, path)


def test_a_server_over_tls_is_verified(pair: tuple[Pair, Pair]) -> None:
    """The scheme or an option of TLS speaks it; a certificate of a stranger is none."""
    issuer, certificate = pair
    credentials = grpc.ssl_server_credentials([(certificate.key.read_bytes(), certificate.cert.read_bytes())])
    with Server().at("localhost:0", credentials) as port:
        for scheme in ("grpc", "grpcs"):
            assert told(attempt(f"{scheme}://localhost:{port}", ca=str(issuer.cert))) == (State.READY, Reason.READY)
        assert told(attempt(f"grpcs://localhost:{port}", insecure="yes")) == (State.READY, Reason.READY)
        assert told(attempt(f"grpcs://localhost:{port}")) == (State.WAITING, Reason.TLS_FAILED)
        assert attempt(f"grpc://localhost:{port}").reason in (Reason.CLOSED, Reason.RESET)


def test_a_server_that_wants_a_certificate_gets_it(pair: tuple[Pair, Pair]) -> None:
    """A client without one is refused in the handshake, or right after it."""
    issuer, certificate = pair
    credentials = grpc.ssl_server_credentials(
        [(certificate.key.read_bytes(), certificate.cert.read_bytes())],
        issuer.cert.read_bytes(),
        require_client_auth=True,
    )
    with Server().at("localhost:0", credentials) as port:
        given = {"ca": str(issuer.cert), "cert": str(certificate.cert), "key": str(certificate.key)}
        assert told(attempt(f"grpcs://localhost:{port}", **given)) == (State.READY, Reason.READY)
        assert attempt(f"grpcs://localhost:{port}", ca=str(issuer.cert)).state is State.WAITING


@pytest.mark.parametrize("banner", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+OK\r\n"])
@pytest.mark.parametrize("scheme", ["grpc", "grpcs"])
def test_another_protocol_is_said_and_waited_out(banner: bytes, scheme: str) -> None:
    """The port may be taken over one day, with and without TLS; what was said is not repeated."""
    with serving(saying(banner)) as port:
        found = attempt(f"{scheme}://127.0.0.1:{port}")
    assert told(found) == (State.WAITING, Reason.WRONG_PROTOCOL)
    assert found.detail.startswith(f"127.0.0.1:{port} (it answers, but not in ")


SETTINGS = bytes(3) + b"\x04" + bytes(5)


def frame(kind: int, flags: int, data: bytes) -> bytes:
    """Return a frame of the first stream (RFC 9113, 4.1)."""
    return len(data).to_bytes(3, "big") + bytes([kind, flags, 0, 0, 0, 1]) + data


def field(name: bytes, value: bytes) -> bytes:
    """Return a header field as a literal that is not indexed (RFC 7541, 6.2.2)."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


OK = b"\x88"  # :status 200
GRPC = OK + field(b"content-type", b"application/grpc")
ZERO = field(b"grpc-status", b"0")


@pytest.mark.parametrize(
    ("frames", "state", "reason"),
    [
        ([frame(1, 5, GRPC + field(b"grpc-status", b"5"))], State.WAITING, Reason.NOT_FOUND),
        ([frame(1, 4, GRPC), frame(0, 1, b"\0\0\0\0\2\x08\1")], State.WAITING, Reason.UNWANTED_ANSWER),
        ([frame(1, 4, GRPC), frame(1, 5, ZERO)], State.WAITING, Reason.UNWANTED_ANSWER),
        ([frame(1, 4, GRPC), frame(0, 0, bytes(5)), frame(1, 5, ZERO)], State.WAITING, Reason.STARTING),
        (
            [frame(1, 4, GRPC), frame(0, 0, b"\0\0\0\0\2\x08\3"), frame(1, 5, ZERO)],
            State.WAITING,
            Reason.NOT_FOUND,
        ),
        (
            [frame(1, 4, GRPC), frame(0, 0, b"\1\0\0\0\2\x08\1"), frame(1, 5, ZERO)],
            State.WAITING,
            Reason.UNWANTED_ANSWER,
        ),
        (
            [frame(1, 4, GRPC), frame(0, 0, b"\0\0\0\0\6\x12\2hi\x08\1"), frame(1, 5, ZERO)],
            State.READY,
            Reason.READY,
        ),
        ([frame(1, 4, GRPC), *[frame(0, 0, bytes(16000))] * 3], State.WAITING, Reason.WRONG_PROTOCOL),
        ([frame(1, 5, OK + field(b"content-type", b"text/html"))], State.WAITING, Reason.WRONG_PROTOCOL),
        ([frame(1, 5, b"\x08\x03503" + field(b"content-type", b"text/html"))], State.WAITING, Reason.STARTING),
    ],
)
def test_only_a_whole_answer_counts(frames: list[bytes], state: State, reason: Reason) -> None:
    """Headers without a message, a message without its status, an empty one, one that is packed: none is serving."""
    with serving(saying(SETTINGS, *frames)) as port:
        assert told(attempt(f"grpc://127.0.0.1:{port}")) == (state, reason)


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        (b"", State.WAITING),
        (field(b"x-envoy-upstream-service-time", b"1"), State.FAILED),
        (field(b"grpc-message", b"unknown service"), State.FAILED),
    ],
)
def test_an_envoy_without_a_route_is_no_server_without_health(fields: bytes, state: State) -> None:
    """It says UNIMPLEMENTED itself until it knows the way, which opens no gate either; a server's own word counts."""
    unimplemented = GRPC + field(b"grpc-status", b"12") + field(b"server", b"envoy") + fields
    with serving(saying(SETTINGS, frame(1, 5, unimplemented))) as port:
        assert attempt(f"grpc://127.0.0.1:{port}").state is state
        taken = attempt(f"grpc://127.0.0.1:{port}", accept_unimplemented="yes")
    assert taken.state is (State.READY if state is State.FAILED else State.WAITING)


@pytest.mark.parametrize("message", [b"\x08", b"\x08\x80", b"\x0f", b"\x12\x05hi", b"\x08" + b"\xff" * 20, b"\x0d\1"])
def test_a_message_that_is_cut_is_none(message: bytes) -> None:
    """No number is made up where one is missing."""
    assert _status(message) is None


@pytest.mark.parametrize(
    ("target", "options", "problem"),
    [
        ("grpc://orders", {}, "has no port: write grpc://HOST:PORT"),
        ("grpc://orders:1/shop.Orders", {}, "takes nothing behind the port: write grpc://HOST:PORT"),
        ("grpc://orders:1", {"service": ""}, "'' is no name of a service: write package.Service"),
        ("grpc://orders:1", {"service": "ü"}, "'ü' is no name of a service: write package.Service"),
    ],
)
def test_a_bad_declaration_says_what_is_right(target: str, options: dict[str, str], problem: str) -> None:
    """Each problem names its place."""
    with pytest.raises(BadOptionsError) as caught:
        load("grpc").parse(target, {key: (value,) for key, value in options.items()})
    assert problem in str(caught.value)
