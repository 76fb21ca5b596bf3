"""Elasticsearch and OpenSearch: answers as their documents have them, for the servers are not to be had here."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import certificates
import pytest
import webservers
from attempts import attempt, told
from badness import saying, serving
from discretion import told_nowhere

from gatekeeper.model import Outcome, Reason, State


def said(status: str, body: object) -> bytes:
    """Return an answer in HTTP, its body in JSON."""
    text = json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(text)}\r\n\r\n"
    return head.encode() + text


def health(colour: str) -> bytes:
    """Return the health of a cluster (Elasticsearch API, Cluster health: an example of its answer)."""
    body = {"cluster_name": "docker-cluster", "status": colour, "timed_out": False, "number_of_nodes": 1}
    return said("200 OK", body)


NO_MASTER = said(
    "503 Service Unavailable", {"error": {"type": "master_not_discovered_exception", "reason": None}, "status": 503}
)
WHO = said("401 Unauthorized", {"error": {"type": "security_exception"}, "status": 401})
MAY_NOT = said("403 Forbidden", {"error": {"type": "security_exception"}, "status": 403})


@contextmanager
def hearing(answer: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """Serve an answer; give the port, and the requests that have come."""
    heard: list[bytes] = []

    def hear(client: socket.socket, _over: threading.Event) -> None:
        heard.append(client.recv(65536))
        client.sendall(answer)

    with serving(hear) as port:
        yield port, heard


@pytest.mark.parametrize(
    ("answer", "options", "expected"),
    [
        (health("green"), {}, ("ready", "ready")),
        (health("yellow"), {}, ("ready", "ready")),
        (health("red"), {}, ("waiting", "starting")),
        (health("yellow"), {"health": "yellow"}, ("ready", "ready")),
        (health("yellow"), {"health": "green"}, ("waiting", "starting")),
        (health("green"), {"health": "green"}, ("ready", "ready")),
        (health("purple"), {}, ("waiting", "wrong_protocol")),
        (NO_MASTER, {}, ("waiting", "starting")),
        (WHO, {}, ("ready", "ready_auth_required")),
        (WHO, {"health": "yellow"}, ("failed", "forbidden")),
        (MAY_NOT, {}, ("ready", "ready_auth_required")),
        (said("404 Not Found", {}), {}, ("waiting", "unwanted_answer")),
        (said("200 OK", ["green"]), {}, ("waiting", "wrong_protocol")),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", {}, ("waiting", "wrong_protocol")),
        (b"SSH-2.0-OpenSSH_9.2\r\n", {}, ("waiting", "wrong_protocol")),
    ],
)
@pytest.mark.parametrize("kind", ["elasticsearch", "opensearch"])
def test_what_a_cluster_says_of_itself(
    kind: str, answer: bytes, options: dict[str, str], expected: tuple[str, str]
) -> None:
    """Yellow will do unless green is wanted; who is not told the health knows at least that somebody is there."""
    with serving(saying(answer)) as port:
        assert told(f"{kind}://127.0.0.1:{port}", **options) == expected


def test_the_user_goes_with_the_question_and_into_no_word() -> None:
    """Once, and only where it is to log in; a refusal is waited out, for a cluster that recovers knows no users."""
    with hearing(WHO) as (port, heard):
        found = attempt(f"elasticsearch://elastic:pw-9c1e@127.0.0.1:{port}/index")
        assert found == Outcome(State.WAITING, Reason.FORBIDDEN, f"127.0.0.1:{port} (user or password is refused)")
        assert told(f"elasticsearch://elastic:pw-9c1e@127.0.0.1:{port}", login="no")[0] == "ready"
    assert heard[0].startswith(b"GET /_cluster/health?timeout=1s HTTP/1.1\r\n")
    assert b"Authorization: Basic ZWxhc3RpYzpwdy05YzFl\r\n" in heard[0]
    assert b"Authorization" not in heard[1]
    with hearing(MAY_NOT) as (port, _):
        assert told(f"elasticsearch://elastic:pw-9c1e@127.0.0.1:{port}") == ("waiting", "forbidden")
    with hearing(health("green")) as (port, _):
        assert told(f"elasticsearch://elastic:pw-9c1e@127.0.0.1:{port}") == ("ready", "ready")


def test_a_password_is_told_nowhere(tmp_path: Path) -> None:
    """Neither where it is taken nor where it is refused."""
    with serving(saying(WHO)) as refusing, serving(saying(health("green"))) as taking:
        lines = (f"es{port}=elasticsearch://elastic:pw-9c1e@127.0.0.1:{port}/index" for port in (refusing, taking))
        assert "user or password is refused" in told_nowhere("9c1e", "\n".join(lines), tmp_path)


def test_over_tls(tmp_path: Path) -> None:
    """With `ca`; in plain a server of TLS alone is not ready."""
    authority = certificates.authority(tmp_path)
    leaf = certificates.leaf(tmp_path, authority, "127.0.0.1")

    def answer(connection: socket.socket) -> None:
        webservers.request_of(connection)
        connection.sendall(health("green"))

    with webservers.serving(answer, context=webservers.tls_server(leaf.cert, leaf.key)) as server:
        target = f"elasticsearch://127.0.0.1:{server.port}"
        assert told(target, ca=str(authority.cert)) == ("ready", "ready")
        assert told(target, tls="yes") == ("waiting", "tls_failed")
        assert told(target)[1] in ("closed", "reset")


def test_nobody_there_is_refused_and_any_of_several_will_do() -> None:
    """As an application's own list of nodes has it."""
    with serving(saying(health("green"))) as port, socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        gone = held.getsockname()[1]
        assert told(f"elasticsearch://127.0.0.1:{gone}") == ("waiting", "refused")
        assert told(f"elasticsearch://127.0.0.1:{gone},127.0.0.1:{port}") == ("ready", "ready")
        assert told(f"elasticsearch://127.0.0.1:{gone},127.0.0.1:{port}", endpoints="all") == ("waiting", "refused")
