"""A text of YAML documents (JSON is YAML) as nodes that know where they stand. Changes nothing, constructs nothing."""

from collections.abc import Iterator
from dataclasses import dataclass

from gatekeeper.declare.formats import NotReadableError, position
from gatekeeper.declare.yaml_nodes import Event, read_events

_DEEPEST = 200


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """A scalar, sequence, mapping or alias. ``inside`` is where the inside of a collection begins.

    Of a block collection, ``end`` is that of its last content: comments behind it are nobody's. An alias has what it
    stands for as ``target``.
    """

    what: str
    start: int
    inside: int
    end: int
    text: str = ""
    tag: str = ""
    flow: bool = False
    items: "tuple[Node, ...]" = ()
    entries: "tuple[tuple[Node, Node], ...]" = ()
    target: "Node | None" = None

    def get(self, key: str) -> "Node | None":
        """Return the value of a key of this mapping, None where it has none; an alias stays one."""
        found = [value for name, value in self.entries if name.what == "scalar" and name.text == key]
        return found[0] if found else None

    def key(self, key: str) -> "Node | None":
        """Return the key itself."""
        found = [name for name, _ in self.entries if name.what == "scalar" and name.text == key]
        return found[0] if found else None

    @property
    def real(self) -> "Node":
        """Return what an alias stands for, and anything else itself."""
        return self.target.real if self.target else self

    @property
    def is_null(self) -> bool:
        """Tell whether nothing is here."""
        return self.what == "scalar" and self.tag == "null"


def read_documents(text: str) -> list[Node]:
    """Return the root of each document; raises `NotReadableError`.

    JSON may be indented by tabs, and YAML may not: there a tab is a space, because no string of JSON can hold one.
    """
    if "\t" in text and _is_json(text):
        text = text.replace("\t", " ")
    events = read_events(text)
    return [_Document(text, events).node(next(events), 0) for event in events if event.what == "document"]


def _is_json(text: str) -> bool:
    import json  # noqa: PLC0415 - for what has a tab in it

    try:
        json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return False
    return True


class _Document:
    """Events to nodes; anchors hold within one document."""

    def __init__(self, text: str, events: Iterator[Event]) -> None:
        self.text, self.events = text, events
        self.anchors: dict[str, Node] = {}

    def node(self, event: Event, depth: int) -> Node:
        if depth > _DEEPEST:
            message = f"nests more than {_DEEPEST} levels deep: no manifest does"
            raise NotReadableError(message, position(self.text, event.start))
        if event.what == "alias":
            if event.value not in self.anchors:
                message = f"refers to the anchor {event.value!r}, which does not stand whole before it"
                raise NotReadableError(message, position(self.text, event.start))
            target = self.anchors[event.value]
            return Node("alias", event.start, event.end, event.end, event.value, target=target)
        node = self._collection(event, depth) if event.what in ("mapping", "sequence") else self._scalar(event)
        if event.anchor:
            self.anchors[event.anchor] = node
        return node

    def _scalar(self, event: Event) -> Node:
        return Node("scalar", event.start, event.end, event.end, event.value, event.tag)

    def _collection(self, event: Event, depth: int) -> Node:
        children: list[Node] = []
        end = event.end
        for inner in self.events:
            if inner.what == "end":
                end = inner.end if event.flow else max([event.end, *(child.end for child in children)])
                break
            children.append(self.node(inner, depth + 1))
        items = tuple(children) if event.what == "sequence" else ()
        pairs = () if items else tuple(zip(children[::2], children[1::2], strict=True))
        return Node(event.what, event.start, event.end, end, "", event.tag, event.flow, items, pairs)
