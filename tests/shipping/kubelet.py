"""Pods of the examples as podman 4.3 can play them, with what a controller, a kubelet and a cluster add to them."""

import copy
import json
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from .conftest import ROOT

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


class Made(NamedTuple):
    """The template of the pods that a manifest makes, and all documents of its file."""

    name: str
    template: Any
    documents: tuple[Any, ...]

    def one(self, kind: str) -> Any:
        """Return the one document of this kind."""
        (found,) = [document for document in self.documents if document["kind"] == kind]
        return found


def made_by_examples() -> list[Made]:
    """Return what every manifest in examples/kubernetes makes that makes pods."""
    found = []
    for path in sorted(ROOT.glob("examples/kubernetes/*.yaml")):
        documents = tuple(yaml.safe_load_all(path.read_text()))
        for document in documents:
            spec = document.get("spec", {})
            spec = spec.get("jobTemplate", {}).get("spec", spec)
            if "template" in spec:
                found.append(Made(path.stem, spec["template"], documents))
    return found


def as_pod(template: Any, name: str) -> Any:
    """Return the pod that a template makes.

    Never restarted, because podman 4.3 runs an init container that has succeeded again under the policy Always. The
    annotation keeps the init container, and so its log, once it has succeeded.
    """
    pod = {"apiVersion": "v1", "kind": "Pod", **copy.deepcopy(template)}
    pod["metadata"] |= {"name": name, "annotations": {"io.podman.annotations.init.container.type": "always"}}
    pod["spec"]["restartPolicy"] = "Never"
    return pod


def mount(pod: Any, name: str, folder: Path) -> None:
    """Let a volume be a folder of this host."""
    others = [volume for volume in pod["spec"].get("volumes", []) if volume["name"] != name]
    pod["spec"]["volumes"] = [*others, {"name": name, "hostPath": {"path": str(folder)}}]


def give_account(pod: Any, folder: Path, variables: dict[str, str]) -> None:
    """Give every container what a kubelet does of its service account, and the variables of the API server."""
    mount(pod, "kube-api-access", folder)
    for container in pod["spec"]["initContainers"] + pod["spec"]["containers"]:
        there = {"name": "kube-api-access", "mountPath": ACCOUNT, "readOnly": True}
        container.setdefault("volumeMounts", []).append(there)
        container.setdefault("env", []).extend({"name": key, "value": value} for key, value in variables.items())


def set_beside(pod: Any) -> None:
    """Make the native sidecar, which podman 4.3 does not know, a container among others, started by whoever tests it.

    Its probes, and those of the others, are the test's to ask.
    """
    (gate,) = pod["spec"].pop("initContainers")
    assert gate.pop("restartPolicy") == "Always"
    pod["spec"]["containers"].append(gate)
    for container in pod["spec"]["containers"]:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            container.pop(probe, None)


def quoted(text: str) -> str:
    """Return a text as the kubelet quotes it; for these texts, JSON and Go agree."""
    return json.dumps(text)


def fill_pod_info(folder: Path, template: Any) -> Path:
    """Fill a folder as the kubelet fills the volume of the example: a folder of this moment behind a link."""
    metadata = template["metadata"]
    (moment := folder / "..2026_01_02").mkdir(parents=True)
    for item in template["spec"]["volumes"][0]["downwardAPI"]["items"]:
        field = item["fieldRef"]["fieldPath"].removeprefix("metadata.")
        value = {"namespace": "shops"}.get(field) or metadata[field]
        lines = [f"{key}={quoted(text)}" for key, text in value.items()] if isinstance(value, dict) else [value]
        (moment / item["path"]).write_text("\n".join(lines))
        (folder / item["path"]).symlink_to(f"..data/{item['path']}")
    (folder / "..data").symlink_to(moment.name)
    for path in (folder, moment):
        path.chmod(0o755)
    return folder
