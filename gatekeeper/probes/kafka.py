"""kafka://HOST[:PORT][,…]: a Kafka whose broker knows its cluster, and topics where they are declared.

A broker answers ApiVersions at every listener, before any login (KIP-43). Whether the listener wants a login, it says
to a proposal of SASL, which leaves nothing in its log. Where it wants none, or was given one, it tells the controller,
the brokers and the topics (Metadata). In KRaft a broker listens once it has caught up with its controllers, not before.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from gatekeeper.model import Outcome, Reason, State, failed, ready, waiting
from gatekeeper.probes._account import Account, loaded
from gatekeeper.probes._dialog import Dialog
from gatekeeper.probes._dsn import Dsn, Place, read_dsn
from gatekeeper.probes._kafka import METADATA, SASL_HANDSHAKE, Cluster, Kafka, Topic
from gatekeeper.probes._options import BadOptionsError, Options, option
from gatekeeper.probes._race import over_peers
from gatekeeper.probes._server import Server
from gatekeeper.probes._target import host_name, port_number
from gatekeeper.values import BadValueError, Secret, flag, one_of, quoted, whole

# The errors that are told apart (protocol guide, Error Codes).
_UNKNOWN_TOPIC, _LEADER_NOT_AVAILABLE, _TOPIC_FORBIDDEN = 3, 5, 29
_UNSUPPORTED_MECHANISM, _AUTHENTICATION_FAILED = 33, 58

_OVER_TLS = "kafka+ssl"  # what a target means whose servers say so
# Before a server: the protocol of its listener (Kafka's security.protocol).
_PROTOCOL = r"(?i)(?<=[/,@\s])((?:SASL_)?(?:PLAINTEXT|SSL))://"


def topic_name(text: str) -> str:
    """Return the name of a topic (Kafka's Topic.validate); raises `BadValueError`."""
    import re  # noqa: PLC0415 - for those who declare one

    if re.fullmatch(r"[A-Za-z0-9._-]{1,249}", text) and text not in (".", ".."):
        return text
    message = f"{quoted(text)} is no name of a topic: up to 249 letters, digits, dots, _ and -"
    raise BadValueError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaCluster(Account):
    """A Kafka whose broker knows its cluster and, where they are declared, topics."""

    EXAMPLE: ClassVar[str] = "events=kafka://kafka-1,kafka-2 topic=orders partitions=12"
    PORTS: ClassVar[Mapping[str, int]] = {"kafka": 9092}
    SECURE: ClassVar[frozenset[str]] = frozenset({_OVER_TLS})
    DRIVER: ClassVar[str] = "kafka.net.sasl"
    EXTRA: ClassVar[str] = "kafka"

    mechanism: str = option(one_of("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"), "how to log in (SASL)", default="PLAIN")
    topic: tuple[str, ...] = option(topic_name, "topics that must be there, with commas", default=(), commas=True)
    partitions: int | None = option(whole(1, 1_000_000), "how many partitions each topic must have at least")
    brokers: int = option(whole(1, 10_000), "how many brokers the cluster must have at least", default=1)
    advertised: bool = option(flag, "ask each broker too, where it tells clients to go", default=False)

    @classmethod
    def parse(cls, target: str, options: Options) -> Self:
        """Make the probe of a target; raises `BadOptionsError`."""
        probe: Self = Account.parse.__func__(cls, target, options)  # type: ignore[attr-defined]  # slots: no super() here
        wrong = []
        if probe.logs_in and not probe.dsn.user:
            wrong.append(("", "logs in without a user: write kafka://USER@HOST:PORT"))
        if probe.logs_in and not (probe.dsn.password or probe.password_file):
            wrong.append(("login", "needs a password: give password_file"))
        if "mechanism" in options and not probe.logs_in:
            wrong.append(("mechanism", "is for who logs in: give password_file"))
        if wrong:
            raise BadOptionsError(*wrong)
        return probe

    @classmethod
    def dsn_of(cls, target: str, *, needs_host: bool) -> Dsn:
        """Return the parts of a target; raises `BadValueError`.

        Servers may be given as settings of clients list them, ``SASL_SSL://a:9093,SASL_SSL://b:9093``.
        """
        import re  # noqa: PLC0415 - for those who declare one

        said = {each.upper() for each in re.findall(_PROTOCOL, target)}
        dsn = read_dsn(re.sub(_PROTOCOL, "", target), cls.PORTS, needs_host=needs_host)
        if any(re.search(_PROTOCOL, f",{each.rpartition('@')[0]}") for each in target.split(",")):
            message = "has a user behind SSL:// or the like: write it in front, as in kafka://USER@SSL://HOST:PORT"
            raise BadValueError(message)
        if len(said) > 1:
            message = "lists servers of several protocols: declare them on their own"
            raise BadValueError(message)
        return dsn._replace(scheme=_OVER_TLS) if said & {"SSL", "SASL_SSL"} else dsn

    @classmethod
    def of_dsn(cls, dsn: Dsn) -> Mapping[str, Any]:
        """Take a user and a password."""
        if dsn.path or dsn.query:
            message = "takes nothing behind the port: write kafka://HOST:PORT"
            raise BadValueError(message)
        return {"dsn": dsn}

    @classmethod
    def clashes(cls, target: str, options: Options) -> list[tuple[str, str]]:
        """Return the options that do not go together."""
        wrong = Server.clashes(target, options)
        if "partitions" in options and "topic" not in options:
            wrong.append(("partitions", "needs topic, whose partitions are counted"))
        return wrong

    # The login is a part of the conversation: there is no second connection.
    attempt_at = Server.attempt_at
    attempt_at_file = Server.attempt_at_file

    async def speak(self, dialog: Dialog, name: str) -> Outcome:
        """Ask what the broker is and what it knows, after a login where one is declared."""
        del name
        talk = Kafka(dialog)
        takes = await talk.versions()
        if 4 not in takes.get(METADATA, ()):  # noqa: PLR2004 - the version that is spoken
            why = "it serves no clients here, as at a controller's listener, or is older than Kafka 0.11"
            return waiting(Reason.UNWANTED_ANSWER, f"{dialog.where} ({why})")
        if 1 in takes.get(SASL_HANDSHAKE, ()):
            error = await talk.handshake(self.mechanism)
            if error in (0, _UNSUPPORTED_MECHANISM):
                if not self.logs_in:
                    return self._not_logged_in(dialog.where)
                refusal = await self._refusal(talk, error, dialog.where)
                if refusal:
                    return refusal
            elif self.logs_in:
                return waiting(Reason.UNWANTED_ANSWER, f"{dialog.where} (it takes no login at this listener)")
        return await self._judged(await talk.cluster(*self.topic), dialog.where)

    def _not_logged_in(self, where: str) -> Outcome:
        if self.topic or self.advertised or self.brokers > 1:
            return failed(Reason.FORBIDDEN, f"{where} (it wants a login before it tells more)")
        return ready(where, reason=Reason.READY_AUTH_REQUIRED)

    async def _refusal(self, talk: Kafka, error: int, where: str) -> Outcome | None:
        password = self.password() or Secret("")
        if error == _UNSUPPORTED_MECHANISM:
            return failed(Reason.FORBIDDEN, f"{where} (it does not offer the mechanism {self.mechanism})")
        await loaded("gatekeeper.probes._kafka_login")
        from gatekeeper.probes._kafka_login import authenticated  # noqa: PLC0415 - the driver is for who logs in

        error = await authenticated(talk, self.mechanism, self.dsn.user or "", password.value)
        if error == _AUTHENTICATION_FAILED:  # at once: further tries may lock the account
            return failed(Reason.FORBIDDEN, f"{where} (user or password is refused)")._replace(certain=True)
        return waiting(Reason.UNWANTED_ANSWER, f"{where} (Kafka's error {error})") if error else None

    async def _judged(self, cluster: Cluster, where: str) -> Outcome:
        if cluster.controller not in cluster.brokers:
            return waiting(Reason.STARTING, f"{where} (it knows of no controller yet)")
        if len(cluster.brokers) < self.brokers:
            return waiting(Reason.STARTING, f"{where} ({len(cluster.brokers)} of {self.brokers} brokers)")
        topics = {topic.name.decode("ascii", "replace"): topic for topic in cluster.topics}
        for name in self.topic:
            if miss := self._topic_miss(name, topics.get(name), where):
                return miss
        return await self._advertised(cluster, where) if self.advertised else ready(where)

    def _topic_miss(self, name: str, topic: Topic | None, where: str) -> Outcome | None:
        if topic is None or topic.error == _UNKNOWN_TOPIC:
            return waiting(Reason.NOT_FOUND, f"{where} (topic {name})", gone=topic is not None)
        if topic.error == _TOPIC_FORBIDDEN:
            return waiting(Reason.FORBIDDEN, f"{where} (no permission for topic {name})")  # it may be granted yet
        if topic.error not in (0, _LEADER_NOT_AVAILABLE):
            return waiting(Reason.UNWANTED_ANSWER, f"{where} (topic {name}: Kafka's error {topic.error})")
        if (count := len(topic.partitions)) < (self.partitions or 0):
            return waiting(Reason.UNWANTED_ANSWER, f"{where} (topic {name}: {count} of {self.partitions} partitions)")
        idle = sum(partition.leader < 0 for partition in topic.partitions)
        if idle or not count:
            return waiting(Reason.STARTING, f"{where} (topic {name}: {idle} of {count} partitions have no leader)")
        return None

    async def _advertised(self, cluster: Cluster, where: str) -> Outcome:
        """Hold the same conversation with every broker, at the address that an application would go to."""
        try:
            places = [Place(host_name(host, ""), port_number(str(port))) for host, port in cluster.brokers.values()]
        except BadValueError:
            return waiting(Reason.UNWANTED_ANSWER, f"{where} (it tells clients to go to what is no address)")

        async def at(place: Place) -> Outcome:
            there = self.dsn._replace(places=(place,))
            return await replace(self, dsn=there, unix=None, endpoints="any", advertised=False).attempt()

        outcome = await over_peers(places, "all", at)
        return ready(where) if outcome.state is State.READY else outcome._replace(gone=False)
