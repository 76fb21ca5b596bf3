"""Schemes that other people's URLs have and no kind has: what to write instead. Loaded for a bad declaration alone."""

import re

from gatekeeper.probes import KINDS
from gatekeeper.values import nearest

_TLS = "tls=yes behind it"
_SAYS = (
    (r"(redis|valkey)s?[+-]sentinel|sentinel", "a Sentinel is asked as itself: write redis://HOST:26379"),
    (r"(redis|valkey)s?[+-](socket|unix)", "write redis://localhost unix=/PATH"),
    (r"(redis|valkey)[+-]cluster", "write redis://HOST:PORT,HOST:PORT"),
    (r"rediss[+-]cluster", "write rediss://HOST:PORT,HOST:PORT"),
    (r"(elasticsearch|opensearch)\+http", r"write \1://HOST:PORT"),
    (r"(elasticsearch|opensearch)\+https", rf"write \1://HOST:PORT, and {_TLS}"),
    (r"https\+influxdb", f"write influxdb://HOST:PORT, and {_TLS}"),
    (r"smtp\+(tls|starttls)", "write smtp://HOST:587, and starttls=yes behind it"),
    (
        r"plaintext|ssl",
        "of Kafka, write kafka:// before it; of others, their own: mqtts://, rediss://, amqps://, tls://",
    ),
    (r"wss?", "write tcp://HOST:PORT or tls://HOST:PORT: WebSockets are not spoken here"),
    (r"ldapi", "write ldap://localhost unix=/PATH"),
    (r"jdbc|r2dbcs?", "write the server it names: postgres://, mysql://, or tcp://HOST:PORT"),
    (r"ecto", "write postgres:// or mysql://, whichever its adapter is for"),
    (r"mssql(\+.*)?|sqlserver|sqlsrv|oracle(\+.*)?|clickhouse(\+.*)?|neo4j|bolt|cassandra", "write tcp://HOST:PORT"),
)


def foreign(scheme: str, rest: str) -> str:
    """Return what is wrong with a scheme that is no kind, and what to write; nothing of the ``rest`` is shown."""
    if re.search(r"@(tcp[46]?|unix)?\(", rest):  # what looks like a scheme is the user
        return "is written as for Go's MySQL driver: put mysql:// before it"
    return f"unknown kind {scheme}{_instead(scheme)}"


def _instead(scheme: str) -> str:
    for pattern, say in _SAYS:
        if found := re.fullmatch(pattern, scheme):
            return f": {found.expand(say)}"
    base, _, way = scheme.partition("+")
    if way in ("ssl", "tls") and base in KINDS:
        return f": write {base}s://HOST" if f"{base}s" in KINDS else f": write {base}://HOST, and {_TLS}"
    return nearest(scheme, KINDS) or f"; known are {', '.join(KINDS)}"
