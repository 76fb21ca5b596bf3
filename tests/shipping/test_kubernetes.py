"""The example Deployment: allowed under the Restricted Pod Security Standard, and run in a network with names."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import LAST_BASE
from .kubelet import as_pod
from .podman import Podman, until

DATABASE = Path(__file__).with_name("database.py").read_text()
# Has a name at once, and listens when it is told to, as the database does.
PRICES = """
import signal, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Server(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
print("there", flush=True)
signal.sigwait([signal.SIGUSR1])
server = ThreadingHTTPServer(("", 8080), Server)
print(time.time(), flush=True)
server.serve_forever()
"""
ALLOWED_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
PROFILES = ("RuntimeDefault", "Localhost")


@pytest.fixture
def deployment(root: Path) -> Any:
    """Return the example Deployment."""
    return yaml.safe_load((root / "examples/kubernetes/deployment.yaml").read_text())


def forbidden(pod: dict[str, Any]) -> list[str]:
    """Return what the Restricted profile forbids in a pod's spec (Kubernetes, Pod Security Standards)."""
    found = [key for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key)]
    found += [f"volume {volume['name']}" for volume in pod.get("volumes", []) if not set(volume) & ALLOWED_VOLUMES]
    whole = pod.get("securityContext", {})
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        found += [f"{container['name']}: {what}" for what in _forbidden_in(container, whole)]
    return found


