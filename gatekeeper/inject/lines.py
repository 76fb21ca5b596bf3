"""What was declared as the words of another gatekeeper: a dependency in one line, an option as arguments."""

import re
import shlex
from collections.abc import Iterable

from gatekeeper.declaration import Declaration, Given, Problem
from gatekeeper.declare.line import parse_line
from gatekeeper.options import spelled

_QUOTED = re.compile(r"[\s'\"\\]")


def as_arguments(given: Given) -> list[str]:
    """Return an option as ``wait`` takes it, once for each of its values."""
    return [f"{spelled(given.key)}={value}" for value in given.values] or [spelled(given.key)]


def as_line(declaration: Declaration, problems: list[Problem]) -> str:
    """Return a declaration in one line that says just the same."""
    place = declaration.origin
    shared = declaration.targets[0].options if declaration.targets else ()
    if any(_said(target.options) != _said(shared) for target in declaration.targets):
        problems.append(Problem(place, "has alternatives with options of their own, which no line can hold"))
    target = "|".join(target.url for target in declaration.targets)
    words = [f"{declaration.name}={target}" if declaration.name else target]
    for given in (*declaration.options, *shared):
        words += [f"{given.key}={value}" for value in given.values] or [given.key]
    line = " ".join(shlex.quote(word) if _QUOTED.search(word) else word for word in words)
    again = parse_line(line, place, [], None) if declaration.targets else None
    if "\n" in line:
        problems.append(Problem(place, "has a line break, which no line can hold: write it without"))
    elif again and (again.name, _urls(again), _said(again.options)) != (
        declaration.name,
        _urls(declaration),
        _said((*declaration.options, *shared)),
    ):
        problems.append(Problem(place, "cannot be written in one line: quote its target differently"))
    return line


def _urls(declaration: Declaration) -> list[str]:
    return [target.url for target in declaration.targets]


def _said(options: Iterable[Given]) -> list[tuple[str, tuple[str, ...]]]:
    return [(given.key, given.values) for given in options]
