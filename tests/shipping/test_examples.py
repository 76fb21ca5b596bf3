"""The other examples for Kubernetes and podman: restricted, understood, and rendered by the tools that read them."""

import configparser
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gatekeeper.probes import KINDS

from .conftest import GATEKEEPER, ROOT
from .kubelet import made_by_examples
from .schema import validate
from .test_kubernetes import forbidden

EXAMPLES = ROOT / "examples"

# What Helm adds to text/template, as far as the example uses it.
HELM = """
package main

import ("bytes"; "encoding/json"; "os"; "strconv"; "strings"; "text/template")

func main() {
	var values any
	if err := json.NewDecoder(os.Stdin).Decode(&values); err != nil { panic(err) }
	all := template.New("chart").Option("missingkey=error")
	all.Funcs(template.FuncMap{
		"quote": func(text string) string { return strconv.Quote(text) },
		"nindent": func(by int, text string) string {
			return "\\n" + strings.Repeat(" ", by) + strings.ReplaceAll(text, "\\n", "\\n"+strings.Repeat(" ", by))
		},
		"include": func(name string, data any) (string, error) {
			var out bytes.Buffer
			err := all.ExecuteTemplate(&out, name, data)
			return out.String(), err
		},
	})
	template.Must(all.ParseFiles(os.Args[1]))
	template.Must(all.Parse("initContainers:\\n  {{- include \\"gatekeeper.container\\" .gatekeeper | nindent 2 }}\\n"))
	if err := all.Execute(os.Stdout, values); err != nil { panic(err) }
}
"""
# podman-systemd.unit(5) of podman 4.4, the first with quadlet; and systemd's own sections.
QUADLET = {
    "Container": {
        *("Annotation", "AddCapability", "ContainerName", "DropCapability", "Environment", "EnvironmentFile", "Exec"),
        *("ExposeHostPort", "Group", "Image", "Label", "Network", "NoNewPrivileges", "Notify", "PodmanArgs"),
        *("PublishPort", "ReadOnly", "RunInit", "SeccompProfile", "Secret", "Timezone", "User", "Volume"),
    },
    "Network": {"DisableDNS", "Driver", "Gateway", "Internal", "IPRange", "IPv6", "Label", "Options", "Subnet"},
    "Volume": {"Copy", "Device", "Group", "Label", "Options", "Type", "User"},
    "Unit": {"After", "Description", "Requires"},
    "Service": {"RemainAfterExit", "Restart", "TimeoutStartSec", "Type"},
    "Install": {"WantedBy"},
}


PODS = [pytest.param(made.template["spec"], id=made.name) for made in made_by_examples()]


def planned(arguments: list[str]) -> Any:
    """Return what gatekeeper understands of a container's arguments."""
    missing = [kind for kind in ("k8s", "postgres") if any(f"{kind}://" in argument for argument in arguments)]
    if not set(missing) <= set(KINDS):
        pytest.skip(f"no kind {', '.join(missing)} yet")
    command = [sys.executable, "-m", "gatekeeper", "plan", "--output=json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("pod", PODS)
def test_every_pod_is_restricted(pod: dict[str, Any]) -> None:
    """The Restricted Pod Security Standard lets every example in."""
    assert forbidden(pod) == []


@pytest.mark.parametrize("pod", PODS)
def test_every_gate_is_understood_and_writes_nowhere(pod: dict[str, Any]) -> None:
    """The arguments are a declaration without a problem, the image is ours, and its file system is read-only."""
    (gate,) = [each for each in pod["initContainers"] if each["name"] == "gatekeeper"]
    assert gate["image"] == GATEKEEPER
    assert gate["securityContext"]["readOnlyRootFilesystem"] is True
    if "://" in str(gate["args"]):  # else its pod's annotations declare: see test_annotations.py
        assert planned(gate["args"][1:])["dependencies"]


def test_openshift_is_left_to_choose_the_user() -> None:
    """No user id stands anywhere in the example: the constraint would refuse it."""
    assert "runAsUser:" not in (EXAMPLES / "kubernetes/openshift.yaml").read_text()


def test_the_stateful_set_may_read_the_job_that_it_waits_for() -> None:
    """The role names the Job of job.yaml, and is bound to the account of the pods."""
    found = {each["kind"]: each for each in yaml.safe_load_all((EXAMPLES / "kubernetes/statefulset.yaml").read_text())}
    job = yaml.safe_load((EXAMPLES / "kubernetes/job.yaml").read_text())
    (rule,) = found["Role"]["rules"]
    assert rule["resourceNames"] == [job["metadata"]["name"]]
    account = found["StatefulSet"]["spec"]["template"]["spec"]["serviceAccountName"]
    assert found["RoleBinding"]["subjects"] == [{"kind": "ServiceAccount", "name": account}]
    assert found["RoleBinding"]["roleRef"]["name"] == found["Role"]["metadata"]["name"]
    assert found["ServiceAccount"]["metadata"]["name"] == account


@pytest.mark.needs("kubectl")
def test_the_component_adds_the_gate_to_what_has_the_label() -> None:
    """`kubectl kustomize` puts the init container in, restricted, valid, and with the generated ConfigMap's name."""
    build = ["kubectl", "kustomize", str(EXAMPLES / "kustomize/overlay")]
    done = subprocess.run(build, capture_output=True, text=True, check=True)
    found = {each["kind"]: each for each in yaml.safe_load_all(done.stdout)}
    for each in found.values():
        validate(each)
    pod = found["Deployment"]["spec"]["template"]["spec"]
    (gate,) = pod["initContainers"]
    assert forbidden(pod) == []
    assert gate["envFrom"] == [{"configMapRef": {"name": found["ConfigMap"]["metadata"]["name"]}}]
    assert planned(found["ConfigMap"]["data"]["GATEKEEPER_DEPENDENCIES"].splitlines())["dependencies"]


@pytest.mark.needs("go")
def test_the_helm_template_makes_the_container_of_the_deployment(tmp_path: Path) -> None:
    """Rendered with its values, the template is the init container of the example Deployment."""
    (tmp_path / "render.go").write_text(HELM)
    values = yaml.safe_load((EXAMPLES / "helm/values.yaml").read_text())
    run = ["go", "run", str(tmp_path / "render.go"), str(EXAMPLES / "helm/_gatekeeper.tpl")]
    done = subprocess.run(run, input=json.dumps(values), capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    deployment = yaml.safe_load((EXAMPLES / "kubernetes/deployment.yaml").read_text())
    assert yaml.safe_load(done.stdout)["initContainers"] == deployment["spec"]["template"]["spec"]["initContainers"]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("quadlet/*")), ids=lambda path: path.name)
def test_a_quadlet_has_only_keys_that_quadlet_knows(path: Path) -> None:
    """Each section and key is in the manual; what is named exists, and a gate's command is understood."""
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # as configparser's own documentation has it
    unit.read_string(path.read_text())
    assert path.suffix[1:].capitalize() in unit.sections()
    for section in unit.sections():
        assert set(unit[section]) <= QUADLET[section]
    own = unit[path.suffix[1:].capitalize()]
    for named in (own.get("Network"), own.get("Volume")):
        assert not named or (path.parent / named.partition(":")[0]).exists()
    if own.get("Image") == GATEKEEPER:
        assert planned(own["Exec"].split()[1:])["dependencies"]
