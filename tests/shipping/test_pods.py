"""Every pod that the examples for Kubernetes make, played by podman in both directions, under its own limits and users.

Main starts once everything is there, and not before; and does not start where it never is.
"""

import itertools
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from .conftest import GATEKEEPER, ROOT
from .database import PORT
from .kubelet import Made, as_pod, fill_pod_info, give_account, made_by_examples, mount, set_beside
from .neighbours import Neighbours
from .playing import Played, planned
from .podman import Podman, until

pytestmark = [
    pytest.mark.root,
    pytest.mark.timeout(300),
    pytest.mark.needs("podman", "runc", "conmon", "catatonit", "dpkg"),
    pytest.mark.usefixtures("image", "shop"),
]

# What is not played as it stands, and why.
EXCUSED = {"sidecar": "podman 4.3 knows no restartPolicy of a container; the last tests here do the kubelet's part"}
PLAYED = [pytest.param(made, id=made.name) for made in made_by_examples() if made.name not in EXCUSED]
# OpenShift's constraint restricted-v2 gives a namespace its range of users, and every container the group 0.
OPENSHIFT = {"runAsUser": 1000680000, "runAsGroup": 0, "fsGroup": 1000680000}
NUMBERS = itertools.count(1)  # for names of pods


@pytest.fixture
def pod(neighbours: Neighbours, made: Made, tmp_path: Path) -> Iterator[Any]:
    """Return the pod of an example, with what a cluster adds to it."""
    pod = as_pod(made.template, f"{made.name}-{next(NUMBERS)}")
    if made.name == "openshift":
        pod["spec"]["securityContext"] |= OPENSHIFT
    if any("downwardAPI" in volume for volume in pod["spec"].get("volumes", [])):
        mount(pod, "podinfo", fill_pod_info(tmp_path / "podinfo", made.template))
    if pod["spec"]["automountServiceAccountToken"]:
        variables = neighbours.serve_cluster(tmp_path / "account", made.one("Role")["rules"])
        give_account(pod, tmp_path / "account", variables)
    yield pod
    neighbours.leave()


def wanted(podman: Podman, pod: Any) -> dict[str, str]:
    """Return what the pod waits for: names, and targets."""
    folders = [volume["hostPath"]["path"] for volume in pod["spec"].get("volumes", []) if volume["name"] == "podinfo"]
    mounts = [f"--volume={folder}:/etc/podinfo:ro" for folder in folders]
    return planned(podman, GATEKEEPER, pod["spec"]["initContainers"][0]["args"][1:], *mounts)


def job(condition: str) -> dict[str, Any]:
    """Return the Job of the migration as its controller leaves it."""
    status = {"conditions": [{"type": condition, "status": "True"}]}
    metadata = {"name": "migrate", "namespace": "default"}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {}, "status": status}


def bring(neighbours: Neighbours, target: str) -> float:
    """Let what a target names be there; return when it was not yet."""
    if target == "k8s://job/migrate":
        return neighbours.put(job("Complete"))
    url = urlsplit(target)
    assert url.scheme in ("postgres", "http"), f"nothing here stands in for {target}"
    port = url.port or PORT
    assert (url.scheme == "postgres") == (port == PORT)
    return neighbours.listen(port)


def shorten(pod: Any) -> None:
    """Let the gate give up soon."""
    (gate,) = pod["spec"]["initContainers"]
    gate["args"] = [*(word for word in gate["args"] if not word.startswith("--timeout")), "--timeout=500ms"]


def test_what_is_excused_exists() -> None:
    """No excuse outlives its example, and none is given without a reason."""
    assert set(EXCUSED) <= {made.name for made in made_by_examples()}
    assert all(EXCUSED.values())


@pytest.mark.parametrize("made", PLAYED)
def test_main_starts_after_all_that_the_pod_waits_for(
    podman: Podman, neighbours: Neighbours, pod: Any, tmp_path: Path
) -> None:
    """Each dependency in turn is missed, then there; after the last the gate opens, and then main is started."""
    dependencies = wanted(podman, pod)
    neighbours.resolve(*(urlsplit(target).hostname for target in dependencies.values() if "k8s" not in target))
    played = Played(podman, pod, tmp_path)
    there = 0.0
    for name, target in dependencies.items():
        played.wait_until_it_waits_for(name)
        there = bring(neighbours, target)
    assert played.end() == 0
    assert there < played.opened() < played.started()


@pytest.mark.parametrize("made", PLAYED)
def test_main_never_starts_where_nothing_comes(podman: Podman, pod: Any, tmp_path: Path) -> None:
    """The gate gives up with 124, and main is never started."""
    shorten(pod)
    played = Played(podman, pod, tmp_path)
    assert played.end() == 125
    assert played.exit_code_of_the_gate() == 124
    assert played.never_started()


