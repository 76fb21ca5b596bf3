"""The gate as a container among others, without pods: what Quadlet, ECS and Compose's `pre_start` start, run by podman.

Each of them starts the shop when this container has ended with 0, and not otherwise.
"""

import configparser
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import GATEKEEPER, ROOT
from .neighbours import Neighbours
from .podman import Podman, until

pytestmark = [
    pytest.mark.root,
    pytest.mark.timeout(300),
    pytest.mark.needs("podman", "runc", "conmon", "catatonit", "dpkg"),
    pytest.mark.usefixtures("image"),
]
EXAMPLES = ROOT / "examples"
# What quadlet makes of a key (podman-systemd.unit(5)).
_QUADLET = {
    ("ReadOnly", "true"): "--read-only",
    ("NoNewPrivileges", "true"): "--security-opt=no-new-privileges",
    ("DropCapability", "all"): "--cap-drop=all",
}
_ELSEWHERE = ("Image", "Exec", "Network")


def quadlet() -> tuple[list[str], list[str]]:
    """Return the options and the command of the gate's unit."""
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # as configparser's own documentation has it
    unit.read_string(Path(EXAMPLES / "quadlet/shop-gate.container").read_text())
    own = unit["Container"]
    return [_QUADLET[each] for each in own.items() if each[0] not in _ELSEWHERE], own["Exec"].split()


def ecs() -> tuple[list[str], list[str]]:
    """Return the same of the task definition."""
    task = json.loads((EXAMPLES / "ecs/task-definition.json").read_text())
    gate, _ = task["containerDefinitions"]
    assert gate["readonlyRootFilesystem"] is True
    return ["--read-only"], gate["command"]


def pre_start() -> tuple[list[str], list[str]]:
    """Return the same of the step before the service."""
    (step,) = yaml.safe_load((EXAMPLES / "compose/compose.pre-start.yaml").read_text())["services"]["shop"]["pre_start"]
    return [], step["command"]


CONTAINERS = pytest.mark.parametrize("container", [quadlet(), ecs(), pre_start()], ids=["quadlet", "ecs", "pre_start"])


@pytest.fixture
def named(neighbours: Neighbours) -> Iterator[None]:
    """Have the names of the database known, and nobody there."""
    neighbours.resolve("postgres", "postgres.shop.internal", "db")
    yield
    neighbours.leave()


@CONTAINERS
@pytest.mark.usefixtures("named")
def test_the_gate_ends_well_once_the_database_is_there(podman: Podman, neighbours: Neighbours, container: Any) -> None:
    """It runs while the database is not there, and leaves with 0 when it is."""
    options, command = container
    name = podman("run", "--detach", "--network=host", *options, GATEKEEPER, *command).stdout.strip()
    until(lambda: "refused" in podman.logs(name), "it waits")
    assert podman.state(name) == "running"
    neighbours.listen(5432)
    assert podman("wait", name).stdout.strip() == "0"
    assert '"gate.open"' in podman.logs(name)


@CONTAINERS
@pytest.mark.usefixtures("named")
def test_the_gate_ends_badly_where_no_database_comes(podman: Podman, container: Any) -> None:
    """It leaves with 124 at its deadline."""
    options, command = container
    soon = ["--timeout=300ms" if word.startswith("--timeout=") else word for word in command]
    done = podman("run", "--rm", "--network=host", *options, GATEKEEPER, *soon, check=False)
    assert done.returncode == 124, done.stderr
