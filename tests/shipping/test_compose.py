"""The example Compose files: the one with conditions is brought up, the other is compared with the specification."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import LAST_BASE
from .podman import Podman, until

DATABASE = "docker.io/library/postgres:17"
_DATABASE = """
FROM {image}
COPY --chmod=644 database.py /
USER 65532:65532
ENTRYPOINT ["python3", "/database.py"]
"""


def load(root: Path, name: str) -> Any:
    """Return a Compose file of the examples."""
    return yaml.safe_load((root / "examples/compose" / name).read_text())


@pytest.fixture
def compose(podman: Podman, root: Path, tmp_path: Path) -> Iterator[list[str | Path]]:
    """Return the beginning of a docker-compose command line that speaks to podman, with the images at hand."""
    (tmp_path / "Dockerfile").write_text(_DATABASE.format(image=LAST_BASE))
    shutil.copy(Path(__file__).with_name("database.py"), tmp_path)
    podman("build", "--pull=never", "--tag", DATABASE, tmp_path)
    address = f"unix://{tmp_path / 'engine'}"
    engine = podman.start("system", "service", "--time=0", address)
    until((tmp_path / "engine").exists, "the engine listens")
    environment = ["env", f"DOCKER_HOST={address}", "POSTGRES_PASSWORD=secret", "COMPOSE_HTTP_TIMEOUT=60"]
    file = root / "examples/compose/compose.yaml"
    yield podman.inside(*environment, "docker-compose", "--project-name=town", "--file", file)
    podman.end(engine)


@pytest.mark.root
@pytest.mark.timeout(300)
@pytest.mark.needs("podman", "runc", "conmon", "catatonit", "iptables", "dpkg", "docker-compose")
@pytest.mark.usefixtures("image", "shop")
def test_compose_starts_the_shop_when_the_gate_has_completed(podman: Podman, compose: list[str | Path]) -> None:
    """`docker-compose up` holds the shop until the gate's service has exited 0, which is when the database listens."""
    up = subprocess.Popen([*compose, "up", "--detach"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until(lambda: "refused" in podman.logs("town_gate_1"), "the gate waits")
    assert podman.state("town_shop_1") in ("absent", "created")
    podman("kill", "--signal=USR1", "town_db_1")
    said, _ = up.communicate(timeout=60)
    assert up.returncode == 0, said
    until(lambda: podman.logs("town_shop_1"), "the shop has said when it was started")
    assert float(podman.logs("town_shop_1")) > float(podman.logs("town_db_1").split()[-1])
    assert podman.inspect("town_gate_1")["State"]["ExitCode"] == 0
    subprocess.run([*compose, "down", "--timeout=0"], check=True, capture_output=True, timeout=60)


def test_pre_start_has_the_shape_of_the_specification(root: Path) -> None:
    """A step of `pre_start` (Compose Specification, services) is a container of its own: an image and a command."""
    (step,) = load(root, "compose.pre-start.yaml")["services"]["shop"]["pre_start"]
    assert set(step) == {"image", "command"}
    assert step["image"] == load(root, "compose.yaml")["services"]["gate"]["image"]


@pytest.mark.parametrize("name", ["compose.yaml", "compose.pre-start.yaml"])
def test_the_command_of_the_gate_is_good(root: Path, name: str) -> None:
    """What the file gives to gatekeeper waits for a service of the same file."""
    services = load(root, name)["services"]
    arguments = services["gate"]["command"] if "gate" in services else services["shop"]["pre_start"][0]["command"]
    assert arguments[0] == "wait"
    gatekeeper = Path(sys.executable).with_name("gatekeeper")
    environ = {key: value for key, value in os.environ.items() if not key.startswith("GATEKEEPER_")}
    done = subprocess.run(
        [gatekeeper, "plan", "--output=json", *arguments[1:]],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environ,
    )
    assert done.returncode == 0, done.stderr
    (dependency,) = json.loads(done.stdout)["dependencies"]
    assert dependency["target"] == "postgres://db"
    assert "db" in services
