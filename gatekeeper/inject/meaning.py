"""Nodes as what they mean, without style, order of keys, comments and anchors; and with what is put into them.

So that a text with an addition can be compared with the text before: what is not the same was not to be changed.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gatekeeper.inject.tree import Node

_LARGEST = 2_000_000  # of what aliases may make of a text, in nodes


class Put(NamedTuple):
    """Items that a list of a mapping gets, before the item ``at``, instead of so many of those that stand there.

    Where the mapping has no such list, the key is put before the key ``before``, or behind all others.
    """

    owner: Node
    key: str
    items: Sequence[Any]
    at: int = 0
    instead: int = 0
    before: str = ""


class NotPossibleError(Exception):
    """Raised where the text cannot take an addition as it is written; ``index`` is where."""

    def __init__(self, message: str, index: int) -> None:
        """Take one line for people."""
        super().__init__(message)
        self.index = index


def meaning_of(documents: Sequence[Node], puts: Mapping[int, Sequence[Put]]) -> list[Any]:
    """Return documents as trees of tuples; ``puts`` are counted in, by the id of the mapping that owns their list.

    Raises `NotPossibleError` for what aliases make too large.
    """
    return [_Reader().of(root, puts) for root in documents]


def means(node: Node, data: Any) -> bool:  # noqa: ANN401 - plain data
    """Tell whether a node says just this."""
    return bool(_Reader().of(node, {}) == _of_data(data))


class _Reader:
    def __init__(self) -> None:
        self.left = _LARGEST

    def of(self, node: Node, puts: Mapping[int, Sequence[Put]]) -> Any:  # noqa: ANN401 - a tree of tuples
        self.left -= 1
        if self.left < 0:
            message = "grows too large when its aliases are replaced: split it"
            raise NotPossibleError(message, node.start)
        if node.target:
            return self.of(node.target, {})
        if node.what == "scalar":
            return (node.tag, node.text if node.tag != "null" else "")
        if node.what == "sequence":
            return ("list", node.tag, *(self.of(item, puts) for item in node.items))
        entries = [(self.of(key, puts), self.of(value, puts)) for key, value in node.entries]
        for put in puts.get(id(node), ()):
            _add(entries, put)
        return ("mapping", node.tag, *sorted(entries, key=lambda entry: repr(entry[0])))


def _add(entries: list[tuple[Any, Any]], put: Put) -> None:
    new = [_of_data(item) for item in put.items]
    for number, (key, value) in enumerate(entries):
        if key == ("str", put.key):
            old = list(value[2:]) if value[0] == "list" else []
            tag = value[1] if old else ""
            entries[number] = (key, ("list", tag, *old[: put.at], *new, *old[put.at + put.instead :]))
            return
    entries.append((("str", put.key), ("list", "", *new)))


def _of_data(data: Any) -> Any:  # noqa: ANN401 - plain data to a tree of tuples
    if isinstance(data, dict):
        entries = [(("str", key), _of_data(value)) for key, value in data.items()]
        return ("mapping", "", *sorted(entries, key=lambda entry: repr(entry[0])))
    if isinstance(data, list | tuple):
        return ("list", "", *map(_of_data, data))
    if isinstance(data, bool):
        return ("bool", str(data).lower())
    return ("int", str(data)) if isinstance(data, int) else ("str", data)
