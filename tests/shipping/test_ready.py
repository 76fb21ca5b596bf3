"""What a tended program says of itself leaves a container that podman runs, for the service manager outside."""

import socket
import subprocess
from pathlib import Path

import pytest

from .podman import Podman

SAYS_READY = """
import os, socket, time
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
    sock.connect(os.environ["NOTIFY_SOCKET"].replace("@", chr(0), 1))
    sock.send(b"STATUS=open" + bytes([10]) + b"READY=1")
time.sleep(2)
"""


@pytest.mark.root
@pytest.mark.timeout(300)
@pytest.mark.needs("podman", "runc", "conmon", "catatonit", "dpkg")
def test_ready_passes_out_of_podman(podman: Podman, image: str, tmp_path: Path) -> None:
    """With --sdnotify=container, conmon passes READY on, said by the program and not before."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "manager"))
        manager.settimeout(60)
        tended = (
            "run",
            "--bypass=a test",
            "--status=off",
            "file:///",
            "--",
            "/opt/gatekeeper/bin/python3",
            "-c",
            SAYS_READY,
        )
        words = podman.command("run", "--rm", "--network=none", "--sdnotify=container", image, *tended)
        words.insert(words.index("env") + 1, f"NOTIFY_SOCKET={tmp_path}/manager")
        with subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            heard: list[str] = []
            while "READY=1" not in heard:
                heard += manager.recv(4096).decode().split("\n")
            _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert said.index('"state": "ready"') > said.index('"event": "command.starting"')
