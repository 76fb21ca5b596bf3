"""Variables of services, as the kubelet and Docker's links make them: which stand together, and what they tell.

Pure. Of a name that may be two there is no guess: it is a problem that says how to write it out.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gatekeeper.infer.places import is_address
from gatekeeper.probes._variables import Read, is_doubtful, names_of, read_name

_LINK = re.compile(r"(tcp|udp|sctp)://(?P<host>\[[0-9A-Fa-f:.]+\]|[^:/@]+):(?P<port>[0-9]+)")
_LITERAL = re.compile(
    r"\$\((?P<name>[A-Za-z0-9_]+_(SERVICE_(HOST|PORT(_[A-Za-z0-9_]+)?)|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?))\)"
)
_DNS_NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*\.?")


class Service(NamedTuple):
    """A service: its name (None where the variables tell two), its port (empty where unknown), what tells it."""

    stem: str
    name: str | None
    port: str
    variables: tuple[str, ...]
    note: str = ""


def belongs(variable: str, value: str, environ: Mapping[str, str]) -> Read | None:
    """Return what a variable tells of a service; None for one that an application may have for itself.

    ``REDIS_PORT`` is a link where its value is a URL, ``REDIS_SERVICE_PORT`` the port of ``redis`` where it is not, and
    there is a ``REDIS_SERVICE_HOST``, which the kubelet makes always. That one is an address, or the name itself.
    """
    read = read_name(variable)
    if read is None:
        return None
    if is_doubtful(variable) and _LINK.fullmatch(value):
        return Read(re.split(r"_PORT(?=$|_[0-9]+_)", variable)[0], is_link=True)
    if not read.is_link:
        host = environ.get(f"{read.stem}_SERVICE_HOST")
        return read if host is not None and (not host or _names_a_host(host)) else None
    linked = _LINK.fullmatch(value) or _LINK.fullmatch(environ.get(f"{read.stem}_PORT", ""))
    return read if linked else None


def together(told: Mapping[str, Read], environ: Mapping[str, str]) -> list[Service]:
    """Return the services that variables tell, each once, the telling variables in order."""
    groups: dict[str, list[str]] = {}
    for variable, read in sorted(told.items(), key=lambda each: (not each[0].endswith("_SERVICE_HOST"), each[0])):
        groups.setdefault(read.stem, []).append(variable)
    return [_service(stem, variables, told, environ) for stem, variables in groups.items()]


def _names_a_host(host: str) -> bool:
    return is_address(host) or bool(_DNS_NAME.fullmatch(host.lower())) or bool(literals(host))


def literals(value: str) -> list[str]:
    """Return the service variables that the kubelet left as ``$(NAME)``, because they did not exist."""
    return [match["name"] for match in _LITERAL.finditer(value)] if "$(" in value else []


def port_beside(value: str) -> str:
    """Return the port behind a ``$(X_SERVICE_HOST)``, empty where there is none."""
    found = re.search(r"_SERVICE_HOST\):([0-9]{1,5})(?![0-9])", value)
    return found[1] if found else ""


def left(name: str) -> Read | None:
    """Return what a name that was left as ``$(NAME)`` tells, None where that may be two services."""
    read = read_name(name)
    numbered = re.search(r"_PORT_([0-9]+)_", name) if read and read.is_link else None
    if is_doubtful(name) and re.search(r"_SERVICE_PORT_[0-9]+_(TCP|UDP|SCTP)", name):
        return None
    return read._replace(port=numbered[1]) if read and numbered else read


def ambiguous(stem: str, variable: str, needs: Sequence[str]) -> str:
    """Return what is wrong with a stem that may be two names: how to write it out, or leave out what nobody named."""
    first, second = names_of(stem)
    unwanted = f"{stem}_*" if variable.startswith(f"{stem}_") else variable
    other = "" if variable in needs else f", or leave it out with --from-env='*,!{unwanted}'"
    return f"may mean a service {first} or {second}: write it out, as in {first}=service://{first}:PORT{other}"


def _service(stem: str, variables: Sequence[str], told: Mapping[str, Read], environ: Mapping[str, str]) -> Service:
    host = environ.get(f"{stem}_SERVICE_HOST", "")
    port, note = _port(stem, variables, told, environ)
    if host and not is_address(host) and _DNS_NAME.fullmatch(host.lower()):
        return Service(
            stem, host.lower(), port, tuple(variables), note
        )  # an application's own, which says the name itself
    names = names_of(stem)
    name = names[0] if len(names) == 1 else None
    if name == "kubernetes":
        name = "kubernetes.default"  # which the kubelet tells everyone of, whatever their namespace
    return Service(stem, name, port, tuple(variables), note)


def _port(stem: str, variables: Sequence[str], told: Mapping[str, Read], environ: Mapping[str, str]) -> tuple[str, str]:
    """Return a port of TCP, or the name of one; the first of the service where there are several."""
    links = {variable: environ.get(variable, "") for variable in (f"{stem}_PORT", *variables) if variable in environ}
    tcp = [match["port"] for value in links.values() if value.startswith("tcp:") and (match := _LINK.fullmatch(value))]
    first = environ.get(f"{stem}_SERVICE_PORT", "")
    if tcp or first.isdigit():
        udp = environ.get(f"{stem}_PORT", "").startswith(("udp:", "sctp:"))
        return (tcp[0] if udp and tcp else first if first.isdigit() else tcp[0]), ""
    named = [(told[variable].port, environ.get(variable, "")) for variable in variables if told[variable].port]
    for name, value in named:
        return (value, "") if value.isdigit() else (name, f"the port named {name}")
    return "", "its port is asked of DNS"
