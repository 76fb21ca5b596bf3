"""The hook in real containers: runc and crun by themselves, and podman with the hooks.d file of the examples."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hooking import DEPENDENCIES, GATEKEEPER
from runtime import STAGES, STARTED, bundle, entry, network, run
from shipping.podman import Podman

RUNTIMES = ("runc", "crun")
EXAMPLE = Path(__file__).parents[2] / "examples/oci-hooks/gatekeeper.json"
IMAGE = "registry.example.com/hooked:1"
pytestmark = [
    pytest.mark.root,
    pytest.mark.needs("podman", "runc", "crun", "conmon", "catatonit", "ip", "nsenter", "unshare"),
    pytest.mark.timeout(180),
]


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    """Return podman, in whose namespaces the runtimes run too."""
    with Podman() as podman:
        yield podman


@pytest.fixture(scope="module")
def port(podman: Podman) -> Iterator[int]:
    """Return a port of a server that only the network of the containers has."""
    with network(podman) as port:
        yield port


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_what_is_there_lets_the_container_start(
    podman: Podman, port: int, tmp_path: Path, runtime: str, stage: str
) -> None:
    """A dependency in the container's network, by a name in its hosts, is found from each stage."""
    made = run(podman, runtime, bundle(tmp_path, entry(stage), {DEPENDENCIES: f"db=tcp://in-hosts:{port}"}))
    assert (made.started, made.status) == (True, 0), made.said


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.usefixtures("port")
def test_what_is_missing_keeps_it_from_starting(podman: Podman, tmp_path: Path, runtime: str, stage: str) -> None:
    """The container never runs; the reason is in runc's error, and in the file that crun is told to write to."""
    said = tmp_path / "said"
    annotations = {DEPENDENCIES: "db=tcp://in-hosts:1", "dev.gatekeeper/timeout": "500ms"}
    made = run(podman, runtime, bundle(tmp_path, entry(stage), annotations | {"run.oci.hooks.stderr": str(said)}))
    assert not made.started
    assert made.status != 0
    told = made.said if runtime == "runc" else said.read_text()
    assert re.search(r"1 of 1 not ready: db \((refused: |timed_out: |not_attempted)", told)  # as fast as the machine is
    assert "124" in made.said


@pytest.mark.parametrize("own", ["pid", ""], ids=["own processes", "shared processes"])
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_whoever_runs_without_rights_is_held_too(
    podman: Podman, port: int, tmp_path: Path, runtime: str, stage: str, own: str
) -> None:
    """At startContainer the hook is the container's own user, who may not look at its first process."""
    annotations = {DEPENDENCIES: f"db=tcp://in-hosts:{port}"}
    made = run(podman, runtime, bundle(tmp_path, entry(stage), annotations, uid=65534, own=own))
    assert made.started, made.said


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.usefixtures("port")
def test_it_leaves_before_the_runtime_kills_it(podman: Podman, tmp_path: Path, runtime: str) -> None:
    """With more time declared than the hook has, the reason is told all the same, not that a hook was killed."""
    annotations = {DEPENDENCIES: "db=tcp://in-hosts:1", "dev.gatekeeper/timeout": "10m"}
    began = time.monotonic()
    made = run(podman, runtime, bundle(tmp_path, entry("createRuntime", 2), annotations))
    assert not made.started
    assert time.monotonic() - began < 20
    assert "124" in made.said
    assert "killed" not in made.said.lower()


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.usefixtures("port")
def test_whoever_declares_nothing_starts_at_once(podman: Podman, tmp_path: Path, runtime: str) -> None:
    """A hook that is listed for all of them, in every stage and in poststop, is no matter to the others."""
    hooks = {stage: entries for each in (*STAGES, "poststart", "poststop") for stage, entries in entry(each).items()}
    made = run(podman, runtime, bundle(tmp_path, hooks, {"org.example/other": "x"}))
    assert (made.started, made.said) == (True, "")


@pytest.fixture(scope="module")
def image(podman: Podman) -> str:
    """Return an image with a program and what it needs, and no more."""
    needed = subprocess.run(["ldd", "/bin/echo"], capture_output=True, text=True, check=True).stdout.split()
    files = [word.lstrip("/") for word in ("/bin/echo", *needed) if word.startswith("/")]
    podman.load(IMAGE, ["tar", "--directory=/", "--create", "--dereference", *files])
    return IMAGE


@pytest.fixture(scope="module")
def hooks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the example as it is installed, where gatekeeper is installed elsewhere."""
    folder = tmp_path_factory.mktemp("hooks.d")
    example = json.loads(EXAMPLE.read_text())
    installed, name, *rest = example["hook"]["path"], *example["hook"]["args"]
    assert (installed, name, rest) == ("/usr/local/bin/gatekeeper", "gatekeeper", ["hook"])
    example["hook"] |= {"path": sys.executable, "args": [*GATEKEEPER, *rest]}
    (folder / EXAMPLE.name).write_text(json.dumps(example))
    return folder


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_podman_holds_what_is_annotated(podman: Podman, image: str, hooks: Path, runtime: str) -> None:
    """By the example in hooks.d, an annotated container starts when what it needs is there, and else never."""
    options = ["--rm", f"--hooks-dir={hooks}", "--network=none", "--add-host=in-hosts:127.0.0.1"]
    command = [image, "/bin/echo", STARTED]

    def ran(*annotations: str) -> tuple[str, str, int]:
        given = [f"--annotation={each}" for each in annotations]
        first, *rest = options
        done = podman(f"--runtime={runtime}", rest[0], "run", first, *rest[1:], *given, *command, check=False)
        return done.stdout, done.stderr, done.returncode

    assert ran() == (f"{STARTED}\n", "", 0)
    out, error, status = ran(f"{DEPENDENCIES}=tcp://in-hosts:1", "dev.gatekeeper/timeout=200ms")
    assert (out, status != 0) == ("", True)
    if runtime == "runc":
        assert "closed, the time is up after" in error
        assert "1 of 1 not ready: tcp://in-hosts:1 (" in error
    out, error, status = ran(f"{DEPENDENCIES}=tcp://in-hosts:1 invert")
    assert (out, status) == (f"{STARTED}\n", 0), error
    out, error, status = ran("dev.gatekeeper/dependencys=tcp://in-hosts:1")
    assert (out, status != 0) == ("", True)
