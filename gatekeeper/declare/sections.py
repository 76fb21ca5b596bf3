"""The tree of a plan file to declarations and settings: which key holds what, and where it stands.

Knows ``dependencies``, ``target`` and ``any``; every other key is an option of the gate or of a dependency, whatever
its name. Messages show keys and never values.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeGuard

from gatekeeper.declaration import Declaration, Given, Problem, Source, Target
from gatekeeper.declare.formats import Pairs, Unusable, text_of
from gatekeeper.declare.line import KEY, NAME, NAME_RULE, parse_line, read_targets, read_value
from gatekeeper.values import quoted


class _Context(NamedTuple):
    """Where the problems go, and what references are replaced from."""

    problems: list[Problem]
    environ: Mapping[str, str] | None

    def refuse(self, place: str, message: str) -> None:
        self.problems.append(Problem(place, message))


_Tree = Any
_Mapping = Pairs | dict[str, _Tree]


def read_sections(tree: _Tree, place: str, problems: list[Problem], environ: Mapping[str, str] | None) -> Source | None:
    """Return what the tree of a plan file says, or None where it is no mapping; adds every problem."""
    context = _Context(problems, environ)
    if not _is_mapping(tree):
        context.refuse(
            place, f"is {_what(tree)} where a mapping belongs: write dependencies: and under it NAME: TARGET"
        )
        return None
    entries = _entries(tree, place, ": ", context)
    declared = entries.pop("dependencies", {})
    settings = _given(entries, place, ": ", context)
    return Source(settings, _dependencies(declared, f"{place}: dependencies", context))


def _dependencies(tree: _Tree, place: str, context: _Context) -> tuple[Declaration, ...]:
    if not _is_mapping(tree):
        context.refuse(place, f"is {_what(tree)} where a mapping belongs: write NAME: TARGET under it")
        return ()
    entries = _entries(tree, place, ".", context)
    found = [_dependency(name, value, f"{place}.{_shown(name)}", context) for name, value in entries.items()]
    return tuple(declaration for declaration in found if declaration is not None)


def _dependency(name: str, tree: _Tree, place: str, context: _Context) -> Declaration | None:
    named = bool(NAME.fullmatch(name))
    if not named:
        context.refuse(place, f"is no name: {NAME_RULE}")
    if _is_mapping(tree):
        declaration = _long_form(tree, place, context)
    elif isinstance(tree, list):
        context.refuse(place, "is a list: write a target, or any: with a list under it")
        return None
    else:
        declaration = _line_form(tree, place, context)
    return declaration._replace(name=name if named else None) if declaration else None


def _line_form(tree: _Tree, place: str, context: _Context) -> Declaration | None:
    text = _scalar(tree, place, context)
    if text is None:
        return None
    declaration = parse_line(text, place, context.problems, context.environ)
    if declaration and declaration.name is not None:
        context.refuse(place, f"has the name {declaration.name} within its line: remove {declaration.name}=")
    return declaration


def _long_form(tree: _Mapping, place: str, context: _Context) -> Declaration | None:
    entries = _entries(tree, place, ".", context)
    written = entries.keys() & {"target", "any"}
    if len(written) != 1:
        problem = "has both target and any: keep one" if written else "has no target: write target: or any: under it"
        context.refuse(place, problem)
    target, alternatives = entries.pop("target", None), entries.pop("any", None)
    if len(written) != 1:
        targets: tuple[Target, ...] = ()
    elif "target" in written:
        targets = _target(target, f"{place}.target", context)
    else:
        targets = _alternatives(alternatives, f"{place}.any", context)
    options = _given(entries, place, ".", context)
    return Declaration(None, targets, options, place)


def _target(tree: _Tree, place: str, context: _Context) -> tuple[Target, ...]:
    if isinstance(tree, list) or _is_mapping(tree):
        context.refuse(place, f"is {_what(tree)} where one target belongs: write any: for several")
        return ()
    text = _scalar(tree, place, context)
    return () if text is None else read_targets(_unquoted(text), place, context.problems, context.environ)


def _alternatives(tree: _Tree, place: str, context: _Context) -> tuple[Target, ...]:
    if not isinstance(tree, list) or not tree:
        context.refuse(place, "is not a list of targets: write any: [tcp://a:1, tcp://b:1]")
        return ()
    before = len(context.problems)
    targets: list[Target] = []
    for index, item in enumerate(tree):
        targets += _alternative(item, f"{place}[{index}]", context)
    return tuple(targets) if len(context.problems) == before else ()


def _alternative(tree: _Tree, place: str, context: _Context) -> list[Target]:
    if isinstance(tree, list):
        context.refuse(place, "is a list: write a target, or a mapping with target")
        return []
    if _is_mapping(tree):
        entries = _entries(tree, place, ".", context)
        if "target" not in entries:
            context.refuse(place, "has no target: write target: under it")
        target = entries.pop("target", None)
        targets = _target(target, f"{place}.target", context) if target is not None else ()
        options = _given(entries, place, ".", context)
        return [Target(url, options, here) for url, _, here in targets]
    declaration = _line_form(tree, place, context)
    return [Target(url, declaration.options, here) for url, _, here in declaration.targets] if declaration else []


def _given(entries: dict[str, _Tree], place: str, joint: str, context: _Context) -> tuple[Given, ...]:
    found: dict[str, Given] = {}
    for written, tree in entries.items():
        here = f"{place}{joint}{_shown(written)}"
        key = written.replace("-", "_")
        if not KEY.fullmatch(written):
            context.refuse(here, "is no name of an option: write letters, digits and _")
        elif key in found:
            context.refuse(here, "is given twice, with - and with _: keep one")
        else:
            found[key] = Given(key, tuple(_values(tree, here, context)), here)
    return tuple(given for given in found.values() if given.values)


def _values(tree: _Tree, place: str, context: _Context) -> list[str]:
    if _is_mapping(tree):
        entries = _entries(tree, place, ".", context)
        if not entries:
            context.refuse(place, "is empty: write a value, or remove the key")
        return [
            f"{key}: {value}"
            for key, item in entries.items()
            for value in _flat_values(item, f"{place}.{_shown(key)}", context)
        ]
    return _flat_values(tree, place, context)


def _flat_values(tree: _Tree, place: str, context: _Context) -> list[str]:
    if tree == []:
        context.refuse(place, "is empty: write a value, or remove the key")
    if isinstance(tree, list):
        texts = [_text(item, f"{place}[{index}]", context) for index, item in enumerate(tree)]
    else:
        texts = [_text(tree, place, context)]
    return [text for text in texts if text is not None]


def _text(tree: _Tree, place: str, context: _Context) -> str | None:
    if isinstance(tree, list) or _is_mapping(tree):
        context.refuse(place, f"is {_what(tree)} where a single value belongs")
        return None
    text = _scalar(tree, place, context)
    return None if text is None else read_value(text, place, context.problems, context.environ)


def _scalar(tree: _Tree, place: str, context: _Context) -> str | None:
    text = text_of(tree)
    if isinstance(text, str):
        return text
    context.refuse(place, text.message if isinstance(text, Unusable) else "has no value: write one, or remove the key")
    return None


def _entries(tree: _Mapping, place: str, joint: str, context: _Context) -> dict[str, _Tree]:
    entries: dict[str, _Tree] = {}
    for key, value in tree.entries if isinstance(tree, Pairs) else tree.items():
        if key in entries:
            context.refuse(f"{place}{joint}{_shown(key)}", "is given twice: keep one")
        entries.setdefault(key, value)
    return entries


def _unquoted(target: str) -> str:
    # The line form needs quotes around a command; here they would make one word of it.
    command = target.removeprefix("exec:")
    quote = command[:1]
    if command != target and quote in ("'", '"') and command.endswith(quote) and quote not in command[1:-1]:
        return f"exec:{command[1:-1]}"
    return target


def _is_mapping(tree: _Tree) -> TypeGuard[_Mapping]:
    return isinstance(tree, Pairs | dict)


def _what(tree: _Tree) -> str:
    if tree is None:
        return "empty"
    return "a list" if isinstance(tree, list) else "a mapping" if _is_mapping(tree) else "a single value"


def _shown(key: str) -> str:
    return key if KEY.fullmatch(key) or NAME.fullmatch(key) else quoted(key)
