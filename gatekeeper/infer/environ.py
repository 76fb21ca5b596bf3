"""A whole environment to the dependencies that it tells: which variables are looked at, and what stands together.

Is given the environment and reads none.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from gatekeeper.declaration import Declaration, Given, Problem, Source, Target
from gatekeeper.infer import services
from gatekeeper.infer.passed_over import is_noise, why_not
from gatekeeper.infer.places import Named, NothingNamedError, only_reached
from gatekeeper.infer.value import read_value
from gatekeeper.model import Inference, Inferred, LeftOut
from gatekeeper.options import spelled
from gatekeeper.probes._protocols import spoken
from gatekeeper.probes._variables import Read, is_doubtful, names_of, read_name
from gatekeeper.values import safe_target

_ONE = ("URL", "URI", "DSN", "ADDR", "ADDRESS", "ENDPOINT", "BROKER", "SERVER")
_SEVERAL = ("URLS", "URIS", "ADDRS", "ADDRESSES", "ENDPOINTS", "BROKERS", "BROKER_LIST", "SERVERS", "NODES", "HOSTS")
_VALUE = re.compile(rf"(?P<stem>.+)[_.-]({'|'.join((*_ONE, *_SEVERAL))})", re.IGNORECASE)
_HOST = re.compile(r"(?P<stem>.+)(?P<between>[_.-])(?P<host>HOST)", re.IGNORECASE)
_PORT = re.compile(r"(?P<stem>.+)(?P<between>[_.-])PORT", re.IGNORECASE)
_JOINED = re.compile(r"(?P<stem>PG|POSTGRES|MYSQL|REDIS|MONGO|RABBITMQ)(?P<between>)(?P<host>HOST)")  # PGHOST, of libpq
_API_SERVER = "KUBERNETES_"
_COMMON = re.compile(r"https?|wss?|grpcs?|ssh|mail|pg|plaintext")  # words that name no protocol: too common
# What stands beside a protocol's server under its name, and speaks another.
_BESIDE = {"exporter", "metrics", "ui", "admin", "dashboard", "management", "console", "connect", "rest", "registry"}
# gRPC has no scheme of its own everywhere: OpenTelemetry and .NET write http:// for it.
_MAY_BE_GRPC = {"grpc", "otel", "otlp"}
_GRPC_PORTS = (":4317", ":50051")
# How clients of Kafka are told of TLS, which neither host nor port tells (security.protocol in their configuration).
_KAFKA_SAYS = re.compile(r"(.*_)?SECURITY_PROTOCOL", re.IGNORECASE)
_MOST_TOLD = 10  # ambiguous services, each in a line of its own: a namespace may have thousands


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
        api_server = name.startswith(_API_SERVER) and not any(each.startswith(_API_SERVER) for each in wanted)
        if any(fnmatchcase(name, each) for each in unwanted):
            why = "is excluded by the pattern"
        elif name in exact:
            chosen[name] = value
            continue
        elif api_server:
            why = f"is the API server: {spelled('from_env')}='*,{_API_SERVER}*' names it"
        else:
            why = why_not(name, value)
        if is_noise(name) or not _looks_like_one(name, value) or (api_server and name != f"{_API_SERVER}SERVICE_HOST"):
            continue
        if why:
            left_out.append(LeftOut(name, why))
        else:
            chosen[name] = value
    return chosen


def _looks_like_one(name: str, value: str) -> bool:
    return bool(_VALUE.fullmatch(name) or _of_host(name) or read_name(name) or services.literals(value))


def _of_host(name: str) -> re.Match[str] | None:
    return _HOST.fullmatch(name) or _JOINED.fullmatch(name)


def _beside(host: re.Match[str]) -> str:
    """Return the variable of the port that goes with one of a host."""
    return f"{host['stem']}{host['between']}{'PORT' if host['host'].isupper() else 'port'}"


def _values(
    chosen: Mapping[str, str],
    needs: Sequence[str],
    strict: set[str],
    environ: Mapping[str, str],
    left_out: list[LeftOut],
    problems: list[Problem],
) -> Iterator[_Found]:
    """Yield what values name: URLs and lists first, then hosts with a port beside them."""
    hosts = {name: match for name in chosen if (match := _of_host(name)) and not _VALUE.fullmatch(name)}
    known = {**chosen, **environ}
    for name in (*(each for each in chosen if each not in hosts), *hosts):
        value = chosen[name]
        if services.literals(value) or services.belongs(name, value, known) or (not value and name in needs):
            continue
        port = ""
        variables: tuple[str, ...] = (name,)
        match = hosts.get(name) or _VALUE.fullmatch(name)
        stem = match["stem"] if match else name
        if name in hosts:
            beside = _beside(hosts[name])
            said = environ.get(beside, "").strip()
            link = re.fullmatch(r"\w+://.*:([0-9]+)", said)
            port = link[1] if link else "" if services.literals(said) else said
            variables = (name, beside) if said and not link else (name,)
        elif name not in strict and (of_port := _PORT.fullmatch(name)):
            if not any(f"{of_port['stem']}{of_port['between']}{host}" in chosen for host in ("HOST", "host")):
                left_out.append(LeftOut(name, "is a port without a host"))
            continue
        try:
            if port and not port.isdigit():
                message = f"has no host to go with: {variables[-1]} is no port"
                raise NothingNamedError(message)
            named = read_value(value, _hint(stem), port, is_host=name in hosts)
        except NothingNamedError as nothing:
            if name in strict:
                problems.append(
                    Problem(f"variable {name}", f"{nothing}: write its dependency out, as in db=tcp://db:5432")
                )
            else:
                left_out.append(LeftOut(name, str(nothing)))
            continue
        if _kafka_over_tls(environ):
            named = only_reached(named, "tcp, because kafka over TLS is spoken there", "kafka")
        yield _of_value(stem, name, variables, named)


def _kafka_over_tls(environ: Mapping[str, str]) -> bool:
    return any(
        _KAFKA_SAYS.fullmatch(re.sub("[.-]", "_", name)) and value.strip().upper() in ("SSL", "SASL_SSL")
        for name, value in environ.items()
    )


def _of_value(stem: str, name: str, variables: tuple[str, ...], named: Named) -> _Found:
    if _MAY_BE_GRPC & set(re.split("[_.-]", stem.lower())) or any(each.endswith(_GRPC_PORTS) for each in named.targets):
        named = only_reached(named, "tcp, because gRPC may be spoken there")
    return _Found(_dashed(stem), _dashed(name), named.targets, named.options, variables, named.note)


def _hint(stem: str) -> str:
    """Return the last word of a variable's name that names a protocol."""
    words = re.split("[_.-]", stem.lower())
    known = [word for word in words if not _COMMON.fullmatch(word) and spoken(word)]
    return "postgres" if stem == "PG" else known[-1] if known and not _BESIDE & set(words) else ""


