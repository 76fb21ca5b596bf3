"""The example whose declarations stand in annotations, and what docs/downward-api.md says."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gatekeeper.declare.downward import FIELDS

from .kubelet import fill_pod_info, quoted
from .podman import Podman
from .test_kubernetes import forbidden


@pytest.fixture
def template(root: Path) -> Any:
    """Return the template of the example's pods."""
    return yaml.safe_load((root / "examples/kubernetes/annotations.yaml").read_text())["spec"]["template"]


def test_the_example_is_restricted_and_mounts_what_it_has(template: Any) -> None:
    """The Restricted profile lets it in, and the gate, and nobody else, has the volume where it is looked for."""
    pod = template["spec"]
    assert forbidden(pod) == []
    (volume,), (gate,), (shop,) = pod["volumes"], pod["initContainers"], pod["containers"]
    assert gate["volumeMounts"] == [{"name": volume["name"], "mountPath": "/etc/podinfo", "readOnly": True}]
    assert "volumeMounts" not in shop
    fields = {"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"}
    assert {item["fieldRef"]["fieldPath"] for item in volume["downwardAPI"]["items"]} <= fields  # all a volume has


def test_the_annotations_of_the_example_are_understood(template: Any, tmp_path: Path) -> None:
    """Fields are replaced, and what holds the start is what the annotations say."""
    folder = fill_pod_info(tmp_path / "podinfo", template)
    command = [sys.executable, "-m", "gatekeeper", "plan", "--output=json", f"--pod-info={folder}"]
    told = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    assert [(each["name"], each["target"]) for each in told["dependencies"]] == [
        ("db", "postgres://postgres.shops"),
        ("prices", "http://shop-prices:8080/healthz"),
    ]
    assert told["gate"]["timeout"] == {"value": "5m", "origin": "dev.gatekeeper/timeout"}


def test_the_page_lists_every_field(root: Path) -> None:
    """The table of docs/downward-api.md is that of the code."""
    page = (root / "docs/downward-api.md").read_text()
    rows = re.findall(r"^\| `([^`]+)` \| (.*?) \| ?(.*?) ?\|$", page, re.MULTILINE)
    table = {path: (tuple(re.findall("`(.*?)`", of)), tuple(re.findall("`(.*?)`", files))) for path, of, files in rows}
    assert {path: tuple(row) for path, row in FIELDS.items()} == {path: row for path, row in table.items() if row[0]}


def test_the_manifests_of_the_page_are_understood(root: Path, tmp_path: Path) -> None:
    """Its arguments and its annotations are good declarations in a pod that tells the fields."""
    arguments, annotated = re.findall(
        r"^```yaml\n(.*?)^```", (root / "docs/downward-api.md").read_text(), re.MULTILINE | re.DOTALL
    )
    metadata = yaml.safe_load(annotated)["metadata"]
    lines = [f"{key}={quoted(text)}" for key, text in metadata["annotations"].items()]
    (tmp_path / "annotations").write_text("\n".join(lines))
    (tmp_path / "namespace").write_text("shops")
    words = yaml.safe_load(arguments)["args"][1:]
    command = [sys.executable, "-m", "gatekeeper", "plan", "--output=json", f"--pod-info={tmp_path}", *words]
    told = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    targets = {each["name"]: each["target"] for each in told["dependencies"]}
    assert targets == {"db": "postgres://postgres.shops.svc", "zone": "file:///zones/any"}


@pytest.mark.root
@pytest.mark.timeout(300)
@pytest.mark.needs("podman", "runc", "conmon", "catatonit", "dpkg")
def test_the_image_reads_the_folder_where_it_is_mounted(
    podman: Podman, image: str, template: Any, tmp_path: Path
) -> None:
    """In a container with the volume's files at /etc/podinfo, the arguments of the example are enough."""
    template["metadata"]["annotations"]["dev.gatekeeper/timeout"] = "300ms"
    folder = fill_pod_info(podman.folder / tmp_path.name, template)
    mount = f"--volume={folder}:/etc/podinfo:ro"
    arguments = template["spec"]["initContainers"][0]["args"]
    run = ("run", "--rm", "--network=none", mount, image)
    told = json.loads(podman(*run, "plan", "--output=json", *arguments[1:]).stdout)
    assert told["dependencies"][0]["target"] == "postgres://postgres.shops"
    done = podman(*run, *arguments, check=False)
    assert done.returncode == 124, done.stderr
    assert "300ms (dev.gatekeeper/timeout)" in done.stderr
