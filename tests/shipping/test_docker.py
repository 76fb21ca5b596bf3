"""The example Dockerfile: gatekeeper in the application's own image becomes the application."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .podman import Podman, until

pytestmark = [
    pytest.mark.root,
    pytest.mark.needs("podman", "runc", "conmon", "catatonit", "iptables", "dpkg"),
    pytest.mark.timeout(300),
]

DATABASE = Path(__file__).with_name("database.py").read_text()
ASK = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8000/').read().decode())"


@pytest.fixture(scope="module")
def app(podman: Podman, from_wheels: list[str], root: Path) -> Iterator[str]:
    """Return the image that the example makes, beside a network for it."""
    podman("build", *from_wheels, "--tag", "localhost/shop-with-gatekeeper", root / "examples/docker")
    podman("network", "create", "town")
    yield "localhost/shop-with-gatekeeper"
    podman("rm", "--all", "--force", "--time=0")


def test_the_application_takes_the_place_of_the_gate(podman: Podman, app: str) -> None:
    """The container waits for its database, then its first process is the application, which SIGTERM reaches."""
    podman("run", "--detach", "--network=town", "--name=app", "--cap-drop=ALL", "--read-only", app)
    until(lambda: "unresolved" in podman.logs("app"), "the gate waits")
    assert "shop: process" not in podman.logs("app")
    podman("run", "--detach", "--network=town", "--name=postgres", "--entrypoint=python3", app, "-c", DATABASE, "now")
    until(lambda: "shop: process 1 listens" in podman.logs("app"), "the application is process 1")
    assert podman("exec", "app", "python3", "-c", ASK).stdout.strip() == "open for business"
    podman("kill", "--signal=TERM", "app")
    assert podman("wait", "app").stdout.strip() == "0"


def test_another_command_waits_just_the_same(podman: Podman, app: str) -> None:
    """What is given instead of CMD runs behind the same gate, and its status is the container's."""
    done = podman("run", "--rm", "--network=town", app, "python3", "-c", "print('migrated'); exit(3)", check=False)
    assert done.returncode == 3
    assert done.stdout == "migrated\n"
    assert re.search(r'"event": "gate.open".*1 of 1 ready', done.stderr)
