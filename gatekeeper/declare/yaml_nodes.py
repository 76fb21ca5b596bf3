"""YAML to a tree: nodes are composed and never constructed, so that every scalar is the text that was written.

None of YAML 1.1's surprises exist here (``no``, ``1:30``, ``0200``), and no tag makes an object. The only module that
knows PyYAML.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import yaml
from yaml.composer import Composer
from yaml.parser import Parser
from yaml.reader import Reader, ReaderError
from yaml.resolver import BaseResolver, Resolver
from yaml.scanner import Scanner

from gatekeeper.declare.formats import DEEPEST, NESTS, NotReadableError, Pairs, Unusable, position
from gatekeeper.values import quoted

# What a person would wait for: composing takes some 40 microseconds a node.
_MOST_NODES = 100_000
# What aliases may make of a text; each node and each character costs one, and 1 MiB without aliases costs less.
_LARGEST = 2 * 1024 * 1024
_PREFIX = "tag:yaml.org,2002:"
_NULL = ("", "~", "null", "Null", "NULL")
_PLAIN_TAGS = {
    yaml.ScalarNode: BaseResolver.DEFAULT_SCALAR_TAG,
    yaml.SequenceNode: BaseResolver.DEFAULT_SEQUENCE_TAG,
    yaml.MappingNode: BaseResolver.DEFAULT_MAPPING_TAG,
}


def read_yaml(text: str) -> Any:  # noqa: ANN401 - a tree
    """Return the tree of the one document in a text, None for an empty one; raises `NotReadableError`."""
    with _readable(text):
        root = _Composer(text).get_single_node()
    return None if root is None else _Expansion().tree(root, 1)


class Event(NamedTuple):
    """What a YAML text holds at a place: the start of something, all of a scalar or of an alias, or an end.

    ``start`` and ``end`` count characters from the beginning of the text. A collection's ``end`` is where its inside
    begins. ``value`` is the text of a scalar and the anchor that an alias names, ``tag`` what YAML 1.1 takes a scalar
    for, without its prefix (str, int, bool, null …).
    """

    what: str
    start: int
    end: int
    value: str = ""
    tag: str = ""
    anchor: str | None = None
    flow: bool = False


def read_events(text: str) -> Iterator[Event]:
    """Give what a text of any number of documents holds, in order; raises `NotReadableError`."""
    resolver = Resolver()
    with _readable(text):
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            assert event.start_mark, "made by the parser"  # noqa: S101 - optional for events that somebody emits
            assert event.end_mark, "as above"  # noqa: S101 - as above
            start, end = event.start_mark.index, event.end_mark.index
            if isinstance(event, yaml.ScalarEvent):
                tag = event.tag or resolver.resolve(yaml.ScalarNode, event.value, event.implicit)  # type: ignore[no-untyped-call]
                yield Event("scalar", start, end, event.value, tag.removeprefix(_PREFIX), event.anchor)
            elif isinstance(event, yaml.AliasEvent):
                yield Event("alias", start, end, event.anchor or "")
            elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                what = "mapping" if isinstance(event, yaml.MappingStartEvent) else "sequence"
                flow = bool(event.flow_style)
                # Of a list that stands no deeper than its key, PyYAML has the end of its first dash instead.
                inside = end - 1 if event.flow_style is None else end
                yield Event(what, start, inside, "", (event.tag or "").removeprefix(_PREFIX), event.anchor, flow)
            elif isinstance(event, yaml.DocumentStartEvent):
                yield Event("document", start, end)
            elif isinstance(event, yaml.CollectionEndEvent):
                yield Event("end", start, end)


@contextmanager
def _readable(text: str) -> Iterator[None]:
    """Turn whatever PyYAML raises into `NotReadableError`."""
    try:
        yield
    except ReaderError as error:
        message = f"is no YAML: the character U+{error.character:04X} is not allowed"
        raise NotReadableError(message, position(text, error.position)) from None
    except yaml.MarkedYAMLError as error:
        raise NotReadableError(_message(error), _where(error.problem_mark)) from None
    except (ValueError, OverflowError):  # out of PyYAML's scanner, for \UFFFFFFFF and a %YAML of many digits
        message = "is no YAML: a number in an escape or a directive is too large"
        raise NotReadableError(message) from None


class _Composer(Reader, Scanner, Parser, Composer, BaseResolver):
    """PyYAML's composer with no resolver of implicit types, and with an end to nesting."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)
        self.depth = self.nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:  # noqa: ANN401 - as PyYAML has it
        if self.depth > DEEPEST:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # as PyYAML has it
            raise NotReadableError(NESTS, _where(mark))
        self.nodes += 1
        if self.nodes > _MOST_NODES:
            message = f"holds more than {_MOST_NODES} keys and values: split it"
            raise NotReadableError(message)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Expansion:
    """Nodes to a tree with aliases replaced, bounded in size: a few aliases of aliases can stand for billions."""

    def __init__(self) -> None:
        self.left = _LARGEST

    def tree(self, node: yaml.Node, depth: int) -> Any:  # noqa: ANN401 - a tree
        if depth > DEEPEST:
            message = f"{NESTS} (is an alias within its own anchor?)"
            raise NotReadableError(message, _where(node.start_mark))
        self._pay(1, node)
        if node.tag != _PLAIN_TAGS[type(node)]:
            return Unusable(f"has the tag {_shown_tag(node.tag)}: remove it, every value is text here")
        if isinstance(node, yaml.MappingNode):
            return self._pairs(node, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.tree(item, depth + 1) for item in node.value]
        self._pay(len(node.value), node)
        return None if _is_plain(node) and node.value in _NULL else node.value

    def _pairs(self, node: yaml.MappingNode, depth: int) -> Pairs:
        own: list[tuple[str, Any]] = []
        merged: dict[str, Any] = {}
        for key, value in node.value:
            tree = self.tree(value, depth + 1)
            if _is_plain(key) and key.value == "<<":
                for entry in _entries(tree, key):
                    merged.setdefault(*entry)
            else:
                own.append((self._key(key), tree))
        keys = {key for key, _ in own}
        return Pairs(own + [(key, value) for key, value in merged.items() if key not in keys])

    def _key(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode) or node.tag != BaseResolver.DEFAULT_SCALAR_TAG:
            message = "has a key that is not text: write a name"
            raise NotReadableError(message, _where(node.start_mark))
        self._pay(1 + len(node.value), node)
        return str(node.value)

    def _pay(self, cost: int, node: yaml.Node) -> None:
        self.left -= cost
        if self.left < 0:
            message = "grows too large when its aliases are replaced: write it out, or split it"
            raise NotReadableError(message, _where(node.start_mark))


def _entries(tree: Any, key: yaml.Node) -> list[tuple[str, Any]]:  # noqa: ANN401 - a tree
    # What a `<<` brings: where several mappings have a key, the first one's value holds (YAML 1.1, merge keys).
    if isinstance(tree, Pairs):
        return tree.entries
    if isinstance(tree, list) and all(isinstance(item, Pairs) for item in tree):
        return [entry for item in tree for entry in item.entries]
    message = "merges by << what is no mapping: write <<: *ALIAS with the alias of a mapping"
    raise NotReadableError(message, _where(key.start_mark))


def _is_plain(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and not node.style


def _message(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "cannot be parsed"
    if problem == "but found another document":
        return "holds several documents: keep one"
    return f"is no YAML: {problem}{f' ({error.context})' if error.context else ''}"


def _where(mark: yaml.Mark | None) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""


def _shown_tag(tag: str) -> str:
    return quoted(tag.replace(_PREFIX, "!!")).strip("'")