@pytest.mark.parametrize("made", [made for made in made_by_examples() if made.name == "statefulset"])
def test_main_never_starts_behind_a_migration_that_failed(
    podman: Podman, neighbours: Neighbours, pod: Any, tmp_path: Path
) -> None:
    """The gate leaves with 69 without waiting for its deadline of a quarter of an hour."""
    neighbours.resolve("postgres")
    neighbours.put(job("Failed"))
    neighbours.listen(5432)
    played = Played(podman, pod, tmp_path)
    assert played.end() == 125
    assert played.exit_code_of_the_gate() == 69
    assert played.never_started()


@pytest.fixture
def kustomized(neighbours: Neighbours) -> Iterator[tuple[Any, Any]]:
    """Return the pod that kustomize makes of a Deployment with the label, and the ConfigMap beside it."""
    build = ["kubectl", "kustomize", ROOT / "examples/kustomize/overlay"]
    done = subprocess.run(build, capture_output=True, text=True, check=True)
    found = {each["kind"]: each for each in yaml.safe_load_all(done.stdout)}
    neighbours.resolve("postgres", "prices")
    yield as_pod(found["Deployment"]["spec"]["template"], f"kustomized-{next(NUMBERS)}"), found["ConfigMap"]
    neighbours.leave()


@pytest.mark.needs("kubectl")
def test_what_the_component_adds_holds_main(
    podman: Podman, neighbours: Neighbours, kustomized: tuple[Any, Any], tmp_path: Path
) -> None:
    """What the ConfigMap declares is waited for."""
    played = Played(podman, kustomized[0], tmp_path, kustomized[1])
    for name, port in (("db", 5432), ("prices", 8080)):
        played.wait_until_it_waits_for(name)
        there = neighbours.listen(port)
    assert played.end() == 0
    assert there < played.opened() < played.started()


@pytest.mark.needs("kubectl")
def test_what_the_component_adds_keeps_main_from_starting(
    podman: Podman, kustomized: tuple[Any, Any], tmp_path: Path
) -> None:
    """The deadline of the ConfigMap counts."""
    pod, config = kustomized
    config["data"]["GATEKEEPER_TIMEOUT"] = "500ms"
    played = Played(podman, pod, tmp_path, config)
    assert played.end() == 125
    assert played.exit_code_of_the_gate() == 124
    assert played.never_started()


@pytest.fixture
def sidecar(neighbours: Neighbours) -> Iterator[Any]:
    """Return the pod of the example, with the sidecar beside main."""
    (made,) = [made for made in made_by_examples() if made.name == "sidecar"]
    pod = as_pod(made.template, f"sidecar-{next(NUMBERS)}")
    set_beside(pod)
    neighbours.resolve("postgres")
    yield pod
    neighbours.leave()


def test_a_sidecar_holds_main_and_then_hears_it(
    podman: Podman, neighbours: Neighbours, sidecar: Any, tmp_path: Path
) -> None:
    """Its startup probe fails until the gate is open; it is not ready before the shop has said so, in their folder."""
    played = Played(podman, sidecar, tmp_path, options=["--start=false"])
    assert played.end() == 0
    podman("start", played.gate)
    played.wait_until_it_waits_for("db")
    assert neighbours.ask(8079, "/startupz") == 503
    neighbours.listen(5432)
    until(lambda: neighbours.ask(8079, "/startupz") == 200, "the startup probe succeeds")
    assert neighbours.ask(8079, "/readyz") == 503
    podman("start", played.main)
    until(lambda: neighbours.ask(8079, "/readyz") == 200, "the shop has said that it is ready")
    assert neighbours.ask(8079, "/livez") == 200
    assert played.opened() < played.started()
    podman("stop", "--time=0", played.gate)


def test_a_sidecar_that_gives_up_never_lets_main_start(
    podman: Podman, neighbours: Neighbours, sidecar: Any, tmp_path: Path
) -> None:
    """It leaves with 124, and its startup probe has not succeeded once."""
    sidecar["spec"]["containers"][-1]["args"].insert(1, "--timeout=2s")
    played = Played(podman, sidecar, tmp_path, options=["--start=false"])
    assert played.end() == 0
    podman("start", played.gate)
    answers = {neighbours.ask(8079, "/startupz")}
    while podman.state(played.gate) != "exited":
        answers.add(neighbours.ask(8079, "/startupz"))
    assert answers <= {0, 503}
    assert played.exit_code_of_the_gate() == 124
    assert played.never_started()
