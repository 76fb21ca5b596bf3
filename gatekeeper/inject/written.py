"""Plain data as the text of a manifest: block style on lines of its own, or JSON where the manifest has brackets."""

import json
import re
from typing import Any

_PLAIN = re.compile(r"[0-9]+(?:m|Mi)|(?:--)?[A-Za-z/][A-Za-z0-9_./@=+,-]*(?::[A-Za-z0-9_./@=+,-]+)*", re.ASCII)
# What YAML 1.1 does not take for text, or a reader might not.
_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


def as_block(data: Any, indent: int) -> list[str]:  # noqa: ANN401 - plain data
    """Return the lines of a mapping, or of a list with its dashes, at an indentation."""
    lines: list[str] = []
    if isinstance(data, dict):
        for key, value in data.items():
            lines += _entry(key, value, indent)
        return lines
    for item in data:
        inner = as_block(item, indent + 2) if isinstance(item, dict) and item else [" " * (indent + 2) + _flat(item)]
        lines += [f"{' ' * indent}- {inner[0].lstrip(' ')}", *inner[1:]]
    return lines


def as_json(data: Any, step: str = "", margin: str = "") -> str:  # noqa: ANN401 - plain data
    """Return data as JSON: on one line, or each level a step deeper than the margin."""
    return json.dumps(data, ensure_ascii=False, indent=step or None).replace("\n", "\n" + margin)


def _entry(key: str, value: Any, indent: int) -> list[str]:  # noqa: ANN401 - plain data
    start = f"{' ' * indent}{_flat(key)}:"
    if isinstance(value, str) and "\n" in value and all(line.isprintable() for line in value.split("\n")):
        return [f"{start} |-", *(" " * (indent + 2) + line for line in value.split("\n"))]
    if isinstance(value, dict | list) and value:
        return [start, *as_block(value, indent + 2)]
    return [f"{start} {_flat(value)}"]


def _flat(value: Any) -> str:  # noqa: ANN401 - plain data
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)
