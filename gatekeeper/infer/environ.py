"""A whole environment to the dependencies that it tells: which variables are looked at, and what stands together.

Is given the environment and reads none.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from gatekeeper.declaration import Declaration, Given, Problem, Source, Target
from gatekeeper.infer import services
from gatekeeper.infer.value import Named, NothingNamedError, read_value
from gatekeeper.model import Inference, Inferred, LeftOut
from gatekeeper.options import PREFIX, spelled
from gatekeeper.probes._protocols import spoken
from gatekeeper.probes._variables import Read, is_doubtful, names_of, read_name
from gatekeeper.values import safe_target

_ONE = ("URL", "URI", "DSN", "ADDR", "ADDRESS", "ENDPOINT", "BROKER", "SERVER")
_SEVERAL = ("URLS", "URIS", "ADDRS", "ADDRESSES", "ENDPOINTS", "BROKERS", "BROKER_LIST", "SERVERS", "NODES", "HOSTS")
_VALUE = re.compile(rf"(?P<stem>.+)_({'|'.join((*_ONE, *_SEVERAL))})", re.IGNORECASE)
_HOST = re.compile(r"(?P<stem>.+)_HOST", re.IGNORECASE)
_PORT = re.compile(r"(?P<stem>.+)_PORT", re.IGNORECASE)
_NOISE = re.compile(rf"{PREFIX}.*|.*PROXY|SSH_.*|HOSTNAME|(OLD)?PWD|PATH|.*_PATH|NOTIFY_SOCKET", re.IGNORECASE)
_API_SERVER = "KUBERNETES_"
_HAS_WORDS = {"http", "https", "ws", "wss", "grpc", "grpcs", "ssh", "mail", "pg"}  # too common to name a protocol


class _Found(NamedTuple):
    """A dependency on its way: what it is called, where else its name comes from, its targets, what tells it."""

    name: str
    other_name: str
    targets: tuple[str, ...]
    options: tuple[tuple[str, str], ...]
    variables: tuple[str, ...]
    note: str


def infer(
    patterns: Sequence[str],
    needs: Sequence[str],
    environ: Mapping[str, str],
    declared: Iterable[Declaration],
    problems: list[Problem],
) -> Source:
    """Return the dependencies that an environment tells of; every problem is added to the problems.

    ``patterns`` say which variables are looked at, none where that is empty; ``needs`` are told of set or not.
    ``declared`` is what was declared by others: what it names is not ambiguous any more.
    """
    left_out: list[LeftOut] = []
    chosen = _chosen(patterns, environ, left_out, problems)
    chosen |= {name: environ.get(name, "") for name in needs if name not in chosen}
    chosen = dict(sorted(chosen.items()))  # an environment has no order that anybody means
    strict = {*needs, *_exact(patterns)}
    found = [
        *_values(chosen, needs, strict, environ, left_out, problems),
        *_services(chosen, needs, environ, problems, declared),
    ]
    named = _with_names(found)
    inference = Inference(
        tuple(
            Inferred(name, "|".join(map(safe_target, each.targets)), each.variables, each.note) for name, each in named
        ),
        tuple(dict.fromkeys(left_out)),
    )
    return Source((), tuple(_declaration(name, each) for name, each in named), inference)


def _exact(patterns: Sequence[str]) -> list[str]:
    return [each for each in patterns if not re.search(r"[!*?]", each)]


def _chosen(
    patterns: Sequence[str], environ: Mapping[str, str], left_out: list[LeftOut], problems: list[Problem]
) -> dict[str, str]:
    """Return the variables that the patterns choose and that can tell of something."""
    wanted = [each for each in patterns if not each.startswith("!")] or (["*"] if patterns else [])
    unwanted = [each[1:] for each in patterns if each.startswith("!")]
    exact = _exact(patterns)
    problems.extend(
        Problem(
            spelled("from_env"),
            f"{name} is not set: set it, or say {spelled('needs')} X_SERVICE_HOST of a service that is yet to come",
        )
        for name in exact
        if name not in environ
    )
    chosen = {}
    for name, value in environ.items():
        if not any(fnmatchcase(name, each) for each in wanted):
            continue
        if any(fnmatchcase(name, each) for each in unwanted):
            if _looks_like_one(name, value):
                left_out.append(LeftOut(name, "is excluded by the pattern"))
        elif name in exact:
            chosen[name] = value
        elif _NOISE.fullmatch(name):
            continue
        elif name.startswith(_API_SERVER) and not any(each.startswith(_API_SERVER) for each in wanted):
            if name == f"{_API_SERVER}SERVICE_HOST":
                left_out.append(LeftOut(name, f"is the API server: {spelled('from_env')}='*,{_API_SERVER}*' names it"))
        elif _looks_like_one(name, value):
            chosen[name] = value
    return chosen


def _looks_like_one(name: str, value: str) -> bool:
    return bool(_VALUE.fullmatch(name) or _HOST.fullmatch(name) or read_name(name) or services.literals(value))


def _values(
    chosen: Mapping[str, str],
    needs: Sequence[str],
    strict: set[str],
    environ: Mapping[str, str],
    left_out: list[LeftOut],
    problems: list[Problem],
) -> Iterator[_Found]:
    """Yield what values name: URLs and lists first, then hosts with a port beside them."""
    hosts = [name for name in chosen if _HOST.fullmatch(name)]
    for name in (*(each for each in chosen if each not in hosts), *hosts):
        value = chosen[name]
        if services.literals(value) or services.belongs(name, value, environ) or (not value and name in needs):
            continue
        port = ""
        variables: tuple[str, ...] = (name,)
        match = _VALUE.fullmatch(name) or _HOST.fullmatch(name)
        stem = match["stem"] if match else name
        if name in hosts:
            beside = next((each for each in (f"{stem}_PORT", f"{stem}_port") if environ.get(each)), "")
            link = re.fullmatch(r"\w+://.*:([0-9]+)", environ.get(beside, "").strip())
            port = link[1] if link else environ.get(beside, "").strip()
            if services.literals(port):
                port = ""
            variables = (name, beside) if beside and not link else (name,)
        elif name not in strict and (of_port := _PORT.fullmatch(name)):
            if f"{of_port['stem']}_HOST" not in chosen:
                left_out.append(LeftOut(name, "is a port without a host"))
            continue
        try:
            if port and not port.isdigit():
                message = f"has no host to go with: {variables[-1]} is no port"
                raise NothingNamedError(message)
            named = read_value(value, _hint(stem), port)
        except NothingNamedError as nothing:
            if name in strict:
                problems.append(
                    Problem(f"variable {name}", f"{nothing}: write its dependency out, as in db=tcp://db:5432")
                )
            else:
                left_out.append(LeftOut(name, str(nothing)))
            continue
        yield _of_value(stem, name, variables, named)


def _of_value(stem: str, name: str, variables: tuple[str, ...], named: Named) -> _Found:
    return _Found(_dashed(stem), _dashed(name), named.targets, named.options, variables, named.note)


def _hint(stem: str) -> str:
    """Return the last word of a variable's name that names a protocol."""
    words = [word for word in stem.lower().split("_") if word not in _HAS_WORDS and spoken(word)]
    return words[-1] if words else ""


