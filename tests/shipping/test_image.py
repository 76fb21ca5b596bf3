"""The image as it is run in a cluster that grants nothing."""

import contextlib
import gzip
import json
import re
import socket
import stat
import subprocess
import tarfile
import threading
import time
import tomllib
from datetime import datetime
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from .conftest import HARDENED, LAST_BASE, ROOT
from .podman import Podman, until

pytestmark = [
    pytest.mark.root,
    pytest.mark.needs("podman", "runc", "conmon", "catatonit", "dpkg"),
    pytest.mark.timeout(300),
]

MEBIBYTE = 1 << 20
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
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
    assert datetime.fromisoformat(config["Labels"]["org.opencontainers.image.created"]).tzinfo
    assert not [entry for entry in config["Env"] if entry.startswith(("PIP_", "PYTHON"))]


def test_the_image_is_small(podman: Podman, image: str, tmp_path: Path) -> None:
    """At most 35 MiB on disk, and 13 MiB as a registry stores it."""
    podman("save", "--format=docker-archive", "--output", tmp_path / "image.tar", image)
    packed = 0
    with tarfile.open(tmp_path / "image.tar") as archive:
        for member in archive:
            if member.name.endswith(".tar") and member.isfile():
                layer = archive.extractfile(member)
                assert layer
                packed += len(gzip.compress(layer.read(), 6))
    assert podman.inspect(image)["Size"] < 35 * MEBIBYTE
    assert packed < 13 * MEBIBYTE


def test_what_was_left_out_is_said(podman: Podman, image: str) -> None:
    """The image holds the list, and importing what is in it says so."""
    python = ["--entrypoint=/opt/gatekeeper/bin/python3", image, "-I", "-c"]
    show = "print(open('/opt/gatekeeper/share/left-out.txt').read())"
    assert "sqlite3\n" in podman("run", "--rm", *HARDENED, *python, show).stdout
    done = podman("run", "--rm", *HARDENED, *python, "import sqlite3", check=False)
    assert "sqlite3 was left out of this image" in done.stderr


def test_every_module_of_ours_and_of_what_we_use_is_whole(podman: Podman, image: str) -> None:
    """Nothing that gatekeeper imports anywhere, at its start or later, is among what was left out."""
    every = (
        "import importlib, pkgutil, gatekeeper, httpx, httpcore, h2, h11, hpack, jsonpath, regex, structlog, tenacity\n"
        "import anyio.abc, anyio._backends._asyncio, dns.asyncresolver, dns.asyncquery, certifi, ssl, yaml\n"
        "names = [each.name for each in pkgutil.walk_packages(gatekeeper.__path__, 'gatekeeper.')]\n"
        "names += [each.name for each in pkgutil.iter_modules(dns.rdtypes.__path__, 'dns.rdtypes.')]\n"
        "[importlib.import_module(name) for name in names if not name.endswith(('__main__', *LOGINS))]\n"
        "print(len([name for name in names if name.startswith('gatekeeper.')]), yaml.__with_libyaml__)"
    )
    # The drivers of logins are extras, which the image has not; but two that need none.
    logins = {path.stem for path in (ROOT / "gatekeeper" / "probes").glob("_*_login.py")}
    every = every.replace("LOGINS", repr(sorted(logins))[1:-1])
    every = every.replace("import anyio.abc", "import dns.rdtypes, anyio.abc")
    done = podman("run", "--rm", *HARDENED, "--entrypoint=/opt/gatekeeper/bin/python3", image, "-I", "-c", every)
    assert int(done.stdout.split()[0]) >= len(list((ROOT / "gatekeeper").rglob("*.py"))) - 2 - len(logins)


def test_the_bill_of_materials_names_all(podman: Podman, image: str) -> None:
    """Python, every Python package, and the Debian packages whose libraries were taken, by CycloneDX's schema."""
    show = "print(open('/opt/gatekeeper/share/gatekeeper.cdx.json').read())"
    text = podman("run", "--rm", "--entrypoint=/opt/gatekeeper/bin/python3", image, "-I", "-c", show).stdout
    bill = json.loads(text)
    purls = {each["purl"].partition("@")[0] for each in bill["components"]}
    assert {"pkg:generic/python", "pkg:deb/debian/libc6", "pkg:deb/debian/libssl3", "pkg:deb/debian/zlib1g"} <= purls
    names = {re.split("[^A-Za-z0-9_.-]", each)[0].lower() for each in PROJECT["dependencies"]}
    assert {f"pkg:pypi/{name}" for name in names} <= purls
    assert all(each["version"] for each in bill["components"])
    packages = [each for each in bill["components"] if each["purl"].startswith("pkg:pypi/")]
    assert [each["name"] for each in packages if not each.get("licenses")] == []
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(text) is None


