"""The arguments of ``inject``: manifests, what a pod is to wait for, and how. Everything wrong with them at once.

References stay as they are, because only the pod can replace them. No variable of this process is looked at: what a
manifest holds must not depend on the shell that made it.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from gatekeeper.declaration import BadDeclarationError, Declaration, Given, Problem, Source
from gatekeeper.declare.argv import parse_arguments
from gatekeeper.inject.lines import as_arguments, as_line
from gatekeeper.inject.unresolved import ANYTHING, refusals, sources
from gatekeeper.options import GATE, INJECT, spelled
from gatekeeper.values import quoted

WAIT, SIDECAR, WRAP = "wait", "native-sidecar", "wrap"
_DEPENDENCY = re.compile(r"(?:[^=:/?]*=)?(?:[A-Za-z][A-Za-z0-9+.-]*://|exec:|\$[{(])", re.ASCII)
_HERE_ONLY = ("report", "ready_file", "output", "notify_fd", "status", "notify_socket", "pod_info", "stop_timeout")
_OF_SERVE = ("start_timeout", "watchdog", "keep_watching", "notify_uid", "notify_access")
_CNI_USERS = {"istio_cni": 1337, "linkerd_cni": 2102}  # whose traffic the meshes' rules leave alone
_IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._:/-]*(@sha256:[0-9a-f]{64})?", re.ASCII)


class Asked(NamedTuple):
    """What ``inject`` is to do: the manifests, the shape, and the words that the pod's gatekeeper gets."""

    files: tuple[str, ...]
    mode: str
    container: str
    image: str
    diff: bool
    only_annotated: bool
    last: bool
    user: int | None
    options: tuple[str, ...]
    declared: tuple[Declaration, ...]
    lines: tuple[str, ...]
    timeout: float | None


def read_words(argv: Sequence[str], stdin: bytes | None) -> Asked:
    """Return what the arguments ask for; raises `BadDeclarationError`. ``stdin`` is the plan of ``-f -``."""
    problems: list[Problem] = []
    own, files, words = _sorted(argv, problems)
    problems += refusals(words, stdin)
    unread: list[Problem] = []
    arguments, plan = sources(words, stdin, unread, None)
    problems += [problem for problem in unread if not _is_told(problem, problems)]
    declared = _merged([plan, arguments])
    settings = {given.key: given for source in (plan, arguments) for given in source.settings if given.key != "file"}
    mode = _mode(own, problems)
    _check_settings(settings.values(), mode, problems)
    asked = Asked(
        files=tuple(files) or ("-",),
        mode=mode,
        container=own.get("wrap" if mode == WRAP else "native_sidecar", "") if mode != WAIT else "",
        image=_image(own.get("image", ""), problems),
        diff="diff" in own,
        only_annotated="only_annotated" in own,
        last="last" in own,
        user=next((user for key, user in _CNI_USERS.items() if key in own), None),
        options=tuple(word for given in settings.values() for word in as_arguments(given)),
        declared=declared,
        lines=tuple(as_line(declaration, problems) for declaration in declared),
        timeout=None if problems else _timeout(settings.get("timeout")),
    )
    if problems:
        raise BadDeclarationError(list(dict.fromkeys(problems)))
    return asked


def wants_plan_on_stdin(argv: Sequence[str]) -> bool:
    """Tell whether the plan file is stdin, so that no manifest can be."""
    _, _, words = _sorted(argv, [])
    named = [given.values for given in parse_arguments(words, [], ANYTHING).source.settings if given.key == "file"]
    return bool(named) and named[0][-1:] == ("-",)


def _sorted(argv: Sequence[str], problems: list[Problem]) -> tuple[dict[str, str], list[str], list[str]]:
    """Return our own options, the files, and the words that ``wait`` would take."""
    own: dict[str, str] = {}
    files: list[str] = []
    words: list[str] = []
    left = list(argv)
    while left:
        word = left.pop(0)
        if word == "--":
            problems.append(Problem("--", "inject starts no command: what a container runs stands in its manifest"))
            break
        if _own_key(word):
            _take_own(word, left, own, problems)
        elif word.startswith("-") and word != "-":
            words += [word, left.pop(0)] if _takes_next(word) and left else [word]
        elif _DEPENDENCY.match(word):
            words.append(word)
        elif word == "-" or os.path.exists(word):
            files.append(word)
        else:
            what = "is neither a file that is there nor a dependency: check the path, or write KIND:// before a target"
            problems.append(Problem(quoted(word), what))
    return own, files, words


