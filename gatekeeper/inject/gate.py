"""The container that waits, as plain data for the Kubernetes API (v1 Container, EnvVar, Probe)."""

import re
from typing import Any

from gatekeeper.inject.templates import Template, containers, path, text_at
from gatekeeper.inject.tree import Node
from gatekeeper.inject.words import SIDECAR, WAIT, WRAP, Asked

NAME = "gatekeeper"
FOLDER = "/gatekeeper"
AGENT = f"{FOLDER}/bin/gatekeeper"
RUN = "/run/gatekeeper"
PORT = 8079
DECLARES = "GATEKEEPER_DEPENDENCIES"
# Measured in the image as the peak of the resident set (Python 3.11, amd64): 23 MiB for tcp, 26 MiB for 200 of them, 28
# MiB for http, https or dns, 35 MiB where all kinds and JSON paths are asked at once; serve takes one more. The request
# covers what a pod waits for, the limit is nearly twice the dearest, and the copy of --wrap fits it on a disk and in
# memory; what exec starts is a guest and counts in addition. No limit of the processor: it would make a short start
# long, and waiting costs next to nothing.
_RESOURCES = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}}
_NOBODY_IN_PARTICULAR = 65532  # the user of the image
_NO_LIMIT = 86400  # seconds that a startup probe may take where the gate has no deadline
_REFERENCE = re.compile(r"\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)(:-)?|\$\(([A-Za-z_.-][A-Za-z0-9_.-]*)\)")
_SERVICE_LINK = re.compile(r".*_(SERVICE_HOST|SERVICE_PORT.*|PORT(_\d+_.*)?)")


def gate_of(template: Template, asked: Asked) -> dict[str, Any]:
    """Return the container that a pod gets (v1 Container)."""
    made: dict[str, Any] = {"name": NAME, "image": asked.image}
    if asked.mode == SIDECAR:
        made["restartPolicy"] = "Always"
    if asked.mode == WRAP:
        made["args"] = ["install", FOLDER]
    else:
        socket = [f"--status=:{PORT},unix:{RUN}/status.sock"] if asked.mode == SIDECAR else []
        made["args"] = ["serve" if asked.mode == SIDECAR else "wait", *socket, *map(for_kubelet, asked.options)]
        there, _ = variables_of(template, asked)
        made["env"] = [*there, {"name": DECLARES, "value": for_kubelet("\n".join(asked.lines))}]
    if asked.mode == SIDECAR:
        made |= _probes(asked)
    else:
        # Why it gave up stands in `kubectl describe pod`; if it could not even say so, the end of its log does.
        made["terminationMessagePolicy"] = "FallbackToLogsOnError"
    if asked.mode != WAIT:
        made["volumeMounts"] = [{"name": NAME, "mountPath": FOLDER if asked.mode == WRAP else RUN}]
    return made | {"securityContext": _restricted(_user_of(template, asked)), "resources": _RESOURCES}


def _user_of(template: Template, asked: Asked) -> int | None:
    """Return the user that is to be named: what passes a mesh by, or not root where the whole pod is to be root."""
    if asked.user is None and text_at(template.spec, "securityContext", "runAsUser") == "0":
        return _NOBODY_IN_PARTICULAR
    return asked.user


def _probes(asked: Asked) -> dict[str, Any]:
    limit = _NO_LIMIT if asked.timeout is None else int(asked.timeout) + 60
    probes: dict[str, Any] = {
        "startupProbe": {
            "httpGet": {"path": "/startupz", "port": PORT},
            "periodSeconds": 1,
            "failureThreshold": limit,
        }
    }
    if asked.container:
        probes["readinessProbe"] = {"httpGet": {"path": "/readyz", "port": PORT}, "periodSeconds": 2}
    return probes


def _restricted(user: int | None) -> dict[str, Any]:
    """Return what the Restricted Pod Security Standard asks of a container, and a file system nobody writes to."""
    who = {} if user is None else {"runAsUser": user, "runAsGroup": user}
    return {
        "runAsNonRoot": True,
        **who,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def variables_of(template: Template, asked: Asked) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the variables that the dependencies refer to, as the pod's containers have them, and those it has not."""
    said = "\n".join((*asked.lines, *asked.options))
    names = {match[1] or match[3]: bool(match[2]) for match in _REFERENCE.finditer(said) if match[1] or match[3]}
    found: dict[str, Node] = {}
    for container in containers(template):
        env = path(container, "env")
        for variable in env.real.items if env else ():
            found.setdefault(text_at(variable, "name"), variable)
    there = [_data(found[name]) for name in names if name in found]
    missing = [name for name, falls_back in names.items() if name not in found and not falls_back]
    return there, [name for name in missing if not _SERVICE_LINK.fullmatch(name)]


def for_kubelet(text: str) -> str:
    """Return text that is the text itself once the kubelet has expanded it ($(NAME) and $$; v1 EnvVar)."""
    return re.sub(r"\$(?=[$(])", "$$", text)


def _data(node: Node) -> Any:  # noqa: ANN401 - plain data
    node = node.real
    if node.what == "mapping":
        return {key.text: _data(value) for key, value in node.entries}
    if node.what == "sequence":
        return [_data(item) for item in node.items]
    return node.text.lower() in ("true", "yes", "on") if node.tag == "bool" else node.text
