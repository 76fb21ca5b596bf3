"""Each file of examples/ is run by a test, or it is said why it is not."""

from pathlib import Path

import pytest

from .conftest import ROOT

EXAMPLES = ROOT / "examples"
FILES = sorted(str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*") if path.is_file())
# By the beginning of the path: the test that starts a program behind the gate that the example is about.
RUN = {
    "compose/compose.pre-start.yaml": "shipping/test_containers.py",
    "compose/compose.yaml": "shipping/test_compose.py",
    "docker/": "shipping/test_docker.py",
    "ecs/": "shipping/test_containers.py",
    "kubernetes/": "shipping/test_pods.py",
    "kustomize/": "shipping/test_pods.py",
    "oci-hooks/": "hook/test_runtimes.py",
    "quadlet/shop-gate.container": "shipping/test_containers.py",
    "s6/": "shipping/test_supervisors.py",
    "supervisord/": "shipping/test_supervisors.py",
    "systemd/": "shipping/test_systemd.py",
}
# Read, rendered or validated, and not run: why.
READ = {
    "README.md": "is about the others",
    "helm/": "is rendered by test_examples.py, to the very init container of the Deployment, which is run",
    "nomad/": "asks Consul's nameserver, and no Nomad is to be had; test_supervisors.py reads it",
    "plans/": "is what others name; test_plans.py has gatekeeper plan read it, and probes nothing of it",
    "quadlet/shop.container": "is for a podman with quadlet, and 4.3 has none; test_examples.py knows the keys",
    "quadlet/shop.network": "likewise",
    "quadlet/shop.volume": "likewise",
}


@pytest.mark.parametrize("file", FILES)
def test_a_file_is_run_or_excused(file: str) -> None:
    """One row of the tables, and only one, is about the file."""
    assert len([row for row in (*RUN, *READ) if file.startswith(row)]) == 1


@pytest.mark.parametrize(("row", "test"), RUN.items())
def test_what_runs_it_names_it(row: str, test: str) -> None:
    """The row is about a file that exists, and the test speaks of its folder."""
    assert [file for file in FILES if file.startswith(row)]
    names = (ROOT / "tests" / test).read_text() + (ROOT / "tests/shipping/kubelet.py").read_text()
    assert Path(row).parts[0] in names


@pytest.mark.parametrize("row", READ)
def test_no_excuse_outlives_its_example(row: str) -> None:
    """The file that is excused exists."""
    assert [file for file in FILES if file.startswith(row)]


def test_the_page_of_the_examples_leads_to_each() -> None:
    """The table of examples/README.md links every folder, and in the folder for Kubernetes every file."""
    page = (EXAMPLES / "README.md").read_text()
    linked = [file for file in FILES if f"({file.partition('/')[0]})" in page or f"({file})" in page]
    assert sorted({*linked, "README.md"}) == FILES
