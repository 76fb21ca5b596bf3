"""ZooKeeper: real ones, alone and of an ensemble without its quorum, and what else may listen at their port."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import certificates
import pytest
from attempts import attempt, told
from badness import saying, serving
from realservers import accepts, free_port, paused, started, until
from stopping import goes_for_good
from strangers import is_nothing_else

from gatekeeper.model import Outcome, Reason, State

# The second is for TLS, and the package names it nowhere.
JARS = "/usr/share/java/zookeeper.jar:/usr/share/java/netty-codec.jar"
JAVA = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m", "-cp", JARS]


@contextmanager
def zookeeper(folder: Path, port: int, *more: str, number: int = 1) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server; ``more`` are lines of its configuration."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    (folder / "data/myid").write_text(f"{number}\n")
    lines = [
        "tickTime=200",
        "initLimit=20",
        "syncLimit=5",
        f"dataDir={folder}/data",
        f"clientPort={port}",
        "clientPortAddress=127.0.0.1",
        "admin.enableServer=false",
        *more,
    ]
    (folder / "zoo.cfg").write_text("\n".join(lines))
    main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
    with started([*JAVA, main, folder / "zoo.cfg"], folder=folder, up=lambda: accepts(port)) as process:
        yield process


@pytest.mark.needs("java", "zooinspector")
def test_a_server_alone_is_ready_once_it_serves(tmp_path: Path) -> None:
    """Nobody there is refused, one that is paused answers nobody, one that stops is gone.

    None can be kept from saying how it is.
    """
    port = free_port()
    found = attempt(f"zookeeper://127.0.0.1:{port}")
    assert isinstance(found, Outcome)
    assert (found.state, found.reason, found.gone) == (State.WAITING, Reason.REFUSED, True)
    with zookeeper(tmp_path, port) as process:
        until(lambda: told(f"zookeeper://127.0.0.1:{port}") == ("ready", "ready"), "the server to serve")
        at = f"127.0.0.1:{port}"
        assert attempt(f"zookeeper://{at}/chroot") == Outcome(State.READY, Reason.READY, at)
        assert told(f"zookeeper://127.0.0.1:{free_port()},{at}") == ("ready", "ready")
        with paused(process):
            assert attempt(f"zookeeper://{at}", 0.3) == f"waiting for an answer of {at}"
        is_nothing_else(port, "zookeeper")
        goes_for_good(process, f"zookeeper://{at}")
    with zookeeper(tmp_path, port, "4lw.commands.whitelist=ruok"):
        until(lambda: told(f"zookeeper://127.0.0.1:{port}") == ("ready", "ready"), "the server to serve")


@pytest.mark.needs("java", "zooinspector")
def test_a_server_without_its_quorum_is_starting(tmp_path: Path) -> None:
    """It listens and says that it serves nobody; with a second of three it serves."""
    ports = [free_port() for _ in range(3)]
    ensemble = [f"server.{number}=127.0.0.1:{free_port()}:{free_port()}" for number in (1, 2, 3)]
    target = f"zookeeper://127.0.0.1:{ports[0]}"
    with zookeeper(tmp_path / "1", ports[0], *ensemble):
        found = attempt(target)
        assert found == Outcome(State.WAITING, Reason.STARTING, f"127.0.0.1:{ports[0]} (it has no quorum)")
        with zookeeper(tmp_path / "2", ports[1], *ensemble, number=2):
            until(lambda: told(target) == ("ready", "ready"), "a quorum")
            assert told(f"zookeeper://127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}", endpoints="all") == ("ready", "ready")
        until(lambda: told(target) == ("waiting", "starting"), "the quorum to be missed")


@pytest.mark.needs("java", "zooinspector")
def test_a_server_that_only_reads_is_starting(tmp_path: Path) -> None:
    """Without its quorum it may still show what it has, and takes no writes."""
    port = free_port()
    ensemble = [f"server.{number}=127.0.0.1:{free_port()}:{free_port()}" for number in (1, 2, 3)]
    with zookeeper(tmp_path, port, *ensemble):
        pass
    argv = [*JAVA[:-2], "-Dreadonlymode.enabled=true", *JAVA[-2:]]
    main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
    with started([*argv, main, tmp_path / "zoo.cfg"], folder=tmp_path, up=lambda: accepts(port)):
        target = f"zookeeper://127.0.0.1:{port}"
        until(lambda: "takes no writes" in str(attempt(target)), "the server to read only")
        assert told(target) == ("waiting", "starting")


@pytest.mark.needs("java", "zooinspector")
def test_over_tls(tmp_path: Path) -> None:
    """At the secure port, with `ca`, and with `cert` because the server wants one."""
    authority = certificates.authority(tmp_path)
    leaf, client = certificates.leaf(tmp_path, authority, "127.0.0.1"), certificates.leaf(tmp_path, authority, "client")
    store, trust = tmp_path / "store.pem", tmp_path / "trust.pem"
    store.write_bytes(leaf.key.read_bytes() + leaf.cert.read_bytes())
    trust.write_bytes(authority.cert.read_bytes())
    port, secure = free_port(), free_port()
    lines = [
        f"secureClientPort={secure}",
        "secureClientPortAddress=127.0.0.1",
        "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
        f"ssl.keyStore.location={store}",
        f"ssl.trustStore.location={trust}",
        "ssl.hostnameVerification=false",
    ]
    mine = {"cert": str(client.cert), "key": str(client.key)}
    with zookeeper(tmp_path / "server", port, *lines):
        target, ca = f"zookeeper://127.0.0.1:{secure}", str(authority.cert)
        until(lambda: told(target, ca=ca, **mine) == ("ready", "ready"), "the server to serve")
        assert told(target, tls="yes", **mine) == ("waiting", "tls_failed")
        assert told(target, ca=ca)[1] in ("tls_failed", "closed", "reset")
        assert told(target, 0.3) == ("late", f"waiting for an answer of 127.0.0.1:{secure}")


@pytest.mark.parametrize(
    "banner",
    [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"imok\n", b"ERROR\r\n"],
)
def test_another_protocol_is_said_and_waited_out(banner: bytes) -> None:
    """The port may be taken over one day; what was said is not repeated."""
    with serving(saying(banner)) as port:
        found = attempt(f"zookeeper://127.0.0.1:{port}")
    detail = f"127.0.0.1:{port} (it answers in another protocol)"
    assert found == Outcome(State.WAITING, Reason.WRONG_PROTOCOL, detail)


def test_an_answer_that_breaks_off_is_not_ready() -> None:
    """Only the line with the mode says that it serves."""
    with serving(saying(b"Zookeeper version: 3.8.0\nReceived: 1\n", hang_up=True)) as port:
        assert told(f"zookeeper://127.0.0.1:{port}")[1] in ("closed", "reset")
