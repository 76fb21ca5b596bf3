"""Declarations in annotations: ``dev.gatekeeper/dependencies``, one a line, and ``dev.gatekeeper/OPTION``.

Is given the annotations, reads none. Those of others are none of our business.
"""

from collections.abc import Collection, Iterable, Mapping

from gatekeeper.declaration import Declaration, Given, Problem, Source
from gatekeeper.declare.environ import dependencies_of
from gatekeeper.declare.line import read_value
from gatekeeper.options import DEPENDENCIES, GATE, OF_THE_ENVIRONMENT, OF_THE_POD, OF_THE_TENDED
from gatekeeper.values import nearest, quoted

ANNOTATION = "dev.gatekeeper/"
# What only whoever starts the process can mean: its service manager, a descriptor, a page, an environment of its own.
_NOT_HERE = (
    *(*OF_THE_TENDED, *OF_THE_ENVIRONMENT, *OF_THE_POD, "export_env"),
    *("notify", "notify_fd", "output", "pod_info"),
)
# In the pod itself they are its author's words, as its variables are; a descriptor is not, nor where they are read.
NOT_INSIDE = ("notify_fd", "output", "pod_info")


def annotation(key: str) -> str:
    """Return the annotation that is the twin of an option."""
    return ANNOTATION + key.replace("_", "-")


def are_ours(annotations: Iterable[tuple[str, str]]) -> bool:
    """Tell whether any of them is meant for us, whatever it says."""
    return any(name.startswith(ANNOTATION) for name, _ in annotations)


def of_annotations(
    annotations: Iterable[tuple[str, str]],
    problems: list[Problem],
    environ: Mapping[str, str] | None,
    refused: Collection[str] = _NOT_HERE,
) -> Source:
    """Return what annotations declare; every problem is added to the problems.

    With ``environ``, references are replaced from there: the environment of the container, not that of the runtime. An
    empty annotation is as good as none, as an empty variable is. The ``refused`` options are no annotation's to say.
    """
    settings: dict[str, Given] = {}
    dependencies: tuple[Declaration, ...] = ()
    seen: dict[str, str] = {}
    for name, value in annotations:
        if not name.startswith(ANNOTATION):
            continue
        place = name if name.isprintable() else quoted(name)
        key = name.removeprefix(ANNOTATION).replace("-", "_")
        if key in seen:
            problems.append(Problem(place, f"says again what {seen[key]} says: keep one"))
            continue
        seen[key] = place
        if key == DEPENDENCIES:
            dependencies = dependencies_of(value, problems, environ, place)
        elif key not in GATE or key in refused:
            problems.append(Problem(place, _unknown(key, refused)))
        elif value and (read := read_value(value, place, problems, environ)):
            settings[key] = Given(key, (read,), place)
    return Source(tuple(settings.values()), dependencies)


def _unknown(key: str, refused: Collection[str]) -> str:
    if key in GATE:
        return f"means nothing {'to a hook' if refused is _NOT_HERE else 'in an annotation'}: remove it"
    known = [annotation(each) for each in (DEPENDENCIES, *GATE) if each not in refused]
    return f"unknown annotation{nearest(annotation(key), known) or '; known are ' + ', '.join(known)}"
