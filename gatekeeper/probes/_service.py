"""The words of a service target: the name that DNS has, what it is in a cluster, and the port."""

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from gatekeeper.probes._target import port_number, refuse_more
from gatekeeper.probes._variables import port_variable
from gatekeeper.values import BadValueError, quoted

EXAMPLE = "service://db:5432, service://db.prod:5432 or service://db:PORT-NAME"
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)  # RFC 1123, as Kubernetes names its objects


def in_cluster(name: str) -> tuple[str, str | None] | None:
    """Return the service and its namespace (None for one's own) that a name means in a cluster, None for no service.

    Kubernetes, DNS for Services and Pods: ``SERVICE.NAMESPACE.svc.ZONE``, and what the search list makes of less.
    """
    labels = name.removesuffix(".").split(".")
    if len(labels) > 2 and labels[2] != "svc":  # noqa: PLR2004 - the name of a pod, or of no cluster
        return None
    if name.endswith(".") and len(labels) < 3:  # noqa: PLR2004 - absolute: no search list
        return None
    return labels[0], labels[1] if len(labels) > 1 else None


def parts(authority: str) -> Mapping[str, Any]:
    """Return the name and the port of ``NAME[.NAMESPACE][:PORT]``; raises `BadValueError` with every problem."""
    refuse_more(authority, EXAMPLE)
    if authority.count(":") > 1 or re.fullmatch(r"[0-9.]+(:.*)?", authority):
        message = f"{quoted(authority)} is an address, not a service: write tcp://HOST:PORT (IPv6 in brackets)"
        raise BadValueError(message)
    name, colon, port = authority.partition(":")
    readers: dict[str, Callable[[], Any]] = {
        "name": lambda: _name(name),
        "port": lambda: _port(port) if colon else _variable(name),
    }
    parts: dict[str, Any] = {}
    wrong = []
    for key, read in readers.items():
        try:
            parts[key] = read()
        except BadValueError as error:
            wrong.append(str(error))
    if wrong:
        raise BadValueError("; ".join(wrong))
    return parts


def _name(name: str) -> str:
    if not name:
        message = f"has no name: write {EXAMPLE}"
        raise BadValueError(message)
    if not all(map(_LABEL.fullmatch, name.removesuffix(".").split("."))):
        message = f"{quoted(name)} is no service name: lower-case letters, digits and -, a namespace behind a dot"
        raise BadValueError(message)
    return name


def _port(port: str) -> int | str:
    if port.isdigit():
        return port_number(port)
    if not _LABEL.fullmatch(port):
        message = f"{quoted(port)} is neither a port number nor the name of a port"
        raise BadValueError(message)
    return port


def _variable(name: str) -> int | None:
    """Return the port that the kubelet tells in the environment, where only services of the pod's namespace are."""
    key = port_variable(name)
    if "." in name or not os.environ.get(key):
        return None
    try:
        return port_number(os.environ[key])
    except BadValueError:
        message = f"has no port, and {key} in the environment is none: write {EXAMPLE}"
        raise BadValueError(message) from None
