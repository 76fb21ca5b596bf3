"""References in a text: ``${NAME}``, ``${NAME:-fallback}`` and ``$(NAME)`` replaced from the environment.

Works on words that are already split, so that a value never becomes syntax, and replaces once: what came out of a
variable is not read again. Messages name variables and never show a value or a fallback.
"""

import re
from collections.abc import Mapping

from gatekeeper.declaration import Problem
from gatekeeper.values import quoted

_REFERENCE = re.compile(r"\$(?:(\$)|\{([^{}]*)\}|\(([^()]*)\)|[{(])")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_KUBELET_NAME = re.compile(r"[A-Za-z_.-][A-Za-z0-9_.-]*", re.ASCII)


def substitute(text: str, environ: Mapping[str, str], place: str, problems: list[Problem]) -> str:
    """Return the text with its references replaced; ``$$`` is a dollar, and so is a ``$`` before anything else.

    A reference that cannot be replaced is added to the problems and left as it is.
    """

    def replaced(match: re.Match[str]) -> str:
        dollar, braced, bracketed = match.groups()
        try:
            if dollar:
                return "$"
            if braced is not None:
                return _braced(braced, environ)
            if bracketed is not None:
                return _bracketed(bracketed, environ)
            raise _UnresolvedError(_unclosed(match[0]))
        except _UnresolvedError as error:
            problems.append(Problem(place, str(error)))
            return match[0]

    return _REFERENCE.sub(replaced, text)


class _UnresolvedError(Exception):
    """Raised for a reference that cannot be replaced; its message is for people."""


def _braced(inside: str, environ: Mapping[str, str]) -> str:
    name, separator, fallback = inside.partition(":-")
    _refuse_pod_paths(inside)
    if not _NAME.fullmatch(name):
        message = "${…} holds no name of a variable: write ${NAME} or ${NAME:-fallback}, and $${ for a plain ${"
        raise _UnresolvedError(message)
    if separator:
        return environ.get(name) or fallback.replace("$$", "$")
    if name not in environ:
        message = f"${{{name}}}: {name} is not set; set it or write ${{{name}:-fallback}}"
        raise _UnresolvedError(message)
    return environ[name]


def _bracketed(name: str, environ: Mapping[str, str]) -> str:
    _refuse_pod_paths(name)
    if not _KUBELET_NAME.fullmatch(name):
        message = "$(…) holds no name of a variable: no shell runs here; write $(NAME), and $$( for a plain $("
        raise _UnresolvedError(message)
    if name not in environ:
        message = (
            f"$({name}): {name} is not set, and the kubelet leaves $(…) unexpanded where the variable does not exist; "
            "set it, or name a Service by DNS"
        )
        raise _UnresolvedError(message)
    return environ[name]


def _refuse_pod_paths(inside: str) -> None:
    if inside.startswith("$"):
        message = (
            f"${{{quoted(inside)[1:-1]}}}: paths of the downward API are not available here; "
            "pass the field in a variable (fieldRef) and write ${NAME}"
        )
        raise _UnresolvedError(message)


def _unclosed(opening: str) -> str:
    closing = {"${": "}", "$(": ")"}[opening]
    return (
        f"{opening} is not closed by {closing}, or holds another reference: close it, put quotes around a word "
        f"with spaces, and write ${opening} for a plain {opening}"
    )
