"""A real broker of Apache Kafka (KRaft, one node, its own controller), fetched once by Maven and run on a JVM."""

import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from certificates import Pair
from realservers import free_port, started

POM = Path(__file__).parent / "kafka/pom.xml"
STARTED = "Kafka Server started"
PASSWORD = "secret-7f3a"  # alice's (PLAIN) and bob's (SCRAM)
SPOKEN = {"PLAIN": "PLAINTEXT", "ODD": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", "SASL": "SASL_PLAINTEXT", "TLS": "SSL"}


class Broker(NamedTuple):
    """A broker that runs, and the ports of its listeners; its log is in ``folder``."""

    process: "subprocess.Popen[bytes]"
    ports: dict[str, int]
    folder: Path

    def log(self) -> list[str]:
        """Return the lines that it has logged."""
        return (self.folder / "log").read_text(errors="replace").splitlines()


def libraries() -> Path:
    """Return the folder of the broker's libraries, fetched where it is not there yet."""
    folder = Path(sys.prefix) / "share" / "kafka"
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=sys.prefix) as made:
            shutil.copy(POM, made)
            argv = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"]
            fetched = subprocess.run(argv, cwd=made, capture_output=True, text=True, check=False)
            if fetched.returncode:
                tell = pytest.fail if os.environ.get("CI") else pytest.skip
                tell(f"needs Kafka's broker, which Maven could not fetch:\n{fetched.stdout[-2000:]}")
            folder.parent.mkdir(exist_ok=True)
            Path(made, "lib").rename(folder)
    return folder


def java(*argv: str) -> list[str | Path]:
    """Return the command that runs a class of the broker."""
    return ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{libraries()}/*", *argv]


@contextmanager
def broker(folder: Path, pair: Pair, *, alone: bool = True) -> Iterator[Broker]:
    """Run a broker; with a controller of its own unless it is not ``alone``, and then in vain."""
    names = ("PLAIN", "SASL", "TLS", "ODD", *(["CONTROLLER"] if alone else []))
    ports = {name: free_port() for name in (*names, "dead")}
    told = ports | {"ODD": ports["dead"]}
    (folder / "keystore.pem").write_text(pair.key.read_text() + pair.cert.read_text())
    module = "org.apache.kafka.common.security"
    properties = {
        "process.roles": "broker,controller" if alone else "broker",
        "node.id": "1",
        "controller.quorum.voters": f"{1 if alone else 2}@127.0.0.1:{ports['CONTROLLER' if alone else 'dead']}",
        "listeners": ",".join(f"{name}://127.0.0.1:{ports[name]}" for name in names),
        "advertised.listeners": ",".join(f"{name}://localhost:{told[name]}" for name in names if name != "CONTROLLER"),
        "inter.broker.listener.name": "PLAIN",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": ",".join(f"{name}:{spoken}" for name, spoken in SPOKEN.items()),
        "listener.name.sasl.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
        "listener.name.sasl.plain.sasl.jaas.config": f"{module}.plain.PlainLoginModule required user_alice={PASSWORD};",
        "listener.name.sasl.scram-sha-512.sasl.jaas.config": f"{module}.scram.ScramLoginModule required;",
        "listener.name.tls.ssl.keystore.type": "PEM",
        "listener.name.tls.ssl.keystore.location": str(folder / "keystore.pem"),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS;User:alice",
        "log.dirs": str(folder / "data"),
        "offsets.topic.replication.factor": "1",
        "broker.heartbeat.interval.ms": "200",
    }
    (folder / "server.properties").write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
    scram = f"SCRAM-SHA-512=[name=bob,password={PASSWORD}]"
    form = ("kafka.tools.StorageTool", "format", "-t", "abcdefghijklmnopqrstug", "-c", "server.properties")
    subprocess.run(java(*form, "--add-scram", scram), cwd=folder, check=True, capture_output=True, text=True)
    argv = java("kafka.Kafka", "server.properties")

    def up() -> bool:
        return not alone or STARTED in (folder / "log").read_text(errors="replace")

    with started(argv, folder=folder, up=up) as process:
        yield Broker(process, ports, folder)


def make_topic(port: int, name: bytes, partitions: int) -> None:
    """Make a topic (CreateTopics, version 2)."""
    body = struct.pack(">hhih", 19, 2, 1, -1) + struct.pack(">ih", 1, len(name)) + name
    body += struct.pack(">ihii", partitions, 1, 0, 0) + struct.pack(">ib", 30_000, 0)
    with socket.create_connection(("127.0.0.1", port)) as sock, sock.makefile("rb") as answers:
        sock.sendall(struct.pack(">i", len(body)) + body)
        answer = answers.read(*struct.unpack(">i", answers.read(4)))
    (error,) = struct.unpack_from(">h", answer, 4 + 4 + 4 + 2 + len(name))
    assert error == 0, answer
