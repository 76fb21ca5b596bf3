"""What a tended program says of itself leaves its container, through each runtime that forwards a word of it."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hooking import GATEKEEPER, PATIENCE
from runtime import bundle, network
from shipping.podman import Podman

# Says a status first, so that READY is neither the first nor the only word: the relays read little.
SAYS_READY = """
import os, socket, time
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
    sock.connect(os.environ["NOTIFY_SOCKET"].replace("@", chr(0), 1))
    sock.send(b"STATUS=warming up")
    sock.send(b"STATUS=open\\nREADY=1")
time.sleep(2)
"""
TENDED = (*GATEKEEPER, "run", "--bypass=a test", "--status=off", "file:///", "--", sys.executable, "-c", SAYS_READY)
pytestmark = [
    pytest.mark.root,
    pytest.mark.needs("podman", "runc", "crun", "conmon", "catatonit", "ip", "nsenter", "unshare"),
    pytest.mark.timeout(180),
]


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    """Return podman, in whose namespaces the runtimes run too, with a network for their containers."""
    with Podman() as podman, network(podman):
        yield podman


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """Return the socket of a service manager outside."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "manager"))
        sock.settimeout(0.1)
        yield sock


@pytest.mark.parametrize("runtime", ["runc", "crun"])
def test_ready_passes_out_of_a_runtime(podman: Podman, manager: socket.socket, tmp_path: Path, runtime: str) -> None:
    """Runc and crun pass on the one word that they know: in a message of its own, or as the first of one."""
    (tmp_path / "bundle").mkdir()
    folder = bundle(tmp_path / "bundle", {}, {}, program=TENDED)
    words = (runtime, f"--root={tmp_path}/state", "run", "--bundle", folder, "tended")
    inside = podman.inside("env", f"NOTIFY_SOCKET={manager.getsockname()}", *words)
    heard: list[list[str]] = []
    with subprocess.Popen(inside, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + PATIENCE
        while process.poll() is None:  # crun waits for its barrier to be read
            assert time.monotonic() < end
            with suppress(TimeoutError):
                heard.append(manager.recv(4096).decode().split("\n"))
        assert process.stderr
        assert process.returncode == 0, process.stderr.read()
    assert [said[0] for said in heard if "READY=1" in said] == ["READY=1"]
