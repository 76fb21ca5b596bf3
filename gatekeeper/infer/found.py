"""A dependency on its way from variables to a declaration: what it is called, no two alike. Pure."""

import itertools
import re
from collections.abc import Iterable
from typing import NamedTuple

from gatekeeper.declaration import Declaration, Given, Target


class Found(NamedTuple):
    """A dependency on its way: what it is called, where else its name comes from, its targets, what tells it."""

    name: str
    other_name: str
    targets: tuple[str, ...]
    options: tuple[tuple[str, str], ...]
    variables: tuple[str, ...]
    note: str


def with_names(found: Iterable[Found]) -> list[tuple[str, Found]]:
    """Return each with a name of its own; one that is told twice in the same words is one."""
    named: dict[str, Found] = {}
    for each in found:
        name = each.name
        if name in named and named[name].targets == each.targets:
            together = (*named[name].variables, *each.variables)
            named[name] = named[name]._replace(variables=tuple(dict.fromkeys(together)))
            continue
        others = (f"{each.other_name[:60]}-{number}" for number in itertools.count(2))
        names = itertools.chain((name, each.other_name), others)
        named[next(free for free in names if free not in named)] = each
    return list(named.items())


def declaration_of(name: str, found: Found) -> Declaration:
    """Return what was found as a declaration of this name."""
    place = f"variable {found.variables[0]}"
    options = tuple(Given(key, (value,), place) for key, value in found.options)
    return Declaration(name, tuple(Target(target, (), place) for target in found.targets), options, place)


def dashed(stem: str) -> str:
    """Return a name of a dependency that is made of a piece of a variable's."""
    return re.sub(r"[^a-z0-9]+", "-", stem.lower())[:63].strip("-") or "variable"
