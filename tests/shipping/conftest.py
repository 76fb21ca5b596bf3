"""The images that the tests of shipping run: built as a user builds them, from stand-ins for the base images."""

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from .neighbours import Neighbours
from .podman import Podman

ROOT = Path(__file__).parents[2]
BUILD_BASE = "docker.io/library/python:3.11-bookworm"
SLIM_BASE = "docker.io/library/python:3.11-slim-bookworm"
LAST_BASE = "gcr.io/distroless/python3-debian12:latest"
BUSYBOX = "docker.io/library/busybox:stable-musl"
MUSL = "docker.io/library/alpine:3"
GATEKEEPER = "registry.example.com/gatekeeper:0.1.0"
SHOP = "registry.example.com/shop:1.0.0"
STATIC = "registry.example.com/static:1.0.0"
# Where gatekeeper lies in the volume that it was installed into, and what a cluster grants that grants nothing.
PROGRAM = "/gatekeeper/bin/gatekeeper"
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

_SHOP = f"""
FROM {LAST_BASE}
USER 65532:65532
COPY shop.py /shop.py
ENTRYPOINT ["python3", "-u", "/shop.py"]
"""
_SHOP_PROGRAM = """
import os, signal, socket, time
print(time.time())
if "NOTIFY_SOCKET" in os.environ:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"].replace("@", chr(0), 1))
signal.pause()
"""
# Prints its arguments and its environment; leaves with the status that $STATUS says, and waits for a signal without.
_APP = r"""
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
extern char **environ;
int main(int argc, char **argv)
{
    for (int each = 0; each < argc; each++) printf("argument %s\n", argv[each]);
    for (char **each = environ; *each; each++) printf("%s\n", *each);
    fflush(stdout);
    if (getenv("STATUS")) return atoi(getenv("STATUS"));
    for (;;) pause();
}
"""
_PIP = """
[global]
no-index = true
find-links = /wheels
disable-pip-version-check = true
root-user-action = ignore
"""


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the folder of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    """Return podman with the stand-ins for the base images in its storage."""
    with Podman() as podman:
        for name, image in (("build", BUILD_BASE), ("last", LAST_BASE), ("busybox", BUSYBOX), ("musl", MUSL)):
            podman.load(image, [sys.executable, ROOT / "images" / "bases.py", name])
        podman("tag", BUILD_BASE, SLIM_BASE)  # what images of applications are made from
        yield podman


@pytest.fixture(scope="session")
def from_wheels(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the options with which a build without a network finds what it would find in the package index."""
    folder = tmp_path_factory.mktemp("wheels")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    drivers = project["project"]["optional-dependencies"]["mqtt"]
    wanted = [*project["build-system"]["requires"], *project["project"]["dependencies"], *drivers]
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    only = ["--only-binary=:all:", "--python-version=3.11", "--implementation=cp"]
    subprocess.run([*pip, "download", *only, "--dest", folder, *wanted], check=True, timeout=100)
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, ROOT], check=True, timeout=100)
    (folder / "pip.conf").write_text(_PIP)
    volumes = [f"--volume={folder}:/wheels:ro", f"--volume={folder}/pip.conf:/etc/pip.conf:ro"]
    return ["--pull=never", "--network=none", *volumes]


@pytest.fixture(scope="session")
def image(podman: Podman, from_wheels: list[str]) -> str:
    """Return the image that the Dockerfile of this repository makes."""
    podman("build", *from_wheels, "--tag", GATEKEEPER, ROOT, seconds=200)
    return GATEKEEPER


@pytest.fixture(scope="session")
def distroless(podman: Podman, from_wheels: list[str]) -> str:
    """Return the variant on Debian's Python."""
    name = f"{GATEKEEPER}-distroless"
    podman("build", *from_wheels, "--file", ROOT / "images/distroless.Dockerfile", "--tag", name, ROOT, seconds=200)
    return name


@pytest.fixture(scope="session")
def with_drivers(podman: Podman, from_wheels: list[str]) -> str:
    """Return the same with the driver of an extra."""
    name, file = f"{GATEKEEPER}-mqtt", ROOT / "images/distroless.Dockerfile"
    podman("build", *from_wheels, "--build-arg=EXTRAS=mqtt", "--file", file, "--tag", name, ROOT, seconds=200)
    return name


@pytest.fixture(scope="session")
def debug(podman: Podman, image: str) -> str:
    """Return the variant with a shell."""
    name, default = f"{GATEKEEPER}-debug", f"--build-arg=GATEKEEPER={image}"
    podman("build", "--pull=never", default, "--file", ROOT / "images/debug.Dockerfile", "--tag", name, ROOT)
    return name


@pytest.fixture(scope="session")
def shop(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the image of a program that prints when it was started, says so where it is heard, and stays."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "shop.py").write_text(_SHOP_PROGRAM)
    (folder / "Dockerfile").write_text(_SHOP)
    podman("build", "--pull=never", "--tag", SHOP, folder)
    return SHOP


@pytest.fixture(scope="session")
def static(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return an image that holds one program, linked statically, and nothing else."""
    folder = tmp_path_factory.mktemp("static")
    (folder / "app.c").write_text(_APP)
    subprocess.run(["gcc", "-static", "-o", folder / "app", folder / "app.c"], check=True)
    (folder / "Dockerfile").write_text('FROM scratch\nCOPY app /app\nENTRYPOINT ["/app"]\n')
    podman("build", "--pull=never", "--tag", STATIC, folder)
    return STATIC


@pytest.fixture(scope="session")
def volume(podman: Podman, image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the mount of a folder that an init container, which may do nothing else, has filled."""
    folder = tmp_path_factory.mktemp("volume")
    folder.chmod(0o777)
    said = podman("run", "--rm", *HARDENED, f"--volume={folder}:/gatekeeper", image, "install", "/gatekeeper").stdout
    assert said.endswith(f"is now {PROGRAM}\n")
    return f"--volume={folder}:/gatekeeper:ro"


@pytest.fixture(scope="module")
def neighbours(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbours]:
    """Return what will be there for the pods."""
    with Neighbours(podman, tmp_path_factory.mktemp("cluster")) as neighbours:
        yield neighbours
    podman.clear()
