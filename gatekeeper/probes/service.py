"""service://NAME[.NAMESPACE][:PORT]: what a Kubernetes user means by a service, with no rights needed.

It resolves as for the application, and its addresses accept a connection as tcp has it. Resolving alone says little:
the name of a ClusterIP is there with nothing behind it, and that of a headless service only with a ready endpoint.
"""

import asyncio
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from gatekeeper.model import Outcome, Reason, State, failed, waiting
from gatekeeper.probes._connect import addresses, connect, over_endpoints
from gatekeeper.probes._exchange import exchange
from gatekeeper.probes._miss import MissError
from gatekeeper.probes._options import Options, build, option
from gatekeeper.probes._race import Endpoints, endpoints, over_peers
from gatekeeper.probes._resolvconf import DNS_PORT, RESOLV_CONF
from gatekeeper.probes._target import port_number, refuse_more, rest_of
from gatekeeper.probes._variables import Port, port_variable, variables_of
from gatekeeper.resolve import Peer
from gatekeeper.values import BadValueError, duration, flag, quoted

if TYPE_CHECKING:
    from gatekeeper.probes._dns import Target

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)  # RFC 1123, as Kubernetes names its objects
_EXAMPLE = "service://db:5432, service://db.prod:5432 or service://db:PORT-NAME"


@dataclass(frozen=True, slots=True)
class Service:
    """A service whose name resolves and whose addresses accept a connection."""

    EXAMPLE: ClassVar[str] = "db=service://postgres.prod:5432"
    OVER_THE_NETWORK: ClassVar[bool] = True

    name: str
    port: int | str | None
    endpoints: Endpoints = option(endpoints, "how many of the addresses must pass: any, all or a number", default="any")
    linger: float | None = option(
        duration, "watch a new connection so long for a hang-up; 0 does not", unset="two round trips"
    )
    awaited: bool = option(
        flag, "without a port: a name that is not there yet is waited for, and DNS asked then", default=False
    )
    resolv_conf: str = RESOLV_CONF
    dns_port: int = DNS_PORT

    @classmethod
    def parse(cls, target: str, options: Options) -> Self:
        """Make the probe of a target; raises `BadOptionsError`."""
        return build(cls, options, lambda: _parts(rest_of(target)))

    async def attempt(self) -> Outcome:
        """Find the port where it is not a number, and connect."""
        try:
            if isinstance(self.port, str):
                return await self._at_targets(await self._srv(f"_{self.port}._tcp.{self.name}"))
            port = self.port or await self._only_port()
        except MissError as miss:
            return miss.outcome
        return await over_endpoints(self.name, port, self.endpoints, self._attempt_at)

    async def refuted(self) -> str | None:
        """Return what is wrong with the declaration where DNS says for certain that it tells no port, else None."""
        if self.port is not None:
            return None
        try:
            await self._only_port()
        except MissError as miss:
            if (miss.outcome.gone and not self.awaited) or miss.outcome.state is State.FAILED:
                variable = port_variable(self.name)
                return f"has no port, and no {variable} is in the environment: {miss.outcome.detail}; write {_EXAMPLE}"
        return None

    async def exports(self) -> Mapping[str, str] | Outcome:
        """Return the variables that a kubelet would make of the service, or why there are none.

        As far as DNS tells: of its ports, the one that was waited for.
        """
        try:
            name = self.port if isinstance(self.port, str) else ""
            if isinstance(self.port, int):
                number = self.port
            elif name:
                number = (await self._srv(f"_{name}._tcp.{self.name}"))[0].port
            else:
                number = await self._only_port()
            peers = await addresses(self.name, number)
        except MissError as miss:
            return miss.outcome
        addresses_of_first = [peer.address[0] for peer in peers if peer.family is peers[0].family]
        if len(set(addresses_of_first)) > 1:
            why = f"{self.name} has {len(peers)} addresses, as a headless service has, and no variables are made of one"
            return failed(Reason.UNWANTED_ANSWER, why)
        return variables_of(self.name.partition(".")[0], addresses_of_first[0], (Port(number, name),))

    async def _at_targets(self, targets: "tuple[Target, ...]") -> Outcome:
        if self.endpoints == "any":
            return await over_peers(targets, "any", self._attempt_at_target)
        found = await asyncio.gather(*map(_peers_of, targets))
        misses = [miss for miss in found if isinstance(miss, Outcome)]
        peers = tuple(dict.fromkeys(peer for peers in found if not isinstance(peers, Outcome) for peer in peers))
        if misses and (self.endpoints == "all" or not peers):
            return misses[0]
        return await over_peers(peers, self.endpoints, self._attempt_at)

    async def _only_port(self) -> int:
        """Return the one port that all SRV records of the name itself tell; raises `MissError`.

        A cluster's DNS has a record there for each port of the service (and each ready endpoint of a headless one).
        """
        # Asked only once the name is there: what is then told is told for good, and not of a service yet to come.
        await addresses(self.name, 0)
        how = f"{self.name} does not tell its port: write {self.name}:5432, or a port's name, as in {self.name}:http"
        try:
            targets = await self._srv(self.name)
        except MissError as miss:
            if not miss.outcome.gone:
                raise
            if miss.outcome.retry_after is not None:  # a cache may still say what was true before the service came
                raise MissError(waiting(Reason.NO_DATA, how, retry_after=miss.outcome.retry_after)) from None
            raise MissError(failed(Reason.NO_DATA, f"{how} (no SRV record)")) from None
        ports = {target.port for target in targets}
        if len(ports) > 1:
            raise MissError(failed(Reason.UNWANTED_ANSWER, f"{how} (SRV records of {len(ports)} ports)"))
        return ports.pop()

    async def _srv(self, name: str) -> "tuple[Target, ...]":
        from gatekeeper.probes._dns import Resolver, look_up, srv_targets  # noqa: PLC0415 - a port number needs no DNS library

        resolver = Resolver(resolv_conf=self.resolv_conf, port=self.dns_port)
        targets = srv_targets(await look_up(resolver, name, ("SRV",), bool))
        if not targets:  # RFC 2782: a target of "." says that there is decidedly no such service
            raise MissError(waiting(Reason.NO_DATA, f"{name} (its SRV record says: no such service)", gone=True))
        return targets

    async def _attempt_at_target(self, target: "Target") -> Outcome:
        return await over_endpoints(target.host, target.port, "any", self._attempt_at)

    async def _attempt_at(self, peer: Peer) -> Outcome:
        loop = asyncio.get_running_loop()
        began = loop.time()
        with await connect(peer) as sock:
            took = loop.time() - began
            return await exchange(sock, str(peer), took, linger=self.linger, send=None, expect=None)


async def _peers_of(target: "Target") -> tuple[Peer, ...] | Outcome:
    try:
        return await addresses(*target)
    except MissError as miss:
        return miss.outcome


def _parts(authority: str) -> Mapping[str, Any]:
    """Return the name and the port of ``NAME[.NAMESPACE][:PORT]``; raises `BadValueError` with every problem."""
    refuse_more(authority, _EXAMPLE)
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
        message = f"has no name: write {_EXAMPLE}"
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
        message = f"has no port, and {key} in the environment is none: write {_EXAMPLE}"
        raise BadValueError(message) from None
