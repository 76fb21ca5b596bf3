"""What may not work though nothing in it is wrong: meshes, probes, deadlines, a pod that waits for itself.

Sees a pod and what it is to wait for, and gives sentences. Decides nothing.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from gatekeeper.inject.containers import neighbour_of
from gatekeeper.inject.gate import PORT, variables_of
from gatekeeper.inject.templates import INJECT, Template, containers, path, text_at
from gatekeeper.inject.tree import Node
from gatekeeper.inject.words import SIDECAR, WRAP, Asked
from gatekeeper.values import shown

_YES = ("true", "enabled", "ingress")
# Name, container, the label or annotation that asks for it, those that ask for a native sidecar, our option.
_MESHES = (
    ("Istio", "istio-proxy", "sidecar.istio.io/inject", ("sidecar.istio.io/nativeSidecar",), "--istio-cni"),
    (
        "Linkerd",
        "linkerd-proxy",
        "linkerd.io/inject",
        ("config.linkerd.io/proxy-enable-native-sidecar", "config.alpha.linkerd.io/proxy-enable-native-sidecar"),
        "--linkerd-cni",
    ),
)


class Mesh(NamedTuple):
    """A service mesh that a pod says it is part of; ``native`` where its proxy is, or is to be, an init container."""

    name: str
    proxy: str
    native: bool
    option: str


def mesh_of(template: Template) -> Mesh | None:
    """Return the mesh of a pod, as its labels, annotations and containers show it; that of a namespace is not seen."""
    inits = [text_at(each.real, "name") for each in containers(template, "initContainers")]
    mains = [text_at(each.real, "name") for each in containers(template)]
    for name, proxy, key, natives, option in _MESHES:
        said = [template.said(section, key) for section in ("labels", "annotations")]
        if "false" in said or "disabled" in said:
            continue
        revision = name == "Istio" and template.said("labels", "istio.io/rev")
        if revision or any(each in _YES for each in said) or proxy in (*inits, *mains):
            native = proxy in inits or any(template.said("annotations", each) == "true" for each in natives)
            return Mesh(name, proxy, native, option)
    return None


def warnings_of(template: Template, asked: Asked, services: Sequence[Node]) -> Iterator[str]:
    """Give a sentence for each thing that a user would rather know now."""
    yield from _of_mesh(mesh_of(template), asked)
    yield from _of_itself(template, asked, services)
    yield from _of_deadlines(template, asked)
    yield from _of_place(template, asked)
    if asked.mode == WRAP and (container := neighbour_of(template, asked)) is not None:
        yield from _of_probes(container, asked)
    elif asked.mode != WRAP:
        for name in variables_of(template, asked)[1]:
            yield f"refers to {name}, which no container here has in its env: set it, or write ${{{name}:-…}}"


def _of_mesh(mesh: Mesh | None, asked: Asked) -> Iterator[str]:
    if mesh is None:
        return
    if asked.mode != WRAP and not mesh.native and asked.user is None:
        yield (
            f"is part of {mesh.name}: unless its proxy is a native sidecar, an init container runs outside of it, "
            "where destinations that want mTLS refuse it, and where a CNI plugin redirects, its connections are lost "
            f"({mesh.option} avoids that; --wrap waits within the mesh)"
        )
    if asked.user is not None:
        yield (
            f"waits as user {asked.user}, past the proxy of {mesh.name}: destinations that want mTLS refuse it, and a "
            "policy may forbid the user"
        )
    if asked.mode == WRAP and not mesh.native:
        how = {
            "Istio": 'proxy.istio.io/config: "holdApplicationUntilProxyStarts: true"',
            "Linkerd": "config.linkerd.io/proxy-await: enabled",
        }[mesh.name]
        yield f"is part of {mesh.name}: annotate it with {how}, so that its proxy is there before the first attempt"
    through_proxy = asked.user is None and (mesh.native or asked.mode == WRAP)
    if through_proxy and any(target.url.startswith("tcp://") for each in asked.declared for target in each.targets):
        yield f"asks by tcp:// through the proxy of {mesh.name}, which accepts every connection itself: ask by http://"


def _of_itself(template: Template, asked: Asked, services: Sequence[Node]) -> Iterator[str]:
    labels = path(template.template, "metadata", "labels")
    have = _pairs(labels)
    namespace = text_at(template.workload, "metadata", "namespace")
    for service in services:
        selector = _pairs(path(service, "spec", "selector"))
        name, home = text_at(service, "metadata", "name"), text_at(service, "metadata", "namespace")
        if not selector or not selector.items() <= have.items() or home != namespace:
            continue
        if text_at(service, "spec", "publishNotReadyAddresses") == "true":
            continue
        for declaration in asked.declared:
            if any(_is_host(target.url, name, home) for target in declaration.targets):
                yield (
                    f"waits for the Service {name}, which leads to this very pod: it is not ready before it waited, "
                    "so that it never becomes ready"
                )


def _is_host(url: str, name: str, namespace: str) -> bool:
    try:
        host = (urlsplit(url).hostname or "").split(".")
    except ValueError:
        return False
    return host[0] == name.lower() and (len(host) == 1 or not namespace or host[1] == namespace)


def _of_deadlines(template: Template, asked: Asked) -> Iterator[str]:
    for node, whose in ((template.spec, "pod"), (template.job, "job")):
        limit = text_at(node, *(() if whose == "pod" else ("spec",)), "activeDeadlineSeconds") if node else ""
        if limit.isdecimal() and (asked.timeout is None or int(limit) <= asked.timeout):
            deadline = "no deadline" if asked.timeout is None else f"a deadline of {shown(asked.timeout)}"
            yield f"has activeDeadlineSeconds: {limit}, which counts the wait too, and the gate has {deadline}"


def _of_place(template: Template, asked: Asked) -> Iterator[str]:
    """Give what about the pod as a whole keeps the gate from what it needs."""
    spec = template.spec
    if "windows" in (text_at(spec, "os", "name"), text_at(spec, "nodeSelector", "kubernetes.io/os")):
        yield f'is for Windows, where gatekeeper\'s image does not run: annotate it with {INJECT}: "false"'
    asks = any(target.url.startswith("k8s://") for each in asked.declared for target in each.targets)
    if asks and text_at(spec, "automountServiceAccountToken") == "false":
        yield "asks the API server by k8s://, and has automountServiceAccountToken: false: it would not be let in"
    if asked.mode != SIDECAR:
        return
    if text_at(spec, "hostNetwork") == "true":
        yield f"has hostNetwork: port {PORT} of the sidecar is one of the node, where a second pod cannot have it"
    for container in containers(template):
        ports = path(container, "ports")
        if any(text_at(each, "containerPort") == str(PORT) for each in (ports.real.items if ports else ())):
            yield f"container {text_at(container.real, 'name')} names port {PORT}, at which the sidecar listens"


def _of_probes(container: Node, asked: Asked) -> Iterator[str]:
    name = text_at(container, "name")
    if path(container, "lifecycle", "postStart"):
        yield f"container {name} has a postStart hook, which runs as soon as the wait begins, not when its command does"
    startup = path(container, "startupProbe")
    if startup is None:
        if path(container, "livenessProbe"):
            yield (
                f"container {name} has a livenessProbe and no startupProbe: it is killed while it waits; add a "
                "startupProbe that lasts as long as the wait and the start"
            )
        return
    delay, period, failures = (
        int(text) if (text := text_at(startup, key)).isdecimal() else default
        for key, default in (("initialDelaySeconds", 0), ("periodSeconds", 10), ("failureThreshold", 3))
    )
    lasts = delay + period * failures
    if asked.timeout is None or lasts <= asked.timeout:
        wait = "for ever" if asked.timeout is None else shown(asked.timeout)
        lasting = f"has a startupProbe that lasts {shown(lasts)}, and may wait {wait}"
        yield f"container {name} {lasting}: raise failureThreshold"


def _pairs(node: Node | None) -> dict[str, str]:
    if node is None or node.real.what != "mapping":
        return {}
    return {key.text: value.real.text for key, value in node.real.entries}
