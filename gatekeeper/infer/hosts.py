"""A variable that names a host, and the one that stands beside it for its port. Looks at names alone."""

import re

_HOST = re.compile(r"(?P<stem>.+)(?P<between>[_.-])(?P<host>HOST)", re.IGNORECASE)
_JOINED = re.compile(r"(?P<stem>PG|POSTGRES|MYSQL|REDIS|MONGO|RABBITMQ)(?P<between>)(?P<host>HOST)")  # PGHOST, of libpq


def host_of(name: str) -> re.Match[str] | None:
    """Return the parts of a name that is one of a host: ``stem``, ``between`` and ``host``."""
    return _HOST.fullmatch(name) or _JOINED.fullmatch(name)


def port_beside(host: re.Match[str]) -> str:
    """Return the variable of the port that goes with one of a host."""
    return f"{host['stem']}{host['between']}{'PORT' if host['host'].isupper() else 'port'}"
