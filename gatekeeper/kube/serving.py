"""One service as the API server tells of it, for one who waits for it: who serves behind it, and what it is itself.

The watch is shared by all who look at the same service. Connects to nobody but the API server.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from gatekeeper.kube.access import Access
from gatekeeper.kube.answers import ApiError
from gatekeeper.kube.client import Client
from gatekeeper.kube.endpoints import endpoints, standing
from gatekeeper.kube.informer import Informer
from gatekeeper.kube.own import own_pod
from gatekeeper.kube.refusal import explained
from gatekeeper.kube.rights import Right
from gatekeeper.kube.slices import right_to_slices, slices
from gatekeeper.model import Outcome, Reason, State, waiting
from gatekeeper.probes._aside import aside
from gatekeeper.probes._informed import Informed
from gatekeeper.probes._miss import MissError, during

_SILENT = "the API has not answered yet"
_MAY_NOT = "may not list endpointslices"
FIRST_WORD = 1.0  # seconds that a glance waits for the first answer


def right_to_service(namespace: str, name: str) -> Right:
    """Return what must be granted to read what a service is, and not only who serves behind it."""
    return Right("", "services", namespace, name, verbs=("get",))


class _Asked:
    """What is known of whether the services of a namespace may be looked at."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.is_allowed = False
        self.refused: Outcome | None = None


_asked: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[Access, str], _Asked]] = WeakKeyDictionary()


class Serving:
    """A service; ``wanted`` is how many of its endpoints must serve, or ``any`` or ``all``.

    ``port`` is the name of a port, None for whichever. ``namespace`` is None for our own. ``why_not`` says in a few
    words why a `glance` saw nothing.
    """

    def __init__(
        self, way: Callable[[], Access], name: str, namespace: str | None, port: str | None, wanted: str | int
    ) -> None:
        """Take what to look at, and what reads the way to the API server; nothing is asked yet."""
        self.signal = Informed()
        self.why_not = ""
        self._read, self._name, self._namespace, self._port, self._wanted = way, name, namespace, port, wanted
        self._way: Access | None = None
        self._news: Informer | None = None
        self._was_late = False

    async def look(self) -> Outcome:
        """Return how it stands, as soon as the API server has said something; raises `MissError`."""
        way, place = await self._where()
        with during(f"asking the Kubernetes API for service/{self._name}"):
            self._news = news = slices(way, place, self._name)
            self.signal.hold(news)
            await news.settled()
        self.signal.seen = news.version
        if news.trouble:
            raise MissError(explained(news.trouble, self._shown, right_to_slices(place), news.refusal))
        if not news.objects:
            return waiting(Reason.NOT_FOUND, f"{self._shown} in {place} (it has no EndpointSlice)", gone=True)
        found = endpoints(news.objects.values(), self._port)
        need = max(len(found.serving | found.others), 1) if self._wanted == "all" else self._wanted
        outcome = standing(found, 1 if need == "any" else int(need), own_pod().name)
        return outcome._replace(detail=f"{self._shown}: {outcome.detail}")

    async def glance(self) -> Outcome | None:
        """Return how it stands, None where the API server does not tell.

        Whether we may ask at all is asked once, for all services of a namespace, which are granted together.
        """
        if self._was_late and self._is_silent:
            return None
        try:
            async with asyncio.timeout(None if self._was_late else FIRST_WORD) as bound:
                outcome = await self._allowed_look()
        except TimeoutError:
            if not bound.expired():
                raise
            self._was_late, self.why_not = True, _SILENT
        except asyncio.CancelledError:  # which is the caller's, also where our own time is over at the same moment
            self._was_late, self.why_not = True, _SILENT
            raise
        except MissError as miss:
            may_not = miss.outcome.state is State.FAILED and miss.outcome.reason is Reason.FORBIDDEN
            self.why_not = _MAY_NOT if may_not else f"the API: {miss.outcome.reason.value}"
            if may_not:
                self.signal.close()
        else:
            self.why_not = "" if self._news and self._news.objects else "it has no EndpointSlice"
            return outcome
        return None

    async def _allowed_look(self) -> Outcome:
        asked = _asked.setdefault(asyncio.get_running_loop(), {}).setdefault(await self._where(), _Asked())
        if asked.is_allowed:
            return await self.look()
        async with asked.lock:
            if asked.refused:
                raise MissError(asked.refused)
            try:
                outcome = await self.look()
            except MissError as miss:
                if miss.outcome.state is State.FAILED:
                    asked.refused = miss.outcome
                raise
            asked.is_allowed = True
            return outcome

    async def itself(self) -> Mapping[str, Any]:
        """Return the Service object; raises `MissError`."""
        way, place = await self._where()
        try:
            with during(f"asking the Kubernetes API for service/{self._name}"):
                return await Client(way).get(f"/api/v1/namespaces/{place}/services/{self._name}")
        except ApiError as error:
            right = right_to_service(place, self._name)
            raise MissError(explained(error.outcome, self._shown, right, error)) from None

    def close(self) -> None:
        """Let go of the watch."""
        self.signal.close()

    async def _where(self) -> tuple[Access, str]:
        if self._way is None:
            self._way = await aside("reading how to reach the API", self._read)
        return self._way, self._namespace or self._way.namespace

    @property
    def _is_silent(self) -> bool:
        return not self._news or not (self._news.synced or self._news.trouble)

    @property
    def _shown(self) -> str:
        return f"service/{self._name}"
