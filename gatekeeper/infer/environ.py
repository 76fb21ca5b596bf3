"""A whole environment to the dependencies that it tells: which variables are looked at, and what stands together.

Is given the environment and reads none.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from gatekeeper.declaration import Declaration, Problem, Source
from gatekeeper.infer import services
from gatekeeper.infer.found import Found, dashed, declaration_of, with_names
from gatekeeper.infer.hosts import host_of, port_beside
from gatekeeper.infer.passed_over import is_noise, why_not
from gatekeeper.infer.places import Named, NothingNamedError, only_reached
from gatekeeper.infer.told import found_services
from gatekeeper.infer.url import SCHEME
from gatekeeper.infer.value import read_value
from gatekeeper.model import Inference, Inferred, LeftOut
from gatekeeper.options import spelled
from gatekeeper.probes._protocols import spoken
from gatekeeper.probes._variables import read_name
from gatekeeper.values import safe_target

_ONE = ("URL", "URI", "DSN", "ADDR", "ADDRESS", "ENDPOINT", "BROKER", "SERVER")
_SEVERAL = (
    *("URLS", "URIS", "ADDRS", "ADDRESSES", "ENDPOINTS", "BROKERS", "BROKER_LIST", "SERVERS", "NODES", "HOSTS"),
    *("BOOTSTRAPSERVERS", "SEEDS"),  # Spring's bootstrap-servers, and the databases of Temporal
)
_VALUE = re.compile(rf"(?P<stem>.+)[_.-]({'|'.join((*_ONE, *_SEVERAL))})", re.IGNORECASE)
# What is a URL here may be any other word elsewhere: Airflow's and Celery's, and Go's DB_SOURCE.
_MAY_BE_URL = re.compile(r"(?P<stem>.+)[_.-](CONN|CONNECTION_STRING|RESULT_BACKEND|SOURCE)", re.IGNORECASE)
_LINKED = re.compile("https?|wss?|ssh|s?ftps?")  # what a source is fetched by
# What is a host here has its port in a variable beside it, as Rails has SMTP_ADDRESS.
_MAY_BE_HOST = re.compile(r"(?P<stem>.+)(?P<between>[_.-])(?P<host>ADDR|ADDRESS|SERVER|SEEDS)", re.IGNORECASE)
_PORT = re.compile(r"(?P<stem>.+)(?P<between>[_.-])PORT", re.IGNORECASE)
_API_SERVER = "KUBERNETES_"
_COMMON = re.compile(r"https?|wss?|grpcs?|ssh|mail|pg|plaintext")  # words that name no protocol: too common
# What stands beside a protocol's server under its name, and speaks another.
_BESIDE = {"exporter", "metrics", "ui", "admin", "dashboard", "management", "console", "connect", "rest", "registry"}
# gRPC has no scheme of its own everywhere: OpenTelemetry and .NET write http:// for it.
_MAY_BE_GRPC = {"grpc", "otel", "otlp"}
_GRPC_PORTS = (":4317", ":50051")
# How clients of Kafka are told of TLS, which neither host nor port tells (security.protocol in their configuration).
_KAFKA_SAYS = re.compile(r"(.*_)?SECURITY_PROTOCOL", re.IGNORECASE)


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
        *found_services(chosen, needs, environ, problems, declared),
    ]
    named = with_names(found)
    inference = Inference(
        tuple(
            Inferred(name, "|".join(map(safe_target, each.targets)), each.variables, each.note) for name, each in named
        ),
        tuple(dict.fromkeys(left_out)),
    )
    return Source((), tuple(declaration_of(name, each) for name, each in named), inference)


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
    return bool(_stem(name, value) or host_of(name) or read_name(name) or services.literals(value))


def _stem(name: str, value: str) -> re.Match[str] | None:
    """Return the parts of a name whose value is a server, as it is written."""
    if found := _VALUE.fullmatch(name):
        return found
    url = SCHEME.fullmatch(value.strip())
    scheme = url["scheme"].lower().removeprefix("db+").partition("+")[0] if url else ""
    return _MAY_BE_URL.fullmatch(name) if spoken(scheme) and not _LINKED.fullmatch(scheme) else None


def _values(
    chosen: Mapping[str, str],
    needs: Sequence[str],
    strict: set[str],
    environ: Mapping[str, str],
    left_out: list[LeftOut],
    problems: list[Problem],
) -> Iterator[Found]:
    """Yield what values name: URLs and lists first, then hosts with a port beside them."""
    hosts = {name: match for name in chosen if (match := host_of(name)) and not _VALUE.fullmatch(name)}
    known = {**chosen, **environ}
    ports = {name: beside for name in chosen if (beside := _port_for(name, chosen[name], environ))}
    for name in (*(each for each in chosen if each not in hosts), *hosts):
        value = chosen[name]
        if services.literals(value) or services.belongs(name, value, known) or (not value and name in needs):
            continue
        match = hosts.get(name) or _stem(name, value)
        stem = match["stem"] if match else name
        if name not in hosts and name not in strict and (of_port := _PORT.fullmatch(name)):
            spelt = (f"{of_port['stem']}{of_port['between']}{host}" for host in ("HOST", "host"))
            if name not in ports.values() and not any(each in chosen for each in spelt):
                left_out.append(LeftOut(name, "is a port without a host"))
            continue
        beside = port_beside(hosts[name]) if name in hosts else ports.get(name, "")
        port, is_link = _port_said(environ.get(beside, "").strip())
        variables = (name, beside) if environ.get(beside, "").strip() and not is_link else (name,)
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


def _port_said(said: str) -> tuple[str, bool]:
    """Return the port that a variable says for a host beside it, and whether it is the URL of a link."""
    link = re.fullmatch(r"\w+://.*:([0-9]+)", said)
    return link[1] if link else "" if services.literals(said) else said, bool(link)


def _port_for(name: str, value: str, environ: Mapping[str, str]) -> str:
    """Return the variable with the port of a host that has none and whose name tells its protocol, or nothing."""
    found = _MAY_BE_HOST.fullmatch(name)
    if not found or not _hint(found["stem"]) or re.search("[:,/=]", value) or not value.strip():
        return ""
    beside = port_beside(found)
    return beside if environ.get(beside, "").strip().isdecimal() else ""


def _kafka_over_tls(environ: Mapping[str, str]) -> bool:
    return any(
        _KAFKA_SAYS.fullmatch(re.sub("[.-]", "_", name)) and value.strip().upper() in ("SSL", "SASL_SSL")
        for name, value in environ.items()
    )


def _of_value(stem: str, name: str, variables: tuple[str, ...], named: Named) -> Found:
    if _MAY_BE_GRPC & set(re.split("[_.-]", stem.lower())) or any(each.endswith(_GRPC_PORTS) for each in named.targets):
        named = only_reached(named, "tcp, because gRPC may be spoken there")
    return Found(dashed(stem), dashed(name), named.targets, named.options, variables, named.note)


def _hint(stem: str) -> str:
    """Return the last word of a variable's name that names a protocol."""
    words = re.split("[_.-]", stem.lower())
    known = [word for word in words if not _COMMON.fullmatch(word) and spoken(word)]
    return "postgres" if stem == "PG" else known[-1] if known and not _BESIDE & set(words) else ""
