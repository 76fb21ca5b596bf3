"""The kinds of probe: the one table of them, and the rules of a kind.

A kind is a frozen dataclass in a file of its own: its options are fields made by ``_options.option``, ``EXAMPLE`` is a
declaration that works, ``parse(target, options)`` makes a probe or raises ``BadOptionsError`` with every problem, and
``async attempt()`` makes one attempt and returns an Outcome.

- One attempt: no loop over time, no sleep, no time limit of its own, no logging, no environment. The pace holds the
  clock and cancels; what a kind opened is closed by then, at whatever await the cancellation came.
- A dependency that is not there is an Outcome, returned. An exception out of a kind is a fault of ours.
- A detail is one line for people, free of secrets and of what the other side sent.
- ``async watch()``, where a kind has it, returns a Signal that tells when attempting again is worth it.
- ``async refuted()``, where a kind has it, returns what is wrong with the declaration as only the world can tell, or
  None.
- A kind imports the model, the values, the resolver, the underscore helpers beside it and the API client of
  Kubernetes (`gatekeeper.kube`); never another kind.
"""

import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any

KINDS: Mapping[str, str] = {
    "tcp": "tcp:Tcp",
    "unix": "unix:Unix",
    "http": "http:Http",
    "https": "http:Http",
    "tls": "tls:Tls",
    "dns": "dns:Dns",
    "service": "service:Service",
    "file": "file:File",
    "exec": "exec:Exec",
    "notify": "notify:Notify",
    "k8s": "k8s:K8s",
    "memcached": "memcached:Memcached",
    "mysql": "mysql:Mysql",
    "mariadb": "mysql:Mysql",
    "postgres": "postgres:Postgres",
    "postgresql": "postgres:Postgres",
    "redis": "redis:Redis",
    "rediss": "redis:Redis",
    "valkey": "redis:Redis",
    "valkeys": "redis:Redis",
    "mongodb": "mongodb:Mongodb",
    "mongodb+srv": "mongodb:Mongodb",
    "elasticsearch": "elasticsearch:Elasticsearch",
    "opensearch": "elasticsearch:Elasticsearch",
    "influxdb": "influxdb:Influxdb",
    "etcd": "etcd:Etcd",
    "zookeeper": "zookeeper:Zookeeper",
    "amqp": "amqp:Amqp",
    "amqps": "amqp:Amqp",
    "rabbitmq": "amqp:Amqp",
    "mqtt": "mqtt:Mqtt",
    "mqtts": "mqtt:Mqtt",
    "nats": "nats:Nats",
    "grpc": "grpc:Grpc",
    "grpcs": "grpc:Grpc",
    "kafka": "kafka:KafkaCluster",
    "ldap": "ldap:Directory",
    "ldaps": "ldap:Directory",
    "smtp": "smtp:MailServer",
    "smtps": "smtp:MailServer",
    "ssh": "ssh:Ssh",
    "ntp": "ntp:Ntp",
    "temporal": "temporal:Temporal",
}

# Names that a kind does not have, from the URLs of Rails, Django and Celery; SQLAlchemy adds +DRIVER to any.
_DIALECTS: Mapping[str, str] = {
    **{name: name for name in ("postgres", "postgresql", "mysql", "mariadb")},
    **dict.fromkeys(("postgis", "psql", "pgsql", "timescale", "timescaledb", "cockroach", "cockroachdb"), "postgres"),
    **dict.fromkeys(("mysql2", "mysql-connector", "mysqlgis", "trilogy"), "mysql"),
    "pyamqp": "amqp",
}
_OF_JAVA = ("postgresql", "mysql", "mariadb")


def as_kind(target: str) -> str:
    """Return a target under the name of its kind: it may have that of an application's driver for it."""
    scheme, colon, rest = target.partition(":")
    if scheme.lower() in ("jdbc", "r2dbc"):
        return _of_java(rest) or target
    dialect = _DIALECTS.get(scheme.lower().partition("+")[0])
    if not dialect or scheme.lower() in KINDS:
        return target
    others = re.sub(rf"([,;]\s*){re.escape(scheme)}://", rf"\1{dialect}://", rest)  # lists repeat it
    return f"{dialect}{colon}{others}"


def _of_java(rest: str) -> str | None:
    """Return the target in a URL of Java's, in which wrappers stand before the database and its modes behind it."""
    words, slashes, place = rest.partition("://")
    found = next((word for word in words.lower().split(":") if word in _OF_JAVA), None)
    return f"{found}://{place}" if found and slashes and re.fullmatch("[A-Za-z0-9:-]+", words) else None


def load(kind: str) -> Any:  # noqa: ANN401 - the class of a kind: what its `parse` returns is a model.Probe
    """Return the class of a kind, loading its file (and what that needs) only now."""
    module, name = KINDS[kind].split(":")
    return getattr(import_module(f"gatekeeper.probes.{module}"), name)
