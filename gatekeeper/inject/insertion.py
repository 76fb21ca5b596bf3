"""Items into the lists of a text: where they belong, in the style of what is around them, and nothing else changed.

Knows nothing of Kubernetes. What was put in is read again and compared, so that no mistake here can leave the house.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from gatekeeper.inject.meaning import NotPossibleError, Put, meaning_of
from gatekeeper.inject.tree import Node, read_documents
from gatekeeper.inject.written import as_block, as_json

_BREAK = re.compile(r"\r\n|\n|\r")


class _Change(NamedTuple):
    start: int
    end: int
    text: str
    depth: int = 0  # of lines behind the same place, the deeper ones come first: they end what the others are beside


def put_in(text: str, documents: Sequence[Node], puts: Sequence[Put]) -> str:
    """Return the text with everything put in; raises `NotPossibleError`."""
    changes = sorted(
        (change for put in puts for change in _changes(text, put)), key=lambda each: (each.start, each.end, -each.depth)
    )
    crossed = [later for earlier, later in pairwise(changes) if later.start < earlier.end]
    if crossed:
        message = "two additions meet at one place: write each key on a line of its own"
        raise NotPossibleError(message, crossed[0].start)
    parts, at = [], 0
    for start, end, new, _ in changes:
        parts += [text[at:start], new]
        at = end
    made = "".join([*parts, text[at:]])
    if puts:
        _verify(made, documents, puts)
    return made


def _verify(made: str, documents: Sequence[Node], puts: Sequence[Put]) -> None:
    wanted: dict[int, list[Put]] = {}
    for put in puts:
        wanted.setdefault(id(put.owner), []).append(put)
    expected = meaning_of(documents, wanted)
    try:
        got = meaning_of(read_documents(made), {})
    except NotPossibleError:
        raise
    except Exception:  # noqa: BLE001 - whatever it is that cannot be read
        got = []
    if got != expected:
        message = (
            "nothing can be added here that would change nothing else: write out what anchors share, "
            "and put each key on a line of its own"
        )
        raise NotPossibleError(message, puts[0].owner.start)


def _changes(text: str, put: Put) -> Iterable[_Change]:
    value = put.owner.get(put.key)
    merged = [each for name, each in put.owner.entries if name.tag == "merge"]
    if value is None and any(_brings(each.real, put.key) for each in merged):
        message = f"{put.key} comes from << and would be hidden by one of its own: write it out here"
        raise NotPossibleError(message, merged[0].start)
    if value is None:
        return [_new_key(text, put)]
    if value.target:
        message = f"{put.key} is an alias: write it out here"
        raise NotPossibleError(message, value.start)
    if not value.is_null and value.what != "sequence":
        message = f"{put.key} is no list"
        raise NotPossibleError(message, value.start)
    if value.items:
        return [_in_brackets(text, value, put) if value.flow else _in_block(text, value, put)]
    if put.owner.flow:
        gap = "" if text[value.start - 1 : value.start].isspace() else " "
        return [_Change(value.start, value.end, f"{gap}{as_json(list(put.items))}")]
    return _in_place_of_nothing(text, value, put)


def _brings(node: Node, key: str) -> bool:
    return node.get(key) is not None or any(_brings(each.real, key) for each in node.items)


def _in_place_of_nothing(text: str, value: Node, put: Put) -> list[_Change]:
    key = put.owner.key(put.key)
    assert key, "its value has been found"  # noqa: S101 - see _changes
    colon = text.rindex(":", key.end, value.start + (value.start == value.end))
    indent = _column(text, key.start) + _offset(text, put.owner)
    return [_Change(colon + 1, value.end, ""), _lines(text, _behind(text, value.end), as_block(put.items, indent))]


def _in_block(text: str, value: Node, put: Put) -> _Change:
    lines = as_block(put.items, _column(text, value.inside))
    if put.instead:
        first, last = value.items[put.at], value.items[put.at + put.instead - 1]
        start, end = _line_of(text, first), _behind(text, last.end)
        brk = _break_of(text)
        return _Change(start, end, brk.join(lines) + (brk if text[end - 1] in "\r\n" else ""))
    if put.at:
        return _lines(text, _behind(text, value.items[put.at - 1].end), lines)
    key = put.owner.key(put.key)
    assert key, "its value has been found"  # noqa: S101 - see _changes
    return _lines(text, _behind(text, key.end), lines)


def _in_brackets(text: str, value: Node, put: Put) -> _Change:
    first = value.items[0]
    gap = text[value.inside : first.start]
    spread = bool(_BREAK.search(gap)) and not gap.strip()
    step, margin = _steps(text, value.inside, first.start) if spread else ("", "")
    texts = [as_json(item, step if isinstance(item, dict) else "", margin) for item in put.items]
    new = _with_breaks_of(text, (("," + gap) if spread else ", ").join(texts))
    joint = "," + gap if spread else ", "
    if put.instead:
        return _Change(value.items[put.at].start, value.items[put.at + put.instead - 1].end, new)
    if put.at:
        end = value.items[put.at - 1].end
        return _Change(end, end, joint + new)
    return _Change(first.start, first.start, new + joint)


def _new_key(text: str, put: Put) -> _Change:
    if put.owner.flow:
        return _new_key_in_braces(text, put)
    indent = _column(text, put.owner.entries[0][0].start)
    lines = [f"{' ' * indent}{put.key}:", *as_block(put.items, indent + _offset(text, put.owner))]
    names = [name for name, _ in put.owner.entries]
    number = next((at for at, name in enumerate(names) if name.text == put.before), None)
    if number is not None:
        start = names[number].start
        line = start - _column(text, start)
        if not text[line:start].strip(" "):
            least = put.owner.entries[number - 1][1].end if number else 0
            return _lines(text, _above_comments(text, line, indent, least), lines)
    return _lines(text, _behind(text, put.owner.end), lines)


def _new_key_in_braces(text: str, put: Put) -> _Change:
    owner = put.owner
    if not owner.entries:
        return _Change(owner.inside, owner.inside, as_json({put.key: list(put.items)})[1:-1])
    first = owner.entries[0][0]
    gap = text[owner.inside : first.start]
    spread = bool(_BREAK.search(gap)) and not gap.strip()
    step, margin = _steps(text, owner.inside, first.start) if spread else ("", "")
    new = f"{as_json(put.key)}: {_with_breaks_of(text, as_json(list(put.items), step, margin))}"
    return _Change(first.start, first.start, new + ("," + gap if spread else ", "))


def _above_comments(text: str, line: int, indent: int, least: int) -> int:
    """Return where the comments begin that stand right above a line, as deep as it: they belong to it."""
    while line:
        end = line - 2 if text[line - 2 : line] == "\r\n" else line - 1
        start = end - _column(text, end)
        if start < least or not text.startswith(" " * indent + "#", start, end):
            break
        line = start
    return line


def _lines(text: str, at: int, lines: Sequence[str]) -> _Change:
    brk = _break_of(text)
    block, depth = brk.join(lines), len(lines[0]) - len(lines[0].lstrip(" "))
    if at and text[at - 1] not in "\r\n":  # the last line, which nothing ends
        return _Change(at, at, brk + block, depth)
    return _Change(at, at, block + brk, depth)


def _behind(text: str, end: int) -> int:
    """Return where the line after a place begins; the place itself where a line begins there."""
    if end and text[end - 1] in "\r\n":
        return end
    found = _BREAK.search(text, end)
    return found.end() if found else len(text)


def _line_of(text: str, item: Node) -> int:
    """Return where the line begins on which the dash of an item stands."""
    line = item.start - _column(text, item.start)
    if not re.fullmatch(r" *- +", text[line : item.start]):
        message = "this item does not begin on a line of its own: write its dash before it, on its line"
        raise NotPossibleError(message, item.start)
    return line


def _offset(text: str, owner: Node) -> int:
    """Return how much deeper than its key a list of this mapping is written."""
    for key, value in owner.entries:
        if value.what == "sequence" and value.items and not value.flow:
            return max(0, _column(text, value.inside) - _column(text, key.start))
    return 2


def _column(text: str, index: int) -> int:
    line = text.rfind("\n", 0, index) + 1
    return index - max(line, text.rfind("\r", line, index) + 1)


def _steps(text: str, inside: int, first: int) -> tuple[str, str]:
    """Return what a level is deeper than the one around it, and the margin of the first thing within brackets."""
    margin = text[first - _column(text, first) : first]
    line = text[inside - _column(text, inside) : inside]
    around = len(line) - len(line.lstrip())
    return margin[around:] or " ", margin


def _break_of(text: str) -> str:
    found = _BREAK.search(text)
    return found[0] if found else "\n"


def _with_breaks_of(text: str, new: str) -> str:
    return re.sub(r"(?<!\r)\n", _break_of(text), new)