def _services(
    chosen: Mapping[str, str],
    needs: Sequence[str],
    environ: Mapping[str, str],
    problems: list[Problem],
    declared: Iterable[Declaration],
) -> Iterator[_Found]:
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
            yield _Found(name, f"{name}-service", (target,), awaited, service.variables, service.note)
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
                beside = _of_host(variable)
                number = environ.get(_beside(beside), "") if beside else ""
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


def _with_names(found: Iterable[_Found]) -> list[tuple[str, _Found]]:
    """Return each with a name of its own; one that is told twice in the same words is one."""
    named: dict[str, _Found] = {}
    for each in found:
        name = each.name
        if name in named and named[name].targets == each.targets:
            together = (*named[name].variables, *each.variables)
            named[name] = named[name]._replace(variables=tuple(dict.fromkeys(together)))
            continue
        others = (f"{each.other_name[:60]}-{number}" for number in itertools.count(2))
        names = itertools.chain((name, each.other_name), others)
        named[next(free for free in names if free not in named)] = each
    return list(named.items())


def _declaration(name: str, found: _Found) -> Declaration:
    place = f"variable {found.variables[0]}"
    options = tuple(Given(key, (value,), place) for key, value in found.options)
    return Declaration(name, tuple(Target(target, (), place) for target in found.targets), options, place)


def _dashed(stem: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", stem.lower())[:63].strip("-") or "variable"
