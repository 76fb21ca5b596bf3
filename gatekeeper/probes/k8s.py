"""k8s://[NAMESPACE/]RESOURCE[.GROUP]/NAME, or ?selector=LABELS instead of a name: an object of Kubernetes is up.

What each resource means by ready is known for the usual ones; for all others `condition` or `json` says it. Told by a
watch that all dependencies of one list share, and in words of the object's status, never of its content.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from gatekeeper.kube import endpoints, parts, ready, rights
from gatekeeper.kube.discovery import Resource, known
from gatekeeper.model import Outcome, Reason, Signal, State, failed, waiting
from gatekeeper.model import ready as found_ready
from gatekeeper.probes._aside import aside
from gatekeeper.probes._informed import Informed
from gatekeeper.probes._k8s import TARGETS, condition, object_of
from gatekeeper.probes._local import file_path
from gatekeeper.probes._miss import MissError, during
from gatekeeper.probes._options import Options, build, later, option
from gatekeeper.probes._target import rest_of
from gatekeeper.values import not_empty, one_of, whole

if TYPE_CHECKING:
    from gatekeeper.kube.access import Access
    from gatekeeper.kube.informer import Informer
    from gatekeeper.probes._json import Assertion

_MOST = 1_000_000


@dataclass(frozen=True, slots=True)
class K8s:
    """An object of Kubernetes, or several by their labels, that are up."""

    EXAMPLE: ClassVar[str] = "migrated=k8s://job/migrate"

    namespace: str | None
    word: str
    group: str | None
    name: str
    selector: str
    condition: tuple[str, str] | None = option(condition, "a condition that must hold: TYPE or TYPE=STATUS")
    json: "Assertion | None" = option(later("_json", "Assertion"), "a JSONPath expression that must hold of the object")
    need: int | None = option(
        whole(1, _MOST), "how many of the objects must be ready, or endpoints of a service", unset="all; 1 endpoint"
    )
    absent: str = option(one_of("wait", "ready", "fail"), "what its absence means: wait, ready or fail", default="wait")
    key: tuple[str, ...] = option(
        not_empty, "a key that a Secret or ConfigMap must hold", default=(), many=True, commas=True
    )
    port: str | None = option(not_empty, "of a service: the name of the port that must be served")
    context: str | None = option(not_empty, "a context of the kubeconfig", unset="the current one")
    kubeconfig: str | None = option(file_path, "a kubeconfig file", local=True, unset="KUBECONFIG, ~/.kube/config")
    watches: list[Informed] = dataclasses.field(default_factory=list, compare=False, repr=False)
    places: "list[_Place]" = dataclasses.field(default_factory=list, compare=False, repr=False)

    @classmethod
    def parse(cls, target: str, options: Options) -> Self:
        """Make the probe of a target; raises `BadOptionsError`."""
        parts: dict[str, Any] = {}

        def read() -> Mapping[str, Any]:
            parts.update(object_of(rest_of(target)))
            return parts

        probe = build(cls, options, read)
        clashes = probe._clashes()  # noqa: SLF001 - of its own class
        return build(cls, options, lambda: parts, clashes) if clashes else probe

    def needs_rights(self, namespace: str) -> Sequence[rights.Right] | None:
        """Return what must be granted for it in a pod of this namespace, None where only a cluster knows what it is."""
        kind = known(self.group, self.word)
        if kind is not None:
            return (self._right(kind, namespace),)
        place = self.namespace or namespace
        return (rights.Right(self.group, self.word, place, self.name, guessed=True),) if self.group else None

    async def attempt(self) -> Outcome:
        """Look once at what the shared watch knows."""
        try:
            with during(f"asking the Kubernetes API for {self._shown}"):
                return await self._looked()
        except MissError as miss:
            return miss.outcome

    async def watch(self) -> Signal | None:
        """Return a signal that tells when what is known has changed."""
        self.watches[:] = [Informed()]
        return self.watches[0]

    async def _looked(self) -> Outcome:
        watch = self.watches[0] if self.watches else Informed()
        try:
            place = self.places[0] if watch.take_news() else await self._place()
            self.places[:] = [place]
            watch.hold(place.news)
            await place.news.settled()
            watch.seen = place.news.version
            if place.news.trouble:
                raise MissError(self._explained(place.news.trouble, place))
            named = sorted((key, each) for key, each in place.news.objects.items() if self._is_meant(place, *key))
            return await self._judged(place.kind, named, place.way)
        finally:
            if not self.watches:
                watch.close()

    async def _place(self) -> "_Place":
        """Return where the object is looked for, by what the files and the server say now."""
        from gatekeeper.kube.access import access  # noqa: PLC0415 - what a declaration does not need
        from gatekeeper.kube.shared import informer  # noqa: PLC0415 - as above
        from gatekeeper.kube.slices import slices  # noqa: PLC0415 - as above

        way = await aside("reading how to reach the API", lambda: access(self.kubeconfig, self.context))
        kind = await self._resource(way)
        namespace = (self.namespace or way.namespace) if kind.namespaced else ""
        if _full(kind) == "services":
            return _Place(way, kind, namespace, slices(way, namespace, self.name))
        field = f"metadata.name={self.name}" if self.name else ""
        keep = parts.standing if self.selector and not self.json else parts.whole
        return _Place(way, kind, namespace, informer(way, kind.path(namespace), self.selector, field, keep=keep))

    async def _resource(self, way: "Access") -> Resource:
        from gatekeeper.kube.answers import ApiError  # noqa: PLC0415 - as above
        from gatekeeper.kube.client import Client  # noqa: PLC0415 - as above
        from gatekeeper.kube.discovery import resource  # noqa: PLC0415 - as above

        try:
            kind = known(self.group, self.word) or await resource(Client(way), self.group, self.word)
        except ApiError as error:
            refused = error.outcome.state is State.FAILED
            why = " when asked for its resources: the ClusterRole system:discovery allows that" if refused else ""
            raise MissError(error.outcome._replace(detail=f"{error}{why}")) from None
        if kind is None:
            what = f"{way.where or way.url.place} (no resource {self._full} yet: no definition is installed)"
            raise MissError(waiting(Reason.NOT_FOUND, what, gone=True))
        if self.namespace and not kind.namespaced:
            raise MissError(failed(Reason.NOT_FOUND, f"{self._full} is of no namespace: leave {self.namespace}/ out"))
        return kind

    def _is_meant(self, place: "_Place", namespace: str, name: str) -> bool:
        """Tell whether an object is asked for: a server that heeds no selector has no other one stand for it."""
        return namespace == place.namespace and (name == self.name or not self.name or _full(place.kind) == "services")

    async def _judged(
        self, kind: Resource, objects: Sequence[tuple[tuple[str, str], Mapping[str, Any]]], way: "Access"
    ) -> Outcome:
        if _full(kind) == "services":
            return self._service([each for _, each in objects])
        outcomes = {name: await self._object(kind, each) for (_, name), each in objects}
        if not outcomes and self.absent != "wait":
            told = f"{self._shown} is absent"
            return found_ready(told) if self.absent == "ready" else failed(Reason.NOT_FOUND, told, gone=True)
        if not self.name:
            return _told(ready.all_of(outcomes, self.need), f"{self._shown}:")
        if not outcomes:
            place = f" in {way.namespace}" if kind.namespaced and not self.namespace else ""
            return waiting(Reason.NOT_FOUND, f"{self._shown}{place}", gone=True)
        uid = str(objects[0][1]["metadata"].get("uid"))
        return _told(outcomes[self.name], self._shown)._replace(mark=uid)

    async def _object(self, kind: Resource, thing: Mapping[str, Any]) -> Outcome:
        if ready.is_going(thing):
            return waiting(Reason.STARTING, "is being deleted")
        missing = [key for key in self.key if not ready.has_key(thing, key)]
        if missing:
            return waiting(Reason.UNWANTED_ANSWER, f"has no key {', '.join(missing)}")
        if self.json and not await self.json.holds(json.dumps(thing).encode(), self._shown):
            return waiting(Reason.UNWANTED_ANSWER, "is not as json wants it")
        if self.condition:
            return ready.condition(thing, *self.condition)
        if self.json:
            return found_ready()
        return ready.standing(_full(kind), thing)

    def _service(self, slices: Sequence[Mapping[str, Any]]) -> Outcome:
        if not slices:
            return waiting(Reason.NOT_FOUND, f"{self._shown} (it has no EndpointSlice)")
        from gatekeeper.kube.own import own_pod  # noqa: PLC0415 - as above

        found = endpoints.endpoints(slices, self.port)
        return _told(endpoints.standing(found, self.need or 1, own_pod().name), self._shown)

    def _explained(self, trouble: Outcome, place: "_Place") -> Outcome:
        from gatekeeper.kube.refusal import explained  # noqa: PLC0415 - as above

        return explained(trouble, self._shown, self._right(place.kind, place.way.namespace), place.news.refusal)

    def _right(self, kind: Resource, namespace: str) -> rights.Right:
        place = (self.namespace or namespace) if kind.namespaced else ""
        if _full(kind) == "services":
            from gatekeeper.kube.slices import right_to_slices  # noqa: PLC0415 - as above

            return right_to_slices(place)
        return rights.Right(kind.group, kind.plural, place, self.name)

    def _clashes(self) -> list[tuple[str, str]]:
        """Return what can be known to be wrong without a cluster."""
        kind = known(self.group, self.word)
        full = _full(kind) if kind else ""
        service = full == "services"
        wrong = []
        if self.port and not service:
            wrong.append(("port", "means something for a service only"))
        if service and not self.name:
            wrong.append(("", f"selects services: name one, as in {TARGETS.replace('job/migrate', 'service/db')}"))
        if service and (self.condition or self.json or self.absent != "wait"):
            wrong.append(("", "a service is judged by its endpoints: condition, json and absent mean nothing for it"))
        if self.key and full not in ("secrets", "configmaps"):
            wrong.append(("key", "means something for a Secret or a ConfigMap only"))
        if self.need and self.name and not service:
            wrong.append(("need", "means something with a selector or for a service: one object has one name"))
        if kind and self.namespace and not kind.namespaced:
            wrong.append(("", f"{full} is of no namespace: leave {self.namespace}/ out"))
        if not service and not self.condition and not self.json and full not in ready.TELLS:
            how = "say it by condition=TYPE or json=EXPRESSION"
            wrong.append(("", f"what ready means for {self._full} is not known: {how}"))
        return wrong

    @property
    def _full(self) -> str:
        return f"{self.word}.{self.group}" if self.group else self.word

    @property
    def _shown(self) -> str:
        place = f"{self.namespace}/" if self.namespace else ""
        return f"{place}{self._full}/{self.name}" if self.name else f"{place}{self._full} with {self.selector}"


class _Place(NamedTuple):
    """Where an object is looked for: the way to its server, what its resource is called there, and what is in it."""

    way: "Access"
    kind: Resource
    namespace: str
    news: "Informer"


def _told(outcome: Outcome, of: str) -> Outcome:
    return outcome._replace(detail=f"{of} {outcome.detail}".rstrip())


def _full(kind: Resource) -> str:
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural
