"""The image as it is run in a cluster that grants nothing."""

import contextlib
import json
import socket
import stat
import subprocess
import tarfile
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest

from .conftest import LAST_BASE
from .podman import Podman, until

pytestmark = [
    pytest.mark.root,
    pytest.mark.needs("podman", "runc", "conmon", "catatonit", "dpkg"),
    pytest.mark.timeout(300),
]

HARDENED = [
    "--read-only",
    "--read-only-tmpfs=false",
    "--user=65534:65534",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--network=none",
    "--pids-limit=32",
    "--memory=64m",
]
MEGABYTE = 1_000_000
UNWANTED = {"sh", "bash", "dash", "busybox", "gcc", "cc", "ld", "as", "pip", "pip3", "apt", "apt-get", "dpkg"}
# What podman leaves where it mounted something while it built or exported.
MOUNT_POINTS = {"etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/pip.conf", "run/.containerenv"}


def files_of(podman: Podman, image: str) -> dict[str, tarfile.TarInfo]:
    """Return everything in an image's file system by its path."""
    container = podman("create", image, "nothing").stdout.strip()
    with (
        subprocess.Popen(podman.command("export", container), stdout=subprocess.PIPE) as export,
        tarfile.open(fileobj=export.stdout, mode="r|") as archive,
    ):
        members = {member.name.rstrip("/"): member for member in archive}
    podman("rm", container)
    return members


@pytest.fixture(scope="session")
def files(podman: Podman, image: str) -> dict[str, tarfile.TarInfo]:
    """Return everything in the image by its path."""
    return files_of(podman, image)


def test_the_image_declares_what_a_cluster_checks(podman: Podman, image: str) -> None:
    """A numeric user, a vector entry point, and no default command that could open a gate by mistake."""
    config = podman.inspect(image)["Config"]
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["gatekeeper"]
    assert "Cmd" not in config
    assert config["Labels"]["org.opencontainers.image.title"] == "gatekeeper"
    assert not [entry for entry in config["Env"] if entry.startswith(("PIP_", "PYTHON"))]


def test_the_image_is_small(podman: Podman, image: str) -> None:
    """The image is not much more than the base image with its library compiled."""
    assert podman.inspect(image)["Size"] < 95 * MEGABYTE


def test_only_gatekeeper_is_added_to_the_base(podman: Podman, files: dict[str, tarfile.TarInfo]) -> None:
    """Beside gatekeeper and what it needs, the image has what the base has, compiled."""
    added = {path for path in set(files) - set(files_of(podman, LAST_BASE)) if not files[path].isdir()}
    expected = ("usr/local/bin/gatekeeper", "usr/local/lib/python3.11/dist-packages/")
    others = {path for path in added if not path.startswith(expected) and "/__pycache__/" not in path}
    assert others <= MOUNT_POINTS
    assert "usr/local/lib/python3.11/dist-packages/gatekeeper/cli.py" in added


def test_nothing_in_the_image_helps_an_intruder(files: dict[str, tarfile.TarInfo]) -> None:
    """There is no shell, compiler, pip or package manager, no package list, and nothing setuid."""
    programs = {path for path, member in files.items() if member.mode & 0o111 and not member.isdir()}
    assert {path for path in programs if Path(path).name in UNWANTED} == set()
    assert [path for path in files if path.startswith(("var/lib/apt/lists/", "var/cache/apt/", "src", "out"))] == []
    assert [path for path in files if Path(path).name in ("pip", "setuptools", "hatchling")] == []
    assert [path for path in programs if files[path].mode & (stat.S_ISUID | stat.S_ISGID)] == []


def test_everything_is_compiled_in_the_image(podman: Podman, image: str) -> None:
    """No module is compiled at the start: every one that a wait loads has its cache in the image."""
    script = (
        "import sys, os, asyncio, ssl, structlog, httpx, dns.asyncresolver, yaml, gatekeeper.cli\n"
        "files = [m.__cached__ for m in list(sys.modules.values()) if getattr(m, '__cached__', None)]\n"
        "print(len(files), [f for f in files if not os.path.exists(f)])"
    )
    count, missing = podman("run", "--rm", *HARDENED, "--entrypoint", "python3", image, "-c", script).stdout.split(" ")
    assert int(count) > 100
    assert missing.strip() == "[]"


def test_the_image_trusts_the_bundle_that_it_carries(podman: Podman, image: str) -> None:
    """Public certificates are verified against the CA bundle of the image."""
    script = "import ssl; print(ssl.create_default_context().cert_store_stats()['x509_ca'])"
    done = podman("run", "--rm", *HARDENED, "--entrypoint", "python3", image, "-c", script)
    assert int(done.stdout) > 50


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ([], 2),
        (["wait"], 2),
        (["wait", "tpc://127.0.0.1:1"], 2),
        (["--version"], 0),
        (["wait", "file:///etc/passwd"], 0),
        (["check", "tcp://127.0.0.1:1"], 1),
        (["wait", "-t", "300ms", "tcp://127.0.0.1:1"], 124),
        (["wait", "file:///etc/passwd", "--", "/etc/passwd"], 126),
        (["wait", "file:///etc/passwd", "--", "/no/such/program"], 127),
        (["wait", "file:///etc/passwd", "--", "python3", "-c", "exit(7)"], 7),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_exit_codes_come_out_of_a_hardened_container(
    podman: Podman, image: str, arguments: list[str], status: int
) -> None:
    """With a read-only root, a foreign user and no capabilities, each exit status is what the interface says."""
    done = podman("run", "--rm", *HARDENED, image, *arguments, check=False)
    assert done.returncode == status, done.stderr


def test_what_can_never_become_ready_exits_69(podman: Podman, image: str, tmp_path: Path) -> None:
    """What speaks another protocol is not waited for."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        (tmp_path / "socket").chmod(0o666)
        server.listen(50)
        threading.Thread(target=_greet, args=(server,), daemon=True).start()
        mount = f"--volume={tmp_path / 'socket'}:/run/db"
        words = ("wait", "-t", "60s", "http://db/ unix=/run/db")
        done = podman("run", "--rm", *HARDENED, mount, image, *words, check=False)
        server.shutdown(socket.SHUT_RDWR)
    assert done.returncode == 69, done.stderr


def _greet(server: socket.socket) -> None:
    """Greet every client as an SSH server does, until the listener is shut."""
    with contextlib.suppress(OSError):
        while True:
            client, _ = server.accept()
            with client:
                client.sendall(b"SSH-2.0-server\r\n")


def test_sigterm_ends_the_wait_as_pid_1(podman: Podman, image: str) -> None:
    """The kernel drops unhandled signals to PID 1; gatekeeper ends at once, with 143."""
    container = podman("run", "--detach", *HARDENED, image, "wait", "tcp://127.0.0.1:1").stdout.strip()
    until(lambda: "refused" in podman.logs(container), "the wait has begun")
    sent = time.time()
    podman("kill", "--signal", "TERM", container)
    assert podman("wait", container).stdout.strip() == "143"
    last = json.loads(podman.logs(container).splitlines()[-1])
    podman("rm", container)
    assert last["event"] == "gate.closed"
    assert datetime.fromisoformat(last["timestamp"]).timestamp() - sent < 2


def test_only_what_is_mounted_is_written(podman: Podman, image: str, tmp_path: Path) -> None:
    """The report and the termination message go where the pod mounts something; nothing else is written."""
    out, message = tmp_path / "out", tmp_path / "termination-log"
    out.mkdir()
    out.chmod(0o777)
    message.touch()
    message.chmod(0o666)
    mounts = [f"--volume={out}:/out", f"--volume={message}:/dev/termination-log"]
    name = f"gatekeeper-{out.parent.name}"
    wait = ["wait", "-t", "300ms", "--report", "/out/report.json", "db=tcp://127.0.0.1:1"]
    done = podman("run", "--name", name, *HARDENED, *mounts, image, *wait, check=False)
    changed = podman("diff", name).stdout.split()
    podman("rm", name)
    assert done.returncode == 124
    assert json.loads((out / "report.json").read_text())["cause"] == "timeout"
    assert "1 of 1 not ready: db (refused: 127.0.0.1:1)" in message.read_text()
    assert [path for path in changed if "python" in path or "tmp" in path] == []
