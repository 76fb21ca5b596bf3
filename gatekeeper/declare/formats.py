"""Text in JSON or TOML (and YAML, by its neighbour) to a tree; what the tree means is not known here.

A tree is a scalar, a list, or a mapping: a dict, or `Pairs` where a key may stand twice. Numbers stay the text that
was written wherever the parser lets them. Nothing is loaded for a format that is not read.
"""

import re
from datetime import date, time
from typing import Any, NamedTuple

DEEPEST = 32
NESTS = f"nests more than {DEEPEST} levels deep: a plan needs 5"
_KEY = r"""(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')"""
_LONG_KEY = re.compile(rf"(?<![A-Za-z0-9_.\"'-]){_KEY}(?:[ \t]*+\.[ \t]*+{_KEY}){{{DEEPEST}}}")


class Pairs(NamedTuple):
    """A mapping as it was written: a key may stand in it twice."""

    entries: list[tuple[str, Any]]


class Unusable(NamedTuple):
    """A scalar that no plan can hold; the message says what would be right."""

    message: str


class NotReadableError(Exception):
    """Raised for text that is not of its format, with the place in it as ``line 3, column 5`` (empty for the whole)."""

    def __init__(self, message: str, where: str = "") -> None:
        """Take one line for people."""
        super().__init__(message)
        self.where = where


def read_tree(text: str, suffix: str) -> Any:  # noqa: ANN401 - a tree has as many types as the formats
    """Return the tree of a text; raises `NotReadableError`. ``suffix`` is one of .yaml, .yml, .json and .toml."""
    try:
        return {".json": _json, ".toml": _toml}.get(suffix, _yaml)(text)
    except RecursionError:
        raise NotReadableError(NESTS) from None


def text_of(scalar: Any) -> str | Unusable | None:  # noqa: ANN401 - a scalar of any format
    """Return a scalar as the user wrote it, None for one that says nothing."""
    if scalar is None or isinstance(scalar, str | Unusable):
        return scalar
    if isinstance(scalar, bool):
        return str(scalar).lower()
    if isinstance(scalar, date | time):  # a datetime is a date
        return Unusable("is a date or time: write a duration such as 30s, or put quotes around a text")
    return str(scalar)


def position(text: str, index: int) -> str:
    """Return where an index of the text is, as ``line 3, column 5``."""
    line = text.count("\n", 0, index) + 1
    return f"line {line}, column {index - text.rfind(chr(10), 0, index)}"


def _json(text: str) -> Any:  # noqa: ANN401 - a tree
    import json  # noqa: PLC0415 - not needed for a plan in another format

    try:
        return json.loads(text, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=Pairs)
    except json.JSONDecodeError as error:
        problem = f"is no JSON: {_lower(error.msg)}"
        raise NotReadableError(problem, f"line {error.lineno}, column {error.colno}") from None


def _toml(text: str) -> Any:  # noqa: ANN401 - a tree
    import tomllib  # noqa: PLC0415 - not needed for a plan in another format

    # tomllib's time grows with the square of a dotted key's parts.
    long = _LONG_KEY.search(text)
    if long:
        raise NotReadableError(NESTS, position(text, long.start()))
    try:
        return tomllib.loads(text, parse_float=str)
    except ValueError as error:  # also for an integer of more digits than Python reads
        message, _, where = str(error).partition(" (at ")
        problem = f"is no TOML: {_lower(message)}"
        if message == "Cannot overwrite a value":
            problem = "has a key twice: keep one"
        elif not isinstance(error, tomllib.TOMLDecodeError):
            problem = "has a number of too many digits: write a shorter one"
        raise NotReadableError(problem, where.rstrip(")") if where.startswith("line") else "") from None


def _yaml(text: str) -> Any:  # noqa: ANN401 - a tree
    from gatekeeper.declare.yaml_nodes import read_yaml  # noqa: PLC0415 - loads the parser, only for a plan in YAML

    return read_yaml(text)


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
