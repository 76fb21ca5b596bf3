"""Where manifests say what a pod is: in which documents, under which keys, and who wants to be left alone."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gatekeeper.inject.tree import Node

INJECT = "dev.gatekeeper/inject"
# Kubernetes API reference: where each kind has its PodSpec's parent.
_TEMPLATES = {
    "Pod": (),
    "PodTemplate": ("template",),
    "ReplicationController": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
_GROUPS = ("v1", "apps", "batch", "extensions")


class Template(NamedTuple):
    """A pod as a workload makes it: the template, the spec in it, the spec of a job around it, and whose it is."""

    kind: str
    name: str
    workload: Node
    template: Node
    spec: Node
    job: Node | None

    @property
    def title(self) -> str:
        """Return what a person calls it."""
        return f"{self.kind} {self.name}" if self.name else self.kind

    def said(self, section: str, key: str) -> str | None:
        """Return a label or annotation of the pod, or else of its workload."""
        for node in (self.template, self.workload):
            value = path(node, "metadata", section, key)
            if value is not None and value.real.what == "scalar":
                return value.real.text
        return None


class BadTemplateError(Exception):
    """Raised for a workload whose pod cannot be found or changed; ``index`` is where."""

    def __init__(self, message: str, index: int) -> None:
        """Take one line for people."""
        super().__init__(message)
        self.index = index


class FragmentError(Exception):
    """Raised for what only looks like a workload: without containers it is a patch, and no pod comes of it alone."""


def path(node: Node, *keys: str) -> Node | None:
    """Return what stands under these keys, aliases followed on the way; None where nothing does."""
    found: Node | None = node
    for key in keys:
        found = found.real.get(key) if found is not None else None
    return found


def text_at(node: Node, *keys: str) -> str:
    """Return the text of a scalar under these keys, nothing where there is none."""
    found = path(node, *keys)
    return found.real.text if found is not None and found.real.what == "scalar" else ""


def objects(documents: Sequence[Node]) -> Iterator[Node]:
    """Give each object of the documents, the items of lists too."""
    for root in documents:
        items = path(root, "items")
        if text_at(root, "kind").endswith("List") and items is not None and items.what == "sequence":
            yield from objects(items.items)
        elif root.what == "mapping":
            yield root


def template_of(workload: Node) -> Template | None:
    """Return the pod that an object makes, None where it makes none.

    Raises `BadTemplateError`, and `FragmentError` for a patch.
    """
    kind = text_at(workload, "kind")
    if kind not in _TEMPLATES or text_at(workload, "apiVersion").partition("/")[0] not in _GROUPS:
        return None
    template, job = workload, None
    for key in _TEMPLATES[kind]:
        if key == "template" and kind in ("Job", "CronJob"):
            job = template
        template = _under(template, key)
    spec = _under(template, "spec")
    if spec.get("containers") is None and all(name.tag != "merge" for name, _ in spec.entries):
        raise FragmentError
    _refuse_twice(spec)
    _list_under(spec, "containers")
    name = text_at(workload, "metadata", "name") or text_at(workload, "metadata", "generateName")
    return Template(kind, name, workload, template, spec, job)


def wanted(template: Template, *, only_annotated: bool) -> bool:
    """Tell whether a pod is to be changed; raises `BadTemplateError` for an annotation that says neither yes nor no."""
    said = template.said("annotations", INJECT)
    if said not in (None, "true", "false"):
        message = f'{template.title}: the annotation {INJECT} is neither "true" nor "false"'
        raise BadTemplateError(message, template.template.start)
    return said == "true" or (said is None and not only_annotated)


def containers(template: Template, key: str = "containers") -> tuple[Node, ...]:
    """Return the containers of a pod, or those under another key; raises `BadTemplateError` where they are no list."""
    value = template.spec.get(key)
    if value is None or value.is_null:
        return ()
    return _list_under(template.spec, key).items


def _refuse_twice(node: Node) -> None:
    """Refuse a key that is given twice anywhere in a pod: which of them counts is for each reader to guess."""
    seen: set[str] = set()
    for key, value in node.entries:
        if key.what == "scalar" and key.tag != "merge" and key.text in seen:
            message = f"{key.text} is given twice: keep one"
            raise BadTemplateError(message, key.start)
        seen.add(key.text)
        _refuse_twice(value)
    for item in node.items:
        _refuse_twice(item)


def _list_under(node: Node, key: str) -> Node:
    value = node.get(key)
    if value is None and any(name.tag == "merge" for name, _ in node.entries):
        message = f"{key} comes from <<, if at all: write it out here"
        raise BadTemplateError(message, node.start)
    if value is None or value.real.what != "sequence" or not all(each.real.what == "mapping" for each in value.items):
        message = f"{key} is no list of containers: write one"
        raise BadTemplateError(message, (value or node).start)
    if value.target:
        message = f"{key} is an alias: write it out here"
        raise BadTemplateError(message, value.start)
    return value


def _under(node: Node, key: str) -> Node:
    names = [name.text for name, _ in node.entries]
    if names.count(key) > 1:
        message = f"{key} is given twice: keep one"
        raise BadTemplateError(message, node.start)
    value = node.get(key)
    if value is None or value.real.what != "mapping":
        message = f"{key} is missing, or no mapping: this is no whole manifest" if not value else f"{key} is no mapping"
        raise BadTemplateError(message, (value or node).start)
    if value.target:
        message = f"{key} is an alias, and what is added would show elsewhere too: write it out here"
        raise BadTemplateError(message, value.start)
    return value