def _handlers(container: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give what probes and hooks ask over the network; the newest baseline forbids to name a host."""
    hooks = container.get("lifecycle", {}).values()
    for each in (*hooks, *(container.get(f"{kind}Probe", {}) for kind in ("startup", "readiness", "liveness"))):
        yield from (each[how] for how in ("httpGet", "tcpSocket") if how in each)


def _forbidden_in(container: dict[str, Any], whole: dict[str, Any]) -> list[str]:
    own = container.get("securityContext", {})
    capabilities = own.get("capabilities", {})
    rules = {
        "privileged": own.get("privileged", False) is False,
        "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
        "runAsNonRoot": own.get("runAsNonRoot", whole.get("runAsNonRoot")) is True,
        "runAsUser": own.get("runAsUser", whole.get("runAsUser")) != 0,
        "seccompProfile": own.get("seccompProfile", whole.get("seccompProfile", {})).get("type") in PROFILES,
        "capabilities.drop": "ALL" in capabilities.get("drop", []),
        "capabilities.add": set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"},
        "host of a probe": not [each for each in _handlers(container) if each.get("host")],
        "hostPort": not [port for port in container.get("ports", []) if port.get("hostPort")],
    }
    return [rule for rule, kept in rules.items() if not kept]


def test_the_deployment_is_restricted(deployment: Any) -> None:
    """The Restricted Pod Security Standard lets the example in."""
    assert forbidden(deployment["spec"]["template"]["spec"]) == []


@pytest.mark.parametrize(
    ("loosen", "rule"),
    [
        (lambda pod: pod.pop("securityContext"), "gatekeeper: runAsNonRoot"),
        (lambda pod: pod["securityContext"].pop("seccompProfile"), "shop: seccompProfile"),
        (lambda pod: pod["initContainers"][0].pop("securityContext"), "gatekeeper: capabilities.drop"),
        (
            lambda pod: pod["containers"][0].update(livenessProbe={"tcpSocket": {"host": "db", "port": 1}}),
            "shop: host of a probe",
        ),
        (lambda pod: pod.update(volumes=[{"name": "host", "hostPath": {"path": "/"}}]), "volume host"),
    ],
    ids=["user", "seccomp", "capabilities", "probe", "volume"],
)
def test_the_rules_find_what_is_forbidden(deployment: Any, loosen: Callable[[Any], object], rule: str) -> None:
    """Each thing that is taken away from the example is missed by the rules above."""
    pod = deployment["spec"]["template"]["spec"]
    loosen(pod)
    assert rule in forbidden(pod)


def test_the_gate_is_small_and_says_why(deployment: Any) -> None:
    """The init container writes nowhere, has requests and a memory limit, and its last words are kept."""
    pod = deployment["spec"]["template"]["spec"]
    gate = pod["initContainers"][0]
    assert gate["securityContext"]["readOnlyRootFilesystem"] is True
    assert gate["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert set(gate["resources"]["requests"]) == {"cpu", "memory"}
    assert set(gate["resources"]["limits"]) == {"memory"}
    assert deployment["spec"]["selector"]["matchLabels"].items() <= (
        deployment["spec"]["template"]["metadata"]["labels"].items()
    )


def test_the_sidecar_is_restricted_and_shares_its_folder(root: Path) -> None:
    """The Restricted profile lets it in, its arguments are understood, and both containers have the socket's folder."""
    pod = yaml.safe_load((root / "examples/kubernetes/sidecar.yaml").read_text())["spec"]["template"]["spec"]
    assert forbidden(pod) == []
    (gate,), (shop,) = pod["initContainers"], pod["containers"]
    assert gate["restartPolicy"] == "Always"
    assert gate["args"][0] == "serve"
    plan = [sys.executable, "-m", "gatekeeper", "plan", "--output=json", *gate["args"][1:]]
    told = json.loads(subprocess.run(plan, stdout=subprocess.PIPE, check=True).stdout)
    (socket,) = [variable["value"] for variable in shop["env"] if variable["name"] == "NOTIFY_SOCKET"]
    assert told["gate"]["notify_socket"]["value"] == socket
    assert gate["volumeMounts"] == shop["volumeMounts"] == [{"name": "gatekeeper", "mountPath": "/run/gatekeeper"}]
    ports = {
        probe["httpGet"]["port"] for probe in (gate["startupProbe"], gate["readinessProbe"], shop["livenessProbe"])
    }
    assert ports == {8079}
    assert told["gate"]["status"]["value"].startswith(":8079,")


def serve(podman: Podman, name: str, program: str) -> None:
    """Start a container that has a name in the network, and refuses so far."""
    podman("run", "--detach", "--network=cluster", f"--name={name}", "--entrypoint=python3", LAST_BASE, "-c", program)
    until(lambda: "there" in podman.logs(name), f"{name} runs")


def reasons(podman: Podman) -> dict[str, str]:
    """Return what the gate of the shop waits for, each with its newest reason: a nameserver may lose a question."""
    events = [json.loads(line) for line in podman.logs("shop-gatekeeper").splitlines() if line.startswith("{")]
    return {each["name"]: each["reason"] for each in events if "reason" in each}


@pytest.mark.root
@pytest.mark.timeout(300)
@pytest.mark.needs("podman", "runc", "conmon", "catatonit", "iptables", "dpkg")
@pytest.mark.usefixtures("image", "shop")
def test_main_starts_after_its_dependencies_found_by_name(podman: Podman, deployment: Any, tmp_path: Path) -> None:
    """In a network of its own, the pod of the example holds its main container until both services are there.

    Nothing is said here of how soon it opens: the names are podman's to tell, which now and then takes it five seconds.
    """
    manifest = tmp_path / "pod.yaml"
    manifest.write_text(json.dumps(as_pod(deployment["spec"]["template"], "shop")))
    podman("network", "create", "cluster")
    kube = podman.start("play", "kube", "--network=cluster", manifest)
    until(lambda: reasons(podman) == {"db": "unresolved", "prices": "unresolved"}, "the gate waits for the names")
    serve(podman, "postgres", DATABASE)
    serve(podman, "prices", PRICES)
    until(lambda: reasons(podman) == {"db": "refused", "prices": "refused"}, "the gate waits for the ports")
    podman("kill", "--signal=USR1", "postgres")
    until(lambda: "dependency.ready" in podman.logs("shop-gatekeeper"), "the first is ready")
    assert podman.state("shop-shop") == "created"
    podman("kill", "--signal=USR1", "prices")
    said, _ = kube.communicate(timeout=60)
    assert kube.returncode == 0, said
    until(lambda: podman.logs("shop-shop"), "main has said when it was started")
    listening, started = float(podman.logs("prices").split()[-1]), float(podman.logs("shop-shop"))
    log = podman.logs("shop-gatekeeper")
    last = json.loads(log.splitlines()[-1])
    podman.clear()
    opened = datetime.fromisoformat(last["timestamp"]).timestamp()
    assert last["event"] == "gate.open"
    assert listening < opened < started, log
