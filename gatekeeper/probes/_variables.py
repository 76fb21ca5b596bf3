"""The kubelet's names for what a service is, in variables: made of a service, and read back as far as they tell it.

Pure: no environment, no name service. Source: kubernetes pkg/kubelet/envvars/envvars.go; the forms with ``_PORT_`` and
a number are those of Docker's links.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_READ = re.compile(
    r"(?P<service>.+?)_SERVICE_(HOST|PORT(_(?P<port>.+))?)"
    r"|(?P<link>.+?)_PORT(_(?P<number>[0-9]+)_(?P<protocol>TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?"
)
_LINK_OF_A_SERVICE = re.compile(r".+_SERVICE_PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?")


class Port(NamedTuple):
    """A port of a service; ``name`` is empty where it has none, ``protocol`` one of TCP, UDP and SCTP."""

    number: int
    name: str = ""
    protocol: str = "TCP"


class Read(NamedTuple):
    """What a variable's name alone tells: the service's name as it stands in it, and the name of a port, if any."""

    stem: str
    port: str = ""
    is_link: bool = False


def stem_of(name: str) -> str:
    """Return what a service's variables begin with, as REDIS_CACHE for redis-cache."""
    return re.sub(r"^(?=[0-9])", "_", re.sub(r"[-.]", "_", name)).upper()


def port_variable(name: str) -> str:
    """Return the name of the variable that tells a service's first port."""
    return f"{stem_of(name)}_SERVICE_PORT"


def variables_of(name: str, address: str, ports: Sequence[Port]) -> dict[str, str]:
    """Return all variables of a service with this cluster IP, in the kubelet's order; the first port counts most.

    ``name`` is the service's own, without its namespace. Empty without a port, which no service with an IP is.
    """
    if not ports:
        return {}
    stem, first = stem_of(name), port_variable(name)
    made = {f"{stem}_SERVICE_HOST": address, first: str(ports[0].number)}
    made |= {f"{first}_{stem_of_port(port.name)}": str(port.number) for port in ports if port.name}
    where = f"[{address}]" if ":" in address else address
    made[f"{stem}_PORT"] = f"{ports[0].protocol.lower()}://{where}:{ports[0].number}"
    for port in ports:
        protocol = port.protocol.lower()
        link = f"{stem}_PORT_{port.number}_{protocol.upper()}"
        made |= {
            link: f"{protocol}://{where}:{port.number}",
            f"{link}_PROTO": protocol,
            f"{link}_PORT": str(port.number),
            f"{link}_ADDR": address,
        }
    return made


def variables_of_object(service: Mapping[str, Any]) -> dict[str, str]:
    """Return all variables of a Service as an API server has it (core/v1); empty where it has no cluster IP."""
    about, spec = service.get("metadata") or {}, service.get("spec") or {}
    address = spec.get("clusterIP") or "None"
    if address == "None":  # headless, or another name for something outside
        return {}
    ports = [
        Port(each["port"], each.get("name") or "", each.get("protocol") or "TCP") for each in spec.get("ports") or ()
    ]
    return variables_of(about["name"], address, ports)


def stem_of_port(name: str) -> str:
    """Return what a port's name is in a variable."""
    return re.sub(r"[-.]", "_", name).upper()


def read_name(variable: str) -> Read | None:
    """Return what a variable's name tells, None where it is none of a service; `REDIS_PORT` may be anybody's."""
    found = _READ.fullmatch(variable)
    if not found:
        return None
    if found["service"]:
        return Read(found["service"], (found["port"] or "").lower().replace("_", "-"))
    return Read(found["link"], is_link=True)


def is_doubtful(variable: str) -> bool:
    """Tell whether a name alone may be that of a port of X, or of a link of X-service."""
    return bool(_LINK_OF_A_SERVICE.fullmatch(variable))


def names_of(stem: str) -> tuple[str, ...]:
    """Return the names that a service with these variables may have, as it would be guessed first."""
    plain = re.sub(r"^_(?=[0-9])", "", stem).lower()
    return (plain,) if "_" not in plain else (plain.replace("_", "-"), plain.replace("_", "."))


def merged(environ: Mapping[str, str], made: Mapping[str, str]) -> dict[str, str]:
    """Return an environment with the variables that were made, for a command that follows.

    What is there already and says something stays; a ``$(NAME)`` that the kubelet left, because the service did not
    exist then, is replaced in whatever variable it stands.
    """
    reference = re.compile(r"\$\(([A-Za-z0-9_]+)\)")
    held = {name: made[name] for name in made if reference.search(environ.get(name, "")) or not environ.get(name)}

    counting = {name: held.get(name) or environ[name] for name in made}

    def replaced(value: str) -> str:
        return reference.sub(lambda found: counting.get(found[1], found[0]), value)

    return {name: replaced(value) if "$(" in value else value for name, value in environ.items()} | held
