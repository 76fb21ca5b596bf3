"""Protocols by the schemes and the words that name them in other people's settings, with their ports.

Not the list of kinds: most have none, and as soon as one has, it is found here by its name.
"""

from collections.abc import Iterator
from typing import NamedTuple

from gatekeeper.probes import KINDS


class Protocol(NamedTuple):
    """A protocol: its name, its default port, other names of it, and those of it over TLS with their default port.

    ``over_tls`` are further ports at which TLS is the custom; one that ``upgrades`` begins in plain at any port.
    """

    name: str
    port: int
    others: str = ""
    secure: str = ""
    secure_port: int | None = None
    over_tls: tuple[int, ...] = ()
    upgrades: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """All its names, its own first."""
        return (self.name, *self.others.split(), *self.secure.split())


class Spoken(NamedTuple):
    """What a scheme means: the kind that probes it (None if there is none yet), the port (None if unknown), whose.

    ``is_secure`` says that the scheme itself means TLS; ``secure_ports`` are those at which it is spoken otherwise.
    """

    kind: str | None
    port: int | None
    protocol: str = ""
    secure_ports: tuple[int, ...] = ()
    is_secure: bool = False
    upgrades: bool = False


_FIRST_FREE = 1024
_OF_MSK = (9094, 9096, 9098, 9194, 9196, 9198)


def _all() -> Iterator[Protocol]:
    yield Protocol("postgres", 5432, "postgresql pg pgsql psql postgis timescaledb cockroachdb", upgrades=True)
    yield Protocol("mysql", 3306, "mariadb mysql2 trilogy mysqlgis", upgrades=True)
    yield Protocol("redis", 6379, "valkey rediscache", "rediss valkeys")
    yield Protocol("sentinel", 26379, "redis-sentinel")
    yield Protocol("amqp", 5672, "rabbitmq rabbit pyamqp", "amqps", 5671)
    # Strimzi's listener for TLS, and Amazon MSK's (port information), inside its network and from outside.
    yield Protocol("kafka", 9092, "plaintext sasl_plaintext", "sasl_ssl", None, (9093, *_OF_MSK))
    yield Protocol("mongodb", 27017, "mongo", "mongodb+srv")
    yield Protocol("memcached", 11211, "memcache pymemcache")
    yield Protocol("nats", 4222, upgrades=True)
    yield Protocol("mqtt", 1883, "mosquitto", "mqtts", 8883, (8884,))  # 8884: with certificates of clients
    yield Protocol("mssql", 1433, "sqlserver")
    yield Protocol("oracle", 1521)
    yield Protocol("clickhouse", 9000)
    yield Protocol("cassandra", 9042, "scylla")
    yield Protocol("neo4j", 7687, "bolt")
    yield Protocol("zookeeper", 2181, "zk")
    yield Protocol("etcd", 2379)
    yield Protocol("pulsar", 6650, "", "pulsar+ssl", 6651)
    yield Protocol("elasticsearch", 9200, "opensearch elastic")
    yield Protocol("influxdb", 8086, "influx")
    yield Protocol("ldap", 389, "", "ldaps", 636, (3269,))  # 3269: Active Directory's global catalogue
    yield Protocol("smtp", 25, "mail", "smtps", 465)
    yield Protocol("imap", 143, "", "imaps", 993)
    yield Protocol("ftp", 21, "", "ftps", 990)
    yield Protocol("ssh", 22, "sftp")
    yield Protocol("grpc", 0, "", "grpcs")
    yield Protocol("ntp", 123)
    yield Protocol("temporal", 7233)
    yield Protocol("ws", 80, "", "wss", 443)
    yield Protocol("http", 80, "", "https", 443)


def usual_at(port: int) -> str | None:
    """Return the kind whose own port this is, None where it is nobody's or one that every system may give away."""
    return next((each.name for each in _all() if each.port == port >= _FIRST_FREE and each.name in KINDS), None)


def spoken(scheme: str) -> Spoken | None:
    """Return what a scheme or a word means, None where it is not known.

    Of the kinds, only those of a protocol are: what runs a command or reads a file is never named by a value.
    """
    for protocol in _all():
        if scheme in protocol.names:
            others = protocol.secure.split()
            secure = scheme in others
            port = (protocol.secure_port if secure else None) or protocol.port or None
            # A kind that speaks TLS under a scheme of its own has it in the table; another is only reached. Of the
            # other names its own comes first, whatever else it is called in the table.
            tried = (scheme,) if secure else tuple(each for each in protocol.names if each not in others)
            kind = next((each for each in tried if each in KINDS), None)
            own = (protocol.secure_port,) if protocol.secure_port else ()
            return Spoken(kind, port, protocol.name, (*own, *protocol.over_tls), secure, protocol.upgrades)
    return None
