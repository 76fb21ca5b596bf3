"""Declarations in the environment: the lines of ``GATEKEEPER_DEPENDENCIES``. Is given the environment, reads none."""

from collections.abc import Mapping

from gatekeeper.declaration import Declaration, Problem
from gatekeeper.declare.line import parse_line
from gatekeeper.declare.substitute import substitute

__all__ = ["dependencies_of", "substitute"]


def dependencies_of(
    text: str, problems: list[Problem], environ: Mapping[str, str] | None = None
) -> tuple[Declaration, ...]:
    """Return the dependencies of ``GATEKEEPER_DEPENDENCIES``: one a line; blank lines and ``#`` lines say nothing."""
    declared = []
    for number, line in enumerate(text.split("\n"), 1):
        words = line.strip()
        if words and not words.startswith("#"):
            declared.append(parse_line(words, f"GATEKEEPER_DEPENDENCIES line {number}", problems, environ))
    return tuple(declaration for declaration in declared if declaration is not None)
