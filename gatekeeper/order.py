"""Which dependency comes after which, and what is wrong with that: names that are not there, and circles."""

from collections.abc import Mapping, Sequence

from gatekeeper.declaration import Declaration, Given, Problem
from gatekeeper.options import COMMON
from gatekeeper.values import BadValueError, nearest, safe_target


def check_order(declared: Mapping[str, Declaration], problems: list[Problem]) -> None:
    """Add what is wrong with the order, whatever else is wrong with the dependencies."""
    said = {name: given for name, text in declared.items() for given in text.options if given.key == "after"}
    after = {name: _names(given) for name, given in said.items()}
    circles: list[set[str]] = []
    for name, given in said.items():
        for other in after[name]:
            if other not in declared:
                hint = nearest(other, declared) or f"; known are {', '.join(declared)}"
                problems.append(Problem(given.place, f"there is no dependency named {safe_target(other)}{hint}"))
        circle = _circle(name, after)
        if circle and set(circle) not in circles:
            circles.append(set(circle))
            problems.append(Problem(given.place, f"goes in a circle: {' after '.join(circle)}"))


def _circle(start: str, after: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the way from a dependency back to itself, or nothing."""
    seen: dict[str, str] = {}
    left = [start]
    while left:
        name = left.pop()
        for before in after.get(name, ()):
            if before == start:
                way = [start, name]
                while way[-1] != start:
                    way.append(seen[way[-1]])
                return way[::-1]
            if before not in seen:
                seen[before] = name
                left.append(before)
    return []


def _names(given: Given) -> tuple[str, ...]:
    try:
        names: tuple[str, ...] = COMMON["after"].read(given.values)
    except BadValueError:  # which is told where the dependency is read
        return ()
    return names
