"""The target of a PostgreSQL, in which libpq's query may say as much as the rest (libpq, 34.1.1.2 and 34.1.2).

Reads what `_dsn` has taken apart; opens nothing.
"""

import re

from gatekeeper.probes._database import said
from gatekeeper.probes._dsn import Dsn, Place
from gatekeeper.probes._target import port_number, split_port
from gatekeeper.values import BadValueError

_HOST_IN_ESCAPES = re.compile(
    r"(?P<before>[^:]*://(?:[^/?#]*@)?)(?P<host>(?:%2[Ff]|%40)[^/?#:,]*)(?P<rest>.*)", re.DOTALL
)


def with_socket_in_query(target: str) -> str:
    """Return a target whose host is a folder (``%2Frun%2Fpostgresql``) with that in its query, where it may stand."""
    found = _HOST_IN_ESCAPES.fullmatch(target)
    if not found:
        return target
    port, tail = re.fullmatch(r"(?::([0-9]*))?(.*)", found["rest"], re.DOTALL).groups()  # type: ignore[union-attr]  # any text matches
    path, _, query = tail.partition("?")
    more = f"host={found['host']}" + (f"&port={port}" if port else "")
    return f"{found['before']}{path}?{more}&{query}"


def _hosts(dsn: Dsn) -> str:
    """Return the hosts that the query says, where SQLAlchemy has each under a key of its own."""
    return ",".join(value.value for key, value in dsn.query if key.lower() == "host" and value.value)


def folder_of(dsn: Dsn) -> str | None:
    """Return the folder of the socket file that the query says, None where it says none; raises `BadValueError`."""
    host = _hosts(dsn)
    if "," in host and any(each.startswith(("/", "@")) for each in host.split(",")):
        message = "names several hosts, one of them a folder: declare each, with | between them"
        raise BadValueError(message)
    return host if host.startswith(("/", "@")) else None


def places_of(dsn: Dsn, default: int) -> tuple[Place, ...]:
    """Return the hosts of a target, the query's before the others, with the ports that the query says.

    ``default`` is the port where none is said. Raises `BadValueError`.
    """
    hosts, port = _hosts(dsn) or said(dsn, "hostaddr"), said(dsn, "port")
    if folder_of(dsn):
        return ()
    places = dsn.places
    if hosts:
        # An address of IPv6 stands there without brackets.
        names = [f"[{each}]" if each.count(":") > 1 and not each.startswith("[") else each for each in hosts.split(",")]
        found = [split_port(each, f"{dsn.scheme}://HOST:PORT") for each in names]
        places = tuple(Place(host, own or default) for host, own in found)
    if not port:
        return places
    ports = port.split(",")
    if len(ports) not in (1, len(places)):
        message = "has not as many ports as hosts in its query"
        raise BadValueError(message)
    ports = ports * len(places) if len(ports) == 1 else ports
    return tuple(place._replace(port=port_number(each)) for place, each in zip(places, ports, strict=True))
