"""The installed agent, in a container that holds one static program, against servers of OpenSSL and BIND."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from kinds.certificates import authority, leaf

from .conftest import PROGRAM
from .podman import Podman, until

pytestmark = [
    pytest.mark.root,
    pytest.mark.needs("podman", "runc", "conmon", "catatonit", "dpkg", "gcc", "named", "openssl"),
    pytest.mark.timeout(300),
]

NAMED = """
options {{
    directory "{folder}"; listen-on {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no;
    pid-file none; session-keyfile none; lock-file none; dnssec-validation no; managed-keys-directory "{folder}";
}};
controls {{ }};
zone "example" {{ type primary; file "{folder}/zone"; }};
"""
ZONE = """
$ORIGIN example.
$TTL 0
@ SOA ns hostmaster {serial} 3600 600 86400 0
@ NS ns
ns A 127.0.0.1
db A 127.0.0.1
"""
LATE = "_db._tcp SRV 0 0 5432 db\n"


class Bind:
    """A nameserver in podman's network, with a zone that may grow."""

    def __init__(self, podman: Podman, folder: Path) -> None:
        """Start it."""
        self._zone = folder / "zone"
        self._zone.write_text(ZONE.format(serial=1))
        (folder / "named.conf").write_text(NAMED.format(folder=folder))
        command = podman.inside("named", "-g", "-n", "1", "-c", folder / "named.conf")
        self._said = folder / "named.log"
        with self._said.open("w") as said:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=said, stdout=said, text=True)
        until(lambda: "running" in self._said.read_text(), "the nameserver runs")

    def add(self, records: str) -> None:
        """Let the zone have more records."""
        self._zone.write_text(ZONE.format(serial=2) + records)
        pid = self.process.pid
        os.kill(int(Path(f"/proc/{pid}/task/{pid}/children").read_text()), signal.SIGHUP)


@pytest.fixture
def bind(podman: Podman, tmp_path: Path) -> Iterator[Bind]:
    """Return the nameserver that containers on the namespace's network are given."""
    nameserver = Bind(podman, tmp_path)
    yield nameserver
    podman.end(nameserver.process)


@pytest.fixture
def given(static: str, volume: str, tmp_path: Path) -> list[str]:
    """Return the options of a container without Python, behind the agent, that knows a certificate authority."""
    issuer = authority(tmp_path)
    pair = leaf(tmp_path, issuer, "db.example")
    (tmp_path / "server.pem").write_bytes(pair.cert.read_bytes() + pair.key.read_bytes())
    (tmp_path / "ca.pem").write_bytes(issuer.cert.read_bytes())
    (tmp_path / "ca.pem").chmod(0o644)
    hardened = ["--read-only", "--user=65534:65534", "--cap-drop=ALL", "--memory=64m"]
    network = ["--network=host", "--dns=127.0.0.1"]
    return [*hardened, *network, volume, f"--volume={tmp_path}/ca.pem:/ca.pem:ro", f"--entrypoint={PROGRAM}", static]


@contextlib.contextmanager
def serving(podman: Podman, folder: Path) -> Iterator[None]:
    """Have a server of OpenSSL that speaks TLS, and HTTP in it, for the length of a block."""
    server = ["openssl", "s_server", "-accept", "127.0.0.1:8443", "-cert", folder / "server.pem", "-www", "-quiet"]
    process = subprocess.Popen(podman.inside(*server), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, text=True)
    try:
        yield
    finally:
        podman.end(process)


WANTED = [
    "tls=tls://db.example:8443 ca=/ca.pem valid_for=7d",
    "https=https://db.example:8443/ ca=/ca.pem",
    "srv=dns://_db._tcp.example type=SRV",
]


def reasons(podman: Podman, given: list[str], *words: str) -> set[str]:
    """Return what `check` says of each dependency."""
    done = podman("run", "--rm", *given, "check", "--output=json", *words, check=False)
    return {each["reason"] for each in json.loads(done.stdout)["dependencies"]}


def test_what_real_servers_say_opens_the_gate(podman: Podman, bind: Bind, given: list[str], tmp_path: Path) -> None:
    """It waits for a port and a record, both come, and the static program becomes the container's first process."""
    command = ["wait", *WANTED, "--", "/app", "open"]
    name = podman("run", "--detach", "--env=STATUS=7", *given, *command).stdout.strip()
    until(lambda: podman.logs(name).count('"state": "waiting"') >= 3, "it waits for all three")
    told = [json.loads(line) for line in podman.logs(name).splitlines()]
    said = {each["name"]: each["reason"] for each in told if "name" in each}
    assert said == {"tls": "refused", "https": "refused", "srv": "unresolved"}
    with serving(podman, tmp_path):
        bind.add(LATE)
        assert podman("wait", name).stdout.strip() == "7"
    assert "argument open" in podman.logs(name)


def test_a_certificate_that_does_not_verify_is_not_ready(
    podman: Podman, bind: Bind, given: list[str], tmp_path: Path
) -> None:
    """Without the authority and for another name nothing is ready; in the container's own store it counts."""
    bind.add(LATE)
    store = ["--env=SSL_CERT_FILE=/ca.pem", *given]
    plain = ["tls://db.example:8443", "https://db.example:8443/"]
    with serving(podman, tmp_path):
        until(lambda: reasons(podman, given, *WANTED) == {"ready"}, "everything is served")
        assert reasons(podman, given, *plain) == {"tls_failed"}
        assert reasons(podman, store, *plain) == {"ready"}
        assert reasons(podman, store, "tls://127.0.0.1:8443", "https://127.0.0.1:8443/") == {"tls_failed"}


@pytest.mark.usefixtures("bind")
def test_nothing_opens_where_nobody_serves(podman: Podman, given: list[str]) -> None:
    """At the deadline it leaves with 124, and the program has not run."""
    done = podman("run", "--rm", *given, "wait", "--timeout=1s", *WANTED, "--", "/app", check=False)
    assert (done.returncode, done.stdout) == (124, "")
