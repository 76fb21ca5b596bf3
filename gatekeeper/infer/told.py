"""The services that variables tell: those that are there, those that are needed, and those that were not there yet.

What may be meant in two ways is a problem, which says how to write it out.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from gatekeeper.declaration import Declaration, Problem
from gatekeeper.infer import services
from gatekeeper.infer.found import Found
from gatekeeper.infer.hosts import host_of, port_beside
from gatekeeper.options import spelled
from gatekeeper.probes._variables import Read, is_doubtful, names_of, read_name

_MOST_TOLD = 10  # ambiguous services, each in a line of its own: a namespace may have thousands


def found_services(
    chosen: Mapping[str, str],
    needs: Sequence[str],
    environ: Mapping[str, str],
    problems: list[Problem],
    declared: Iterable[Declaration],
) -> Iterator[Found]:
    """Yield the services that variables of theirs tell, and those that left a ``$(…)`` in another variable."""
    told: dict[str, Read] = {}
    known = {**chosen, **environ}
    for name, value in chosen.items():
        if services.literals(value):
            continue
        read = services.belongs(name, value, known) or (read_name(name) if not value else None)
        if not value and name not in needs:
            read = None
        if read and not value and (is_doubtful(name) or read.is_link) and not _stands_beside(read, environ):
            problems.append(Problem(f"variable {name}", _doubt(read)))
        elif read:
            told[name] = read
        elif name in needs and not value:
            what = f"is not set, and names no service: write its dependency out, or {spelled('needs')} X_SERVICE_HOST"
            problems.append(Problem(f"variable {name}", what))
    covered = _covered(declared)
    left = _left_behind(chosen, told, environ, problems)
    ambiguous = []
    for service in (*services.together(told, environ), *left):
        if service.name:
            target = f"service://{service.name}{f':{service.port}' if service.port else ''}"
            name = service.name.split(".")[0]
            awaited = () if service.port else (("awaited", "yes"),)  # it need not exist yet
            yield Found(name, f"{name}-service", (target,), awaited, service.variables, service.note)
        elif not covered & {*names_of(service.stem), service.stem.lower()}:
            ambiguous.append(service)
    _tell_ambiguous(ambiguous, needs, problems)


def _tell_ambiguous(ambiguous: Sequence[services.Service], needs: Sequence[str], problems: list[Problem]) -> None:
    problems += [
        Problem(f"variable {each.variables[0]}", services.ambiguous(each.stem, each.variables[0], needs))
        for each in ambiguous[:_MOST_TOLD]
    ]
    if len(ambiguous) > _MOST_TOLD:
        what = (
            f"{len(ambiguous) - _MOST_TOLD} more services may have two names each: name those that are needed, as in "
            f"{spelled('from_env')}='DB_*,REDIS_*', or keep the others away (enableServiceLinks: false in the pod)"
        )
        problems.append(Problem("environment", what))


def _stands_beside(read: Read, environ: Mapping[str, str]) -> bool:
    return bool(environ.get(f"{read.stem}_SERVICE_HOST"))


def _doubt(read: Read) -> str:
    if read.is_link:
        return f"may be an application's own or a link: write {spelled('needs')} {read.stem}_SERVICE_HOST"
    other = f"{read.stem}_SERVICE_SERVICE_HOST"
    return (
        f"may be a port of {names_of(read.stem)[0]} or a link of {names_of(read.stem)[0]}-service, not being set: "
        f"write {spelled('needs')} {read.stem}_SERVICE_HOST or {spelled('needs')} {other}"
    )


def _left_behind(
    chosen: Mapping[str, str], told: Mapping[str, Read], environ: Mapping[str, str], problems: list[Problem]
) -> list[services.Service]:
    """Return the services of each ``$(X_SERVICE_HOST)`` that the kubelet left, but for those that are told already."""
    stems: dict[str, tuple[list[str], str, bool]] = {}
    already = {each.stem for each in told.values()}
    for variable, value in chosen.items():
        for name in services.literals(value):
            read = services.left(name)
            if read is None:
                problems.append(Problem(f"variable {variable}", _doubt(Read(name.partition("_SERVICE_PORT")[0]))))
            elif read.stem not in already:
                variables, port, is_set = stems.get(read.stem, ([], "", False))
                beside = host_of(variable)
                number = environ.get(port_beside(beside), "") if beside else ""
                port = port or services.port_beside(value) or (number if number.isdigit() else "") or read.port
                stems[read.stem] = ([*dict.fromkeys((*variables, variable))], port, is_set or bool(environ.get(name)))
    found = []
    for stem, (variables, port, is_set) in stems.items():
        names = names_of(stem)
        note = "is there by now, and was not replaced" if is_set else "did not exist when the container was made"
        note += "" if port else "; its port is asked of DNS"
        found.append(services.Service(stem, names[0] if len(names) == 1 else None, port, tuple(variables), note))
    return found


def _covered(declared: Iterable[Declaration]) -> set[str]:
    """Return the names of dependencies and services that others have declared."""
    names = set()
    for declaration in declared:
        names |= {declaration.name} if declaration.name else set()
        for target in declaration.targets:
            if target.url.lower().startswith("service://"):
                names.add(re.split(r"[:.]", target.url[len("service://") :], maxsplit=1)[0])
    return names
