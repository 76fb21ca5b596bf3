"""What annotations may not ask of a hook that runs with the runtime's rights: to touch this machine.

Whoever may start a container may annotate it, and need not be who owns the machine. Attempts over the container's own
network are what it could make itself; commands, files and socket files would be the runtime's.
"""

from collections.abc import Iterator, Mapping

from gatekeeper.declaration import Declaration, Problem, Source, Target
from gatekeeper.probes import KINDS, as_kind, load
from gatekeeper.probes._options import options_of

TRUST = "--trust-annotations"
_HOST = ("context",)
_FILES = ("ready_file", "export_env", "termination_log", "report")
_WHY = f"this hook runs outside of the container: call it as startContainer, or allow it with {TRUST} in its args"


def confined(source: Source, problems: list[Problem]) -> Source:
    """Return what a source may ask for; what would be done outside of the container is added to the problems.

    A file is left out, because telling of problems writes files.
    """
    outside = [given for given in source.settings if given.key in _FILES and given.values != ("off",)]
    problems += [Problem(given.place, f"would be a file of the host, for {_WHY}") for given in outside]
    problems += [each for declaration in source.dependencies for each in _beyond(declaration)]
    of_host = [given for given in source.settings if given.key in _HOST]
    problems += [Problem(given.place, f"would use what the host may, for {_WHY}") for given in of_host]
    return source._replace(settings=tuple(given for given in source.settings if given not in (*outside, *of_host)))


def _beyond(declaration: Declaration) -> Iterator[Problem]:
    for target in declaration.targets:
        url = as_kind(target.url)
        kind = url.partition(":")[0].lower()
        if kind in KINDS:  # what is none is told of by the plan
            yield from _of_kind(kind, target._replace(url=url), declaration)


def _of_kind(kind: str, target: Target, declaration: Declaration) -> Iterator[Problem]:
    maker = load(kind)
    if not getattr(maker, "OVER_THE_NETWORK", False):
        yield Problem(target.place, f"{kind} would look at the host, for {_WHY}")
        return
    if hasattr(maker, "names_files") and maker.names_files(target.url):
        yield Problem(target.place, f"names a file of the host, for {_WHY}")
    local = {name for name, option in options_of(maker).items() if option.local}
    of_host: Mapping[str, tuple[str, ...]] = getattr(maker, "OF_THE_HOST", {})  # none for whichever value
    for given in (*declaration.options, *target.options):
        if given.key in local:
            yield Problem(given.place, f"would be a file of the host, for {_WHY}")
        elif given.key in of_host and (not of_host[given.key] or set(given.values) & set(of_host[given.key])):
            yield Problem(given.place, f"would use what the host may, for {_WHY}")
