"""What a pod lacks: the container that waits, its folder, the words in front of a command; and what of it is there.

Looks at nodes, changes no text.
"""

from collections.abc import Iterator
from typing import Any

from gatekeeper.inject.gate import AGENT, DECLARES, FOLDER, NAME, RUN, for_kubelet, gate_of
from gatekeeper.inject.meaning import Put, means
from gatekeeper.inject.templates import BadTemplateError, Template, containers, path, text_at
from gatekeeper.inject.tree import Node
from gatekeeper.inject.words import SIDECAR, WAIT, WRAP, Asked

# What meshes put among the init containers, as they name it: behind these there is a network.
_MESH = ("istio-init", "istio-validation", "istio-proxy", "linkerd-init", "linkerd-network-validator", "linkerd-proxy")
_SOCKET = {"name": "NOTIFY_SOCKET", "value": f"{RUN}/notify.sock"}


class WrittenByHandError(Exception):
    """Raised for a pod with a gatekeeper that somebody has written: theirs is left as it is."""


def puts_for(template: Template, asked: Asked) -> Iterator[Put]:
    """Give all that a pod lacks; raises `BadTemplateError` and `WrittenByHandError`."""
    inits = containers(template, "initContainers")
    at = _ours(inits, template)
    _refuse_left(template, asked)
    wanted = gate_of(template, asked)
    if at is None:
        yield Put(template.spec, "initContainers", [wanted], _place(inits, asked), before="containers")
    elif not means(inits[at], wanted):
        yield Put(template.spec, "initContainers", [wanted], at, 1)
    if asked.mode != WAIT:
        yield from _named(template.spec, "volumes", {"name": NAME, "emptyDir": {}})
    if asked.mode == WRAP:
        yield from _wrap(_neighbour(template, asked), asked)
    elif asked.container:
        neighbour = _neighbour(template, asked)
        yield from _named(neighbour, "env", _SOCKET)
        yield from _mounted(neighbour, RUN)


def neighbour_of(template: Template, asked: Asked) -> Node | None:
    """Return the container that is wrapped, or heard; None where none is."""
    return _neighbour(template, asked) if asked.mode == WRAP or asked.container else None


def _ours(inits: tuple[Node, ...], template: Template) -> int | None:
    """Return which of the init containers is ours, None where none is."""
    mains = [each for each in containers(template) if text_at(each.real, "name") == NAME]
    if mains:
        message = f"a container has the name {NAME} already: give it another"
        raise BadTemplateError(message, mains[0].start)
    named = [number for number, each in enumerate(inits) if text_at(each.real, "name") == NAME]
    if not named:
        return None
    ours = inits[named[0]]
    args = path(ours, "args")
    first = args.real.items[0].real.text if args and args.real.items else ""
    if len(named) > 1 or first not in ("wait", "serve", "install") or path(ours, "command"):
        message = f"an init container has the name {NAME} and is none of ours: give it another"
        raise BadTemplateError(message, ours.start)
    env = path(ours, "env")
    declares = any(text_at(each, "name") == DECLARES for each in env.real.items) if env else False
    if first != "install" and not declares:
        raise WrittenByHandError
    return named[0]


def _refuse_left(template: Template, asked: Asked) -> None:
    """Refuse what another shape has left in a container, where this one would not take it along."""
    for each in containers(template):
        name = text_at(each.real, "name")
        if _wrapped(each) and asked.mode != WRAP:
            message = f"{name} is wrapped already: take {AGENT} out of its command, or say --wrap"
            raise BadTemplateError(message, each.start)
        if _hears(each) and (asked.mode != SIDECAR or name != asked.container):
            how = f"take it out of its env, or say --native-sidecar={name}"
            message = f"{name} has the NOTIFY_SOCKET of a sidecar: {how}"
            raise BadTemplateError(message, each.start)


def _place(inits: tuple[Node, ...], asked: Asked) -> int:
    """Return before which init container ours goes: the first, for the others may need the same; behind a mesh's."""
    if asked.last:
        return len(inits)
    return max((number for number, each in enumerate(inits, 1) if text_at(each.real, "name") in _MESH), default=0)


def _wrap(container: Node, asked: Asked) -> Iterator[Put]:
    name = text_at(container, "name")
    command = path(container, "command")
    if command is None and any(key.tag == "merge" for key, _ in container.entries):
        message = f"container {name} has no command but what may come from <<: write it out here"
        raise BadTemplateError(message, container.start)
    if command is None or command.real.what != "sequence" or not command.real.items:
        message = (
            f"container {name} has no command, so that its image says what runs, which is not known here: "
            "write the image's ENTRYPOINT as command (and its CMD as args, where the manifest has none)"
        )
        raise BadTemplateError(message, container.start)
    words = [AGENT, "wait", *map(for_kubelet, (*asked.options, *asked.lines)), "--"]
    old = [item.real.text for item in command.real.items]
    ours = old[: old.index("--") + 1] if _wrapped(container) and "--" in old else []
    if ours != words:
        yield Put(container, "command", words, 0, len(ours))
    yield from _mounted(container, FOLDER)


def _wrapped(container: Node) -> bool:
    command = path(container, "command")
    return bool(command and command.real.items and command.real.items[0].real.text == AGENT)


def _hears(container: Node) -> bool:
    env = path(container, "env")
    return any(means(each, _SOCKET) for each in env.real.items) if env else False


def _mounted(container: Node, folder: str) -> Iterator[Put]:
    """Give what mounts our folder, where nobody mounts something else, over it or into it."""
    mounts = path(container, "volumeMounts")
    for each in mounts.real.items if mounts else ():
        there = text_at(each, "mountPath").rstrip("/")
        if text_at(each, "name") != NAME and (there == folder or there.startswith(f"{folder}/")):
            message = f"{text_at(each, 'name')} is mounted at {there}, where gatekeeper's files go: mount it elsewhere"
            raise BadTemplateError(message, each.start)
    yield from _named(container, "volumeMounts", {"name": NAME, "mountPath": folder})


def _neighbour(template: Template, asked: Asked) -> Node:
    """Return the container that is meant: the one that is named, or the first."""
    mains = containers(template)
    found = [each for each in mains if not asked.container or text_at(each.real, "name") == asked.container]
    if not found:
        names = ", ".join(text_at(each.real, "name") for each in mains)
        message = f"{template.title} has no container {asked.container}: it has {names or 'none'}"
        raise BadTemplateError(message, template.spec.start)
    if found[0].target:
        message = "this container is an alias: write it out here"
        raise BadTemplateError(message, found[0].start)
    return found[0]


def _named(owner: Node, key: str, item: dict[str, Any]) -> Iterator[Put]:
    """Give what makes a list hold this item, instead of one of the same name."""
    value = path(owner, key)
    for number, each in enumerate(value.real.items if value else ()):
        if text_at(each, "name") != item["name"] or (key == "volumeMounts" and not _same_folder(each, item)):
            continue
        if not means(each, item):
            if key != "volumeMounts":
                what = "a volume has" if key == "volumes" else "a variable has"
                message = f"{what} the name {item['name']} and is none of ours: give it another"
                raise BadTemplateError(message, each.start)
            yield Put(owner, key, [item], number, 1)
        return
    last = len(value.real.items) if value and not value.target else 0
    yield Put(owner, key, [item], last)


def _same_folder(mount: Node, item: dict[str, Any]) -> bool:
    return text_at(mount, "mountPath") in (item["mountPath"], FOLDER, RUN)
