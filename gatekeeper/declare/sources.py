"""All places that declare something, highest first: arguments, environment, annotations, plan file."""

import os
import re
import sys
from collections.abc import Callable, Mapping

from gatekeeper.declaration import Given, Problem, Source
from gatekeeper.declare.environ import dependencies_of
from gatekeeper.declare.line import read_value
from gatekeeper.declare.substitute import PODINFO, Surroundings
from gatekeeper.options import DEPENDENCIES, GATE, PREFIX, variable
from gatekeeper.values import nearest, quoted

# Kubernetes sets such variables for a Service whose name begins with "gatekeeper"; they are not meant for us.
_SERVICE_LINK = r".*_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"


def our_variables() -> frozenset[str]:
    """Return the names of the variables that are ours; a command that takes over does not inherit them."""
    return frozenset(variable(key) for key in (*GATE, DEPENDENCIES))


Reader = Callable[[str, list[Problem]], Source | None]


def gather(
    arguments: Source,
    environ: Mapping[str, str],
    problems: list[Problem],
    annotations: Source | None = None,
    read_for_annotations: Reader | None = None,
) -> list[Source]:
    """Return the sources, highest first; reads the plan file that the highest of them names.

    In the pod itself, annotations that nobody has given are read from its downward API volume.

    One that annotations name is read by ``read_for_annotations``, where that is given: whose they are may differ.
    """
    sources = [arguments, _environment(environ, problems)]
    if annotations is None and isinstance(environ, Surroundings):
        annotations = _annotations(sources, environ, problems)
    if annotations:
        sources.append(annotations)
    for source in tuple(sources):
        named = [given.values[-1] for given in source.settings if given.key == "file" and given.values]
        if named and named[0]:
            from gatekeeper.declare.file import read_plan  # noqa: PLC0415 - parsers are loaded for a file only

            if source is annotations and read_for_annotations:
                plan = read_for_annotations(named[0], problems)
            else:
                plan = read_plan(named[0], sys.stdin.buffer if sys.stdin else None, problems, environ)
            if plan:
                others = (given.place for given in plan.settings if given.key == "file")
                problems.extend(Problem(place, "a plan file names no other: write all into one") for place in others)
                sources.append(plan)
            break
    return sources


def _annotations(sources: list[Source], environ: Surroundings, problems: list[Problem]) -> Source | None:
    """Return what the annotations of our pod declare, where a volume tells them."""
    named = any(given.key == "pod_info" for source in sources for given in source.settings)
    if not named and not os.path.isdir(PODINFO):
        return None
    from gatekeeper.declare.pod import NOT_INSIDE, of_annotations  # noqa: PLC0415 - loaded where there is a volume

    return of_annotations(environ.pod.annotations(problems), problems, environ, NOT_INSIDE)


def _environment(environ: Mapping[str, str], problems: list[Problem]) -> Source:
    known = {variable(key): key for key in GATE}
    settings: list[Given] = []
    dependencies = variable(DEPENDENCIES)
    for name, value in environ.items():
        if not name.startswith(PREFIX) or name == dependencies:
            continue
        if name in known:
            # An empty variable is as good as none, as with NO_COLOR and others.
            read = read_value(value, name, problems, environ) if value else None
            if read:
                settings.append(Given(known[name], (read,), name))
        elif not re.fullmatch(_SERVICE_LINK, name):
            hint = nearest(name, (*known, dependencies)) or "; unset it, or rename it if it is not meant for gatekeeper"
            problems.append(Problem(name if name.isprintable() else quoted(name), f"unknown variable{hint}"))
    text = environ.get(dependencies, "")
    return Source(tuple(settings), dependencies_of(text, problems, environ) if text.strip() else ())
