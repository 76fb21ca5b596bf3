"""The state of a container, as JSON on stdin (runtime-spec, runtime.md, State). Knows no annotation of ours by name.

runc and crun fill it differently: ``status`` is creating (runc) or created (crun) where the container is made, and
created (runc) or starting (crun) where it starts; ``pid`` is what the hook's own side sees, and crun's is 0 inside.
"""

import re
from typing import Any, NamedTuple, NoReturn

from gatekeeper.declaration import BadDeclarationError, Problem
from gatekeeper.declare.formats import NotReadableError, Pairs, read_tree
from gatekeeper.declare.reading import read_at_most
from gatekeeper.values import quoted

PLACE = "the state on stdin"
STOPPED = "stopped"
_STDIN = 0
_LARGEST = 1024 * 1024  # Kubernetes keeps a pod's annotations within 256 KiB
_PATIENCE = 5.0  # seconds; a runtime writes it at once


class State(NamedTuple):
    """What a hook is told; ``pid`` is None where there is none. Annotations stand as they came, twice if need be."""

    status: str
    pid: int | None
    bundle: str
    annotations: tuple[tuple[str, str], ...]


def read_state(descriptor: int = _STDIN) -> State:
    """Return the state; raises `BadDeclarationError` for what is none. Unknown fields say nothing."""
    try:
        data = read_at_most(_LARGEST + 1, descriptor, _PATIENCE)
    except TimeoutError:
        _refuse(f"gave no whole state within {_PATIENCE:g} s: an OCI runtime writes one, and closes it")
    except OSError as error:
        _refuse(f"cannot be read: {error.strerror}")
    if len(data) > _LARGEST:
        _refuse("is larger than 1 MiB: no state is")
    try:
        tree = read_tree(data.decode(), ".json")
    except UnicodeDecodeError:
        _refuse("is not UTF-8")
    except NotReadableError as error:
        where = f" ({error.where})" if error.where else ""
        _refuse(f"{error}{where}: an OCI runtime writes its state, and nobody else calls a hook")
    return _state(tree)


def _state(tree: Any) -> State:  # noqa: ANN401 - whatever JSON can hold
    if not isinstance(tree, Pairs):
        _refuse("is no JSON object")
    fields = dict(tree.entries)
    status, bundle = fields.get("status"), fields.get("bundle", "")
    if not isinstance(status, str) or not isinstance(bundle, str):
        _refuse("has no status, or a bundle that is no path")
    return State(status, _pid(fields.get("pid")), bundle, tuple(_annotations(fields.get("annotations"))))


def _pid(value: Any) -> int | None:  # noqa: ANN401 - whatever JSON can hold
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{1,10}", value):  # numbers are read as they were written
        _refuse("has a pid that is no process id")
    return int(value)


def _annotations(tree: Any) -> list[tuple[str, str]]:  # noqa: ANN401 - whatever JSON can hold
    if tree is None:
        return []
    if not isinstance(tree, Pairs):
        _refuse("has annotations that are no JSON object")
    for key, value in tree.entries:
        if not isinstance(value, str):
            _refuse(f"has an annotation {quoted(key)} that is no text")
    return tree.entries


def _refuse(message: str) -> NoReturn:
    raise BadDeclarationError([Problem(PLACE, message)]) from None