def _services(
    chosen: Mapping[str, str],
    needs: Sequence[str],
    environ: Mapping[str, str],
    problems: list[Problem],
    declared: Iterable[Declaration],
) -> Iterator[_Found]:
    """Yield the services that variables of theirs tell, and those that left a ``$(…)`` in another variable."""
    told: dict[str, Read] = {}
    for name, value in chosen.items():
        if services.literals(value):
            continue
        read = services.belongs(name, value, environ) or (read_name(name) if not value else None)
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
    missing = list(_left_behind(chosen, told, environ))
    for service in (*services.together(told, environ), *missing):
        if service.name:
            target = f"service://{service.name}{f':{service.port}' if service.port else ''}"
            name = service.name.split(".")[0]
            awaited = () if service.port else (("awaited", "yes"),)  # it need not exist yet
            yield _Found(name, f"{name}-service", (target,), awaited, service.variables, service.note)
        elif not covered & {*names_of(service.stem), service.stem.lower()}:
            problems.append(Problem(f"variable {service.variables[0]}", services.ambiguous(service.stem)))


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
    chosen: Mapping[str, str], told: Mapping[str, Read], environ: Mapping[str, str]
) -> Iterator[services.Service]:
    """Yield the services of each ``$(X_SERVICE_HOST)`` that the kubelet left, but for those that are told already."""
    stems: dict[str, tuple[list[str], str]] = {}
    for variable, value in chosen.items():
        for name in services.literals(value):
            read = read_name(name)
            if read and not environ.get(name) and read.stem not in {each.stem for each in told.values()}:
                variables, port = stems.get(read.stem, ([], ""))
                beside = _HOST.fullmatch(variable)
                number = environ.get(f"{beside['stem']}_PORT", "") if beside else ""
                port = port or services.port_beside(value) or (number if number.isdigit() else "") or read.port
                stems[read.stem] = ([*dict.fromkeys((*variables, variable))], port)
    for stem, (variables, port) in stems.items():
        names = names_of(stem)
        note = "did not exist when the container was made" + ("" if port else "; its port is asked of DNS")
        yield services.Service(stem, names[0] if len(names) == 1 else None, port, tuple(variables), note)


def _covered(declared: Iterable[Declaration]) -> set[str]:
    """Return the names of dependencies and services that others have declared."""
    names = set()
    for declaration in declared:
        names |= {declaration.name} if declaration.name else set()
        for target in declaration.targets:
            if target.url.lower().startswith("service://"):
                names.add(re.split(r"[:.]", target.url[len("service://") :], maxsplit=1)[0])
    return names


def _with_names(found: Iterable[_Found]) -> list[tuple[str, _Found]]:
    """Return each with a name of its own; one that is told twice in the same words is one."""
    named: dict[str, _Found] = {}
    for each in found:
        name = each.name
        if name in named and named[name].targets == each.targets:
            together = (*named[name].variables, *each.variables)
            named[name] = named[name]._replace(variables=tuple(dict.fromkeys(together)))
            continue
        if name in named:
            name = each.other_name
        named[name] = each
    return list(named.items())


def _declaration(name: str, found: _Found) -> Declaration:
    place = f"variable {found.variables[0]}"
    options = tuple(Given(key, (value,), place) for key, value in found.options)
    return Declaration(name, tuple(Target(target, (), place) for target in found.targets), options, place)


def _dashed(stem: str) -> str:
    return re.sub(r"^-+|-+$", "", stem.lower().replace("_", "-"))[:63] or "variable"
