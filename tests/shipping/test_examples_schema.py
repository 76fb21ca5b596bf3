"""Every Kubernetes manifest in examples/ against the published schema of the API: unknown fields are refused."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import ROOT
from .schema import BadManifestError, validate

OLDEST = "1.29"  # the first with native sidecars unless switched off
# Of kinds that clusters do not serve: kustomize alone reads them, and a test of its own has it do so.
READ_ELSEWHERE = ("kustomize.config.k8s.io/",)


def manifests() -> list[Any]:
    """Return every document of examples/ that names an API version and a kind, with its place for its name.

    A patch is no whole object: what kustomize makes with it is validated where that is built.
    """
    found = []
    for path in sorted(each for each in ROOT.glob("examples/**/*.y*ml") if ".patch." not in each.name):
        for number, document in enumerate(yaml.safe_load_all(path.read_text()), start=1):
            if isinstance(document, dict) and {"apiVersion", "kind"} <= set(document):
                place = f"{path.relative_to(ROOT / 'examples')}:{number}"
                found.append(pytest.param(document, id=place))
    return found


def test_manifests_are_found() -> None:
    """The examples of the folder for Kubernetes are among what is checked."""
    files = {parameter.id.partition(":")[0] for parameter in manifests()}
    assert {str(path.relative_to(ROOT / "examples")) for path in ROOT.glob("examples/kubernetes/*.yaml")} <= files


@pytest.mark.parametrize("version", [OLDEST, None], ids=["oldest", "newest"])
@pytest.mark.parametrize("manifest", manifests())
def test_a_manifest_is_what_the_published_schema_says(manifest: dict[str, Any], version: str | None) -> None:
    """Every field exists in the oldest and in the newest version that is spoken of, and has the right type."""
    if manifest["apiVersion"].startswith(READ_ELSEWHERE):
        return
    validate(manifest, version)


@pytest.mark.parametrize(
    ("old", "new"),
    [("initContainers:", "initContainer:"), ("args:", "arg:"), ("replicas: 2", "replicas: two"), ("drop:", "dropp:")],
)
def test_a_slip_of_the_pen_is_found(old: str, new: str) -> None:
    """An unknown field at any depth, and a value of another type, are refused."""
    text = Path(ROOT / "examples/kubernetes/deployment.yaml").read_text()
    assert old in text
    with pytest.raises(BadManifestError):
        validate(yaml.safe_load(text.replace(old, new, 1)))
