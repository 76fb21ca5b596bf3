"""References in a text: ``${NAME}``, ``${NAME:-fallback}`` and ``$(NAME)`` replaced from the environment.

``${$.metadata.name}`` and the other paths of the downward API are replaced from the pod, as far as that is known.

Works on words that are already split, so that a value never becomes syntax, and replaces once: what came out of a
variable is not read again. Messages name variables and never show a value or a fallback.
"""

import re
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from gatekeeper.declaration import Given, Problem
from gatekeeper.values import quoted

if TYPE_CHECKING:
    from gatekeeper.declare.downward import Api, Pod

PODINFO = "/etc/podinfo"  # where the Kubernetes documentation mounts a downward API volume

_REFERENCE = re.compile(r"\$(?:(\$)|\{([^{}]*)\}|\(([^()]*)\)|[{(])")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_KUBELET_NAME = re.compile(r"[A-Za-z_.-][A-Za-z0-9_.-]*", re.ASCII)

_PATH = re.compile(r"(?:\$\.?)?((?:metadata|spec|status|limits|requests)\..*)", re.DOTALL)


class Surroundings(dict[str, str]):
    """The environment of a process that runs in the pod itself: the files around it tell of the pod."""

    def __init__(
        self, variables: Mapping[str, str], named: Callable[[], Given | None], api: "Api | None" = None
    ) -> None:
        """Take the variables, what says which option names the folder, and what asks the API server for the pod."""
        super().__init__(variables)
        self._named = named
        self._api = api

    @cached_property
    def pod(self) -> "Pod":
        """The pod, read when it is asked for something."""
        from gatekeeper.declare.downward import Pod  # noqa: PLC0415 - most runs refer to no field

        return Pod(self, self._named(), self._api)


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
    if inside.startswith("$") or _PATH.fullmatch(name):
        return _of_pod(name, fallback.replace("$$", "$") if separator else None, environ)
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
    if name.startswith("$"):
        message = f"$({quoted(name)[1:-1]}): the paths of the downward API stand in braces: write ${{$.metadata.name}}"
        raise _UnresolvedError(message)
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


def _of_pod(written: str, fallback: str | None, environ: Mapping[str, str]) -> str:
    from gatekeeper.declare import downward  # noqa: PLC0415 - most texts refer to no field
    from gatekeeper.values import nearest  # noqa: PLC0415 - as above

    match = _PATH.fullmatch(written)
    path = match[1] if match else written.lstrip("$.")
    shown = f"${{{quoted(written)[1:-1]}}}"
    if not downward.known(path):
        paths = [*downward.FIELDS, "metadata.labels['KEY']", "metadata.annotations['KEY']"]
        hint = nearest(path, paths) or f"; known are {', '.join(paths)}"
        message = f"{shown} is no path of the downward API{hint}"
        raise _UnresolvedError(message)
    try:
        told = environ.pod.field(path) if isinstance(environ, Surroundings) else downward.outside(path, environ)
    except downward.NoFieldError as error:
        if fallback is None or isinstance(error, downward.UnreadableError):
            message = f"{shown}: {error}"
            raise _UnresolvedError(message) from None
        return fallback
    return told or fallback or ""


def _unclosed(opening: str) -> str:
    closing = {"${": "}", "$(": ")"}[opening]
    return (
        f"{opening} is not closed by {closing}, or holds another reference: close it, put quotes around a word "
        f"with spaces, and write ${opening} for a plain {opening}"
    )