def test_nothing_names_an_architecture() -> None:
    """What builds an image builds it for any platform: the build argument and --platform say which."""
    named = re.compile(r"x86|amd64|aarch64|arm64", re.IGNORECASE)
    files = [ROOT / "Dockerfile", *(path for path in (ROOT / "images").rglob("*") if path.suffix not in (".md", ""))]
    text = {path.name: re.sub("--platform linux/arm64", "", path.read_text()) for path in files if path.is_file()}
    assert {name for name, each in text.items() if named.search(each)} == set()


def test_the_base_is_a_build_argument(podman: Podman, tmp_path: Path) -> None:
    """Another Python is taken where PYTHON_IMAGE says so."""
    (tmp_path / "Dockerfile").write_text((ROOT / "Dockerfile").read_text())
    other = "--build-arg=PYTHON_IMAGE=localhost/another:1"
    done = podman("build", "--pull=never", other, tmp_path, check=False)
    assert done.returncode != 0
    assert "localhost/another:1" in done.stderr + done.stdout


def test_only_gatekeeper_is_added_to_the_base(podman: Podman, distroless: str) -> None:
    """Beside gatekeeper and what it needs, the distroless variant has what its base has, compiled."""
    files = files_of(podman, distroless)
    added = {path for path in set(files) - set(files_of(podman, LAST_BASE)) if not files[path].isdir()}
    expected = ("usr/local/bin/gatekeeper", "usr/local/lib/python3.11/dist-packages/")
    others = {path for path in added if not path.startswith(expected) and "/__pycache__/" not in path}
    assert others <= MOUNT_POINTS
    assert "usr/local/lib/python3.11/dist-packages/gatekeeper/cli.py" in added
    assert podman("run", "--rm", *HARDENED, distroless, "wait", "file:///").returncode == 0
    done = podman("run", "--rm", *HARDENED, distroless, "install", "/g", check=False)
    assert done.returncode == 2
    assert "run this in gatekeeper's default image" in done.stderr


def test_a_variant_may_hold_the_drivers_of_logins(podman: Podman, distroless: str, with_drivers: str) -> None:
    """Where a password is to be tried, the default images say what they lack, and one with the extra has it."""
    target = "mqtt://app:secret@127.0.0.1:1"
    lacks = podman("run", "--rm", *HARDENED, distroless, "check", target, check=False)
    assert lacks.returncode == 2
    assert "gatekeeper-agent[mqtt]" in lacks.stderr
    assert "secret" not in lacks.stderr
    assert podman("run", "--rm", *HARDENED, with_drivers, "check", target, check=False).returncode == 1


def test_the_debug_variant_has_a_shell(podman: Podman, debug: str) -> None:
    """It waits as the default image does, and has a shell beside it."""
    assert podman("run", "--rm", *HARDENED, debug, "wait", "file:///", "--", "sh", "-c", "echo here").stdout == "here\n"


def test_nothing_in_the_image_helps_an_intruder(files: dict[str, tarfile.TarInfo]) -> None:
    """There is no shell, compiler, pip or package manager, no package list, and nothing setuid."""
    assert "opt/gatekeeper/bin/gatekeeper" in files
    programs = {path for path, member in files.items() if member.mode & 0o111 and not member.isdir()}
    assert {path for path in programs if Path(path).name in UNWANTED} == set()
    assert [path for path in files if path.startswith(("var/lib/apt/lists/", "var/cache/apt/", "src", "out"))] == []
    assert [path for path in files if Path(path).name in ("pip", "setuptools", "hatchling")] == []
    assert [path for path in programs if files[path].mode & (stat.S_ISUID | stat.S_ISGID)] == []


def test_everything_is_compiled_in_the_variant(podman: Podman, distroless: str) -> None:
    """No module is compiled at the start: every one that a wait loads has its cache in the distroless image."""
    script = (
        "import sys, os, asyncio, ssl, structlog, httpx, dns.asyncresolver, yaml, gatekeeper.cli\n"
        "files = [m.__cached__ for m in list(sys.modules.values()) if getattr(m, '__cached__', None)]\n"
        "print(len(files), [f for f in files if not os.path.exists(f)])"
    )
    count, missing = podman("run", "--rm", *HARDENED, "--entrypoint", "python3", distroless, "-c", script).stdout.split(
        " "
    )
    assert int(count) > 100
    assert missing.strip() == "[]"


def test_the_image_trusts_the_bundle_that_it_carries(podman: Podman, image: str) -> None:
    """Public certificates are verified against the CA bundle of the image."""
    script = "import ssl; print(ssl.create_default_context().cert_store_stats()['x509_ca'])"
    done = podman("run", "--rm", *HARDENED, "--entrypoint", "/opt/gatekeeper/bin/python3", image, "-c", script)
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
        (["wait", "file:///etc/passwd", "--", "/opt/gatekeeper/bin/python3", "-c", "exit(7)"], 7),
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
