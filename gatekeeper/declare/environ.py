"""Declarations in a text of many lines, as ``GATEKEEPER_DEPENDENCIES`` holds them. Reads no environment itself."""

from collections.abc import Mapping

from gatekeeper.declaration import Declaration, Problem
from gatekeeper.declare.line import parse_line
from gatekeeper.declare.substitute import substitute

__all__ = ["dependencies_of", "substitute"]


def dependencies_of(
    text: str,
    problems: list[Problem],
    environ: Mapping[str, str] | None = None,
    place: str = "GATEKEEPER_DEPENDENCIES",
) -> tuple[Declaration, ...]:
    """Return the dependencies of a text: one a line; blank lines and ``#`` lines say nothing."""
    declared = []
    for number, line in enumerate(text.split("\n"), 1):
        words = line.strip()
        if words and not words.startswith("#"):
            declared.append(parse_line(words, f"{place} line {number}", problems, environ))
    return tuple(declaration for declaration in declared if declaration is not None)
