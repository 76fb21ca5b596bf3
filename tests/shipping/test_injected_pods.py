"""Pods as `gatekeeper inject` makes them, played by podman in both directions, under the limits that it writes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from .conftest import BUSYBOX, GATEKEEPER, MUSL, ROOT, SHOP, STATIC
from .kubelet import as_pod, set_beside
from .neighbours import Neighbours
from .playing import Played
from .podman import Podman, until
from .test_kubernetes import forbidden

pytestmark = [
    pytest.mark.root,
    pytest.mark.timeout(300),
    pytest.mark.needs("podman", "runc", "conmon", "catatonit", "dpkg", "gcc"),
    pytest.mark.usefixtures("image", "shop"),
]
WANTED = ["--timeout=5m", "db=tcp://postgres:5432", "prices=http://prices:8080/healthz"]
MANIFEST = ROOT / "examples/kustomize/base/shop.yaml"  # which has no gate
COMMAND = "command: [python3, -u, /shop.py]"


class Kind(NamedTuple):
    """An image of the application: the command in its manifest, and how the program's own words begin."""

    name: str
    image: str
    command: str
    says: str


TELL = 'command: [sh, -c, "echo started; exec sleep 1000"]'
APPS = pytest.mark.parametrize(
    "app",
    [
        Kind("python", SHOP, COMMAND, "1"),  # a time
        Kind("busybox", BUSYBOX, TELL, "started"),
        Kind("musl", MUSL, TELL, "started"),
        Kind("static", STATIC, "command: [/app, started]", "argument /app"),
    ],
    ids=lambda app: app.name,
)


@pytest.fixture(autouse=True)
def _names(neighbours: Neighbours) -> Iterator[None]:
    neighbours.resolve("postgres", "prices")
    yield
    neighbours.leave()


def injected(name: str, *words: str, image: str = SHOP, command: str = "") -> Any:
    """Return the pod of a Deployment that inject has changed; a command is written into the manifest before."""
    text = MANIFEST.read_text().replace(SHOP, image)
    if command:
        text = text.replace("imagePullPolicy: IfNotPresent\n", f"imagePullPolicy: IfNotPresent\n          {command}\n")
    inject = [sys.executable, "-m", "gatekeeper", "inject", f"--image={GATEKEEPER}", *words]
    done = subprocess.run(inject, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pod = as_pod(yaml.safe_load(done.stdout)["spec"]["template"], name)
    assert forbidden(pod["spec"]) == []
    pod["spec"]["securityContext"]["runAsUser"] = (
        65532  # as the image of the shop has it, and a manifest of others would
    )
    return pod


def bring(neighbours: Neighbours, played: Played) -> float:
    """Let both dependencies come, each when it is missed; return when the last was not there yet."""
    not_yet = 0.0
    for name, port in (("db", 5432), ("prices", 8080)):
        played.wait_until_it_waits_for(name)
        not_yet = neighbours.listen(port)
    return not_yet


def test_the_init_container_holds_main(podman: Podman, neighbours: Neighbours, tmp_path: Path) -> None:
    """Main starts after both dependencies."""
    played = Played(podman, injected("init-opens", *WANTED), tmp_path)
    there = bring(neighbours, played)
    assert played.end() == 0
    assert there < played.opened() < played.started()


def test_the_init_container_keeps_main_from_starting(podman: Podman, tmp_path: Path) -> None:
    """With nothing there, the gate leaves with 124 and main is never started."""
    played = Played(podman, injected("init-closed", "--timeout=500ms", *WANTED[1:]), tmp_path)
    assert played.end() == 125
    assert played.exit_code_of_the_gate() == 124
    assert played.never_started()


@pytest.mark.usefixtures("static")
@APPS
def test_a_wrapped_command_starts_after_its_dependencies(
    podman: Podman, neighbours: Neighbours, tmp_path: Path, app: Kind
) -> None:
    """The agent is copied into the pod's folder, and main's program starts in its container once both are there."""
    pod = injected(f"wrap-opens-{app.name}", "--wrap", *WANTED, image=app.image, command=app.command)
    played = Played(podman, pod, tmp_path, wrapped=True)
    there = bring(neighbours, played)
    assert played.end() == 0
    until(played.said, "main's program says something")
    assert played.said()[0].startswith(app.says)
    assert there < played.opened()


@pytest.mark.usefixtures("static")
@APPS
def test_a_wrapped_command_never_starts_where_nothing_comes(podman: Podman, tmp_path: Path, app: Kind) -> None:
    """The container leaves with 124, and its program has not said a word."""
    words = ["--wrap", "--timeout=500ms", *WANTED[1:]]
    pod = injected(f"wrap-closed-{app.name}", *words, image=app.image, command=app.command)
    played = Played(podman, pod, tmp_path, wrapped=True)
    assert played.end() == 0
    assert played.exit_code_of_the_gate() == 124
    assert played.said() == []


def test_a_sidecar_hears_main(podman: Podman, neighbours: Neighbours, tmp_path: Path) -> None:
    """With --native-sidecar=shop, the probes that inject writes tell when main may start, and when it is ready."""
    pod = injected("sidecar-opens", "--native-sidecar=shop", *WANTED)
    (gate,) = pod["spec"]["initContainers"]
    startup, readiness = (gate[probe]["httpGet"] for probe in ("startupProbe", "readinessProbe"))
    set_beside(pod)
    played = Played(podman, pod, tmp_path, options=["--start=false"])
    assert played.end() == 0
    podman("start", played.gate)
    bring(neighbours, played)
    until(lambda: neighbours.ask(startup["port"], startup["path"]) == 200, "the startup probe succeeds")
    assert neighbours.ask(readiness["port"], readiness["path"]) == 503
    podman("start", played.main)
    until(lambda: neighbours.ask(readiness["port"], readiness["path"]) == 200, "the shop has said that it is ready")
    assert played.opened() < played.started()
    podman("stop", "--time=0", played.gate)


PEAK = """
import json, os, pathlib, sys
words = ["gatekeeper", *sys.argv[1:]]
_, status = os.waitpid(os.posix_spawn("/opt/gatekeeper/bin/gatekeeper", words, os.environ), 0)
places = ["/sys/fs/cgroup/memory.peak", "/sys/fs/cgroup/memory/memory.max_usage_in_bytes"]
peaks = [int(pathlib.Path(place).read_text()) for place in places if os.path.exists(place)]
print(json.dumps([os.waitstatus_to_exitcode(status), peaks]))
"""


@pytest.mark.parametrize(
    ("folder", "limit"), [("--volume={}:/gatekeeper", "32m"), ("--tmpfs=/gatekeeper:mode=777,exec", "64m")]
)
def test_the_copy_fits_the_memory_that_inject_gives_it(
    podman: Podman, image: str, tmp_path: Path, folder: str, limit: str
) -> None:
    """On a disk the request is enough; in memory, where the agent's files count too, the limit is."""
    pod = injected("limits", "--wrap", *WANTED, command=COMMAND)
    given = pod["spec"]["initContainers"][0]["resources"]
    assert given == {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}}
    (tmp_path / "there").mkdir()
    (tmp_path / "there").chmod(0o777)
    options = ["--read-only", "--network=none", f"--memory={limit}", folder.format(tmp_path / "there")]
    python = ["--entrypoint=/opt/gatekeeper/bin/python3", image, "-c", PEAK]
    done = podman("run", "--rm", *options, *python, "install", "/gatekeeper")
    status, peaks = json.loads(done.stdout.splitlines()[-1])
    assert status == 0
    assert max(peaks) < 64 << 20