def _own_key(word: str) -> str:
    key = word.partition("=")[0].removeprefix("--").replace("-", "_")
    return key if word.startswith("--") and key in INJECT else ""


def _take_own(word: str, left: list[str], own: dict[str, str], problems: list[Problem]) -> None:
    key, row = _own_key(word), INJECT[_own_key(word)]
    _, equals, value = word.partition("=")
    if key in own:
        problems.append(Problem(spelled(key), "is given twice: keep one"))
    if equals and not (row.metavar and value):
        what = "needs a value behind =" if row.metavar else "takes no value"
        problems.append(Problem(spelled(key), what))
    if row.needs_value and not equals:
        if left:
            value = left.pop(0)
        else:
            problems.append(Problem(spelled(key), f"needs a value: write {spelled(key)} {row.metavar}"))
    own[key] = value


def _takes_next(word: str) -> bool:
    if word.startswith("--"):
        row = GATE.get(word[2:].replace("-", "_"))
        return row is not None and not row.is_flag and not row.bare
    row = next((row for row in GATE.values() if row.short and row.short == word[1:2]), None)
    return row is not None and not row.is_flag and len(word) == 2  # noqa: PLR2004 - a dash and its letter


def _merged(sources: Iterable[Source]) -> tuple[Declaration, ...]:
    """Return the dependencies; of the same name, the later one."""
    named: dict[str, Declaration] = {}
    for source in sources:
        for declaration in source.dependencies:
            named[declaration.name or "|".join(target.url for target in declaration.targets)] = declaration
    return tuple(named.values())


def _is_told(problem: Problem, told: Sequence[Problem]) -> bool:
    return any(problem.place == other.place for other in told)


def _mode(own: Mapping[str, str], problems: list[Problem]) -> str:
    if "wrap" in own and "native_sidecar" in own:
        problems.append(Problem("--wrap", "and --native-sidecar are two ways of waiting: keep one"))
    if len(own.keys() & _CNI_USERS.keys()) > 1:
        problems.append(Problem("--istio-cni", "and --linkerd-cni name two users: keep one"))
    if "wrap" in own:
        problems += [
            Problem(
                spelled(key), "says who an init container is, and with --wrap the container itself waits: leave it out"
            )
            for key in _CNI_USERS
            if key in own
        ]
    return WRAP if "wrap" in own else SIDECAR if "native_sidecar" in own else WAIT


def _check_settings(settings: Iterable[Given], mode: str, problems: list[Problem]) -> None:
    for given in settings:
        if given.key in _HERE_ONLY:
            problems.append(Problem(given.place, f"inject passes no {spelled(given.key)} on: leave it out"))
        elif given.key in _OF_SERVE and mode != SIDECAR:
            problems.append(Problem(given.place, "is for a native sidecar: add --native-sidecar"))
        elif given.key == "export_env" and mode != WRAP:
            problems.append(Problem(given.place, "is for a program behind the gate: add --wrap"))
        elif any("\n" in value for value in given.values):
            problems.append(Problem(given.place, "has a line break: write it on one line"))


def _image(image: str, problems: list[Problem]) -> str:
    if not image:
        what = "is not there: name the image of gatekeeper, as in --image registry.example.com/gatekeeper:0.1.0"
        problems.append(Problem("--image", what))
    elif not _IMAGE.fullmatch(image):
        problems.append(Problem("--image", f"{quoted(image)} is no image: write NAME:TAG or NAME@sha256:DIGEST"))
    return image


def _timeout(given: Given | None) -> float | None:
    """Return the seconds of the gate's deadline, None for no limit, or where only the pod will know."""
    if given and "$" in "".join(given.values):
        return None
    row = GATE["timeout"]
    limit: float | None = row.option.read(given.values if given else (row.default,))
    return limit
