"""service://NAME[.NAMESPACE][:PORT]: what a Kubernetes user means by a service, with no rights needed.

It resolves as for the application, and its addresses accept a connection as tcp has it. Resolving alone says little:
the name of a ClusterIP is there with nothing behind it, and that of a headless service only with a ready endpoint.

A pod that may list the service's EndpointSlices waits for them first: they come as events, and tell those that serve
from those that only listen. What may not be asked is not needed.
"""

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from gatekeeper.kube.own import MOUNTED, has_account
from gatekeeper.model import Outcome, Reason, Signal, State, failed, waiting
from gatekeeper.probes._connect import addresses, connect, over_endpoints
from gatekeeper.probes._exchange import exchange
from gatekeeper.probes._miss import MissError
from gatekeeper.probes._options import Options, build, option
from gatekeeper.probes._race import Endpoints, endpoints, over_peers
from gatekeeper.probes._resolvconf import DNS_PORT, RESOLV_CONF
from gatekeeper.probes._service import EXAMPLE, in_cluster, parts
from gatekeeper.probes._target import rest_of
from gatekeeper.probes._variables import Port, port_variable, variables_of, variables_of_object
from gatekeeper.resolve import Peer
from gatekeeper.values import duration, flag, not_empty, one_of

if TYPE_CHECKING:
    from gatekeeper.kube.access import Access
    from gatekeeper.kube.rights import Right
    from gatekeeper.kube.serving import Serving
    from gatekeeper.probes._dns import Target


@dataclass(frozen=True, slots=True)
class Service:
    """A service whose name resolves and whose addresses accept a connection."""

    EXAMPLE: ClassVar[str] = "db=service://postgres.prod:5432"
    OVER_THE_NETWORK: ClassVar[bool] = True
    OF_THE_HOST: ClassVar[Mapping[str, tuple[str, ...]]] = {"via": ("api",), "context": ()}  # by its kubeconfig

    name: str
    port: int | str | None
    endpoints: Endpoints = option(endpoints, "how many of the addresses must pass: any, all or a number", default="any")
    linger: float | None = option(
        duration, "watch a new connection so long for a hang-up; 0 does not", unset="two round trips"
    )
    awaited: bool = option(
        flag, "without a port: a name that is not there yet is waited for, and DNS asked then", default=False
    )
    via: str = option(
        one_of("auto", "api", "dns"),
        "where to look: api (its EndpointSlices), dns (and connect), auto (dns, and the API too in a pod that may)",
        default="auto",
    )
    context: str | None = option(not_empty, "a context of the kubeconfig; in auto, its API alone is asked")
    resolv_conf: str = RESOLV_CONF
    dns_port: int = DNS_PORT
    mounted: str = MOUNTED
    servings: "list[Serving]" = dataclasses.field(default_factory=list, compare=False, repr=False)

    @classmethod
    def parse(cls, target: str, options: Options) -> Self:
        """Make the probe of a target; raises `BadOptionsError`."""
        probe = build(cls, options, lambda: parts(rest_of(target)))
        clashes = []
        if probe._by_api_alone and not in_cluster(probe.name):  # noqa: SLF001 - of its own class
            clashes.append(("", "is no service of a cluster: write NAME, NAME.NAMESPACE or NAME.NAMESPACE.svc.ZONE"))
        return build(cls, options, lambda: parts(rest_of(target)), clashes) if clashes else probe

    def needs_rights(self, namespace: str) -> "Sequence[Right]":
        """Return what must be granted for it in a pod of this namespace: nothing, where DNS will do."""
        from gatekeeper.kube.slices import right_to_slices  # noqa: PLC0415 - DNS needs no rights

        meant = in_cluster(self.name)
        return (right_to_slices(meant[1] or namespace),) if meant and self._by_api_alone else ()

    def exports_need(self, namespace: str) -> "Sequence[Right]":
        """Return what must be granted besides where its variables are wanted."""
        from gatekeeper.kube.serving import right_to_service  # noqa: PLC0415 - as above

        meant = in_cluster(self.name)
        return (right_to_service(meant[1] or namespace, meant[0]),) if meant and self._by_api_alone else ()

    async def watch(self) -> Signal | None:
        """Return a signal that tells when the API server knows of a change, None where it is not asked."""
        serving = self._serving()
        self.servings[:] = [serving] if serving else []
        return serving.signal if serving else None

    async def attempt(self) -> Outcome:
        """Look at what serves where the API server may be asked, and connect where that is how it is reached."""
        serving = self.servings[0] if self.servings else self._serving()
        if serving is None:
            return _via("dns", await self._by_dns())
        try:
            if self._by_api_alone:
                return _via("api", await serving.look())
            seen = await serving.glance()
            if seen and seen.reason is Reason.STARTING:
                return _via("api", seen)
            outcome = await self._by_dns()
            if seen and seen.state is State.READY:
                return _via("api and dns", outcome)
            return _via(f"dns; {serving.why_not}", outcome)
        except MissError as miss:
            return _via("api", miss.outcome)
        finally:
            if not self.servings:
                serving.close()

    @property
    def _by_api_alone(self) -> bool:
        return self.via == "api" or (self.via == "auto" and self.context is not None)

    def _serving(self) -> "Serving | None":
        """Return what asks the API server, None where nobody wants or may."""
        meant = in_cluster(self.name)
        if not meant or not (self._by_api_alone or (self.via == "auto" and has_account(self.mounted))):
            return None
        from gatekeeper.kube.access import access  # noqa: PLC0415 - loads what only an API server needs
        from gatekeeper.kube.access import in_cluster as of_pod  # noqa: PLC0415 - as above
        from gatekeeper.kube.serving import Serving  # noqa: PLC0415 - as above

        def way() -> "Access":
            return access(None, self.context) if self._by_api_alone else of_pod(mounted=self.mounted)

        return Serving(way, *meant, self.port if isinstance(self.port, str) else None, self.endpoints)

    async def _by_dns(self) -> Outcome:
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
        if self.port is not None or self._by_api_alone:
            return None
        try:
            await self._only_port()
        except MissError as miss:
            if (miss.outcome.gone and not self.awaited) or miss.outcome.state is State.FAILED:
                variable = port_variable(self.name)
                return f"has no port, and no {variable} is in the environment: {miss.outcome.detail}; write {EXAMPLE}"
        return None

    async def exports(self) -> Mapping[str, str] | Outcome:
        """Return the variables that a kubelet would make of the service, or why there are none.

        The Service object tells all of them; DNS, where that may not be asked, of the port that was waited for.
        """
        if serving := self.servings[0] if self.servings else self._serving():
            try:
                made = variables_of_object(await serving.itself())
                why = f"{self.name} has no address of its own, and no variables are made of such a service"
                return made or failed(Reason.UNWANTED_ANSWER, why)
            except MissError as miss:
                if self._by_api_alone:
                    return miss.outcome
        return await self._exports_of_dns()

    async def _exports_of_dns(self) -> Mapping[str, str] | Outcome:
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


def _via(way: str, outcome: Outcome) -> Outcome:
    return outcome._replace(detail=f"{outcome.detail} (via {way})".lstrip())
