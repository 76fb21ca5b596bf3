"""What the API server is told of the pod that we are in: a condition, and Events. Never opens, shuts or stops a gate.

A telling that fails is a line in the log. Loaded only where it was asked for.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from gatekeeper.decide import story
from gatekeeper.kube.access import access
from gatekeeper.kube.answers import ApiError, Object
from gatekeeper.kube.client import Client
from gatekeeper.kube.own import Own, own_pod
from gatekeeper.kube.rights import Right, commands, to_make_an_event, to_set_a_condition
from gatekeeper.log import Log
from gatekeeper.probes._miss import MissError
from gatekeeper.verdict import Cause, Verdict

BOUND = 2.0  # seconds for all that is told at one moment
_MOST = 1024  # bytes of a note (events.k8s.io/v1, Event)
_LONGEST_NAME = 253
_REASONS = {Cause.READY: "DependenciesReady", Cause.CONTINUE: "TimeIsUp", Cause.BYPASS: "Bypassed"}
_FORBIDDEN, _NOT_FOUND = 403, 404


class PodVoice:
    """Tells of one pod; ``condition`` is the type of the condition, None for none."""

    def __init__(self, condition: str | None, *, event: bool, logger: Log, context: str | None = None) -> None:
        """Take what is to be told; nothing is read or connected yet."""
        self._condition, self._event, self._logger, self._context = condition, event, logger, context
        self._wanted: tuple[bool, str] | None = None
        self._following: asyncio.Task[None] | None = None

    async def held(self, why: str) -> None:
        """Tell that the gate has been shut for long, where Events were asked for."""
        if self._event:
            await self._bounded("the Event GateHeld", to_make_an_event, lambda: self._make_event("GateHeld", why))

    async def ended(self, verdict: Verdict) -> None:
        """Tell what became of the gate; an end by a signal is whoever sent it's to know."""
        if verdict.cause is Cause.SIGNAL:
            return
        reason, why = _REASONS.get(verdict.cause, "GateClosed"), story(verdict)
        tellings = [self._set(bool(verdict), reason, why)]
        if self._event and not verdict:
            tellings.append(
                self._bounded("the Event GateClosed", to_make_an_event, lambda: self._make_event("GateClosed", why))
            )
        await asyncio.gather(*tellings)

    def follow(self, missing: dict[str, str]) -> None:
        """Tell, in the background, that dependencies behind the open gate are lost, or that none is any more."""
        lost = ", ".join(f"{name} ({why})" for name, why in missing.items())
        self._wanted = (not missing, f"lost: {lost}" if missing else "all that was ready is ready")
        if self._following is None or self._following.done():
            self._following = asyncio.ensure_future(self._catch_up())

    async def close(self) -> None:
        """Tell nothing more in the background."""
        if self._following:
            self._following.cancel()
            await asyncio.wait([self._following])  # which leaves a cancellation of our own to our caller

    def _client(self) -> tuple[Client, Own]:
        """Return a client, and our pod; raises `MissError`."""
        way = access(context=self._context)
        return Client(way), own_pod(way.namespace)

    async def _catch_up(self) -> None:
        while self._wanted:  # one at a time: an older one must not overtake
            (ready, why), self._wanted = self._wanted, None
            await self._set(ready, "DependenciesReady" if ready else "DependencyLost", why)

    async def _set(self, ready: bool, reason: str, why: str) -> None:  # noqa: FBT001 - the condition's own value
        if self._condition:
            what = f"the condition {self._condition}"
            await self._bounded(what, to_set_a_condition, lambda: self._patch(ready, reason, why))

    async def _patch(self, ready: bool, reason: str, why: str) -> None:  # noqa: FBT001 - as above
        client, own = self._client()
        condition = {
            "type": self._condition,
            "status": "True" if ready else "False",
            "reason": reason,
            "message": _cut(why),
            "lastTransitionTime": _now(),
        }
        # Conditions are merged by their type (core/v1, PodStatus: patchMergeKey=type).
        await client.patch(f"{own.path}/status", {"status": {"conditions": [condition]}})

    async def _make_event(self, reason: str, why: str) -> None:
        client, (namespace, name) = made = self._client()
        about = {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": name}
        uid = os.environ.get("POD_UID") or await self._uid(client, made[1].path)
        suffix, now = f".{time.time_ns():x}", _now()
        # Of core/v1, with the times of old: that is what `kubectl describe` lists and shows the age of.
        event: Object = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name[: _LONGEST_NAME - len(suffix)] + suffix, "namespace": namespace},
            "involvedObject": about | ({"uid": uid} if uid else {}),
            "type": "Warning",
            "reason": reason,
            "message": _cut(why),
            "source": {"component": "gatekeeper"},
            "reportingComponent": "dev.gatekeeper/gatekeeper",
            "reportingInstance": name,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        await client.create(f"/api/v1/namespaces/{namespace}/events", event)

    async def _uid(self, client: Client, path: str) -> str | None:
        """Return the pod's uid, by which `kubectl describe` selects Events besides the name."""
        try:
            return str((await client.get(path))["metadata"]["uid"])
        except ApiError as error:
            if error.status == _FORBIDDEN:
                self._logger.note(
                    "kubectl describe will not list the Event: pass POD_UID (fieldRef metadata.uid), "
                    "or let the pod get pods"
                )
                return None
            raise

    async def _bounded(self, what: str, right: Callable[[str], Right], tell: Callable[[], Awaitable[None]]) -> None:
        """Tell within the bound; whatever goes wrong is one line in the log."""
        try:
            async with asyncio.timeout(BOUND):
                await tell()
        except ApiError as error:
            self._logger.note(f"{what} was not told: {_advice(error, right)}")
        except MissError as error:
            self._logger.note(f"{what} was not told: {error}")
        except TimeoutError:
            self._logger.note(f"{what} was not told: the API server has not answered within {BOUND:g}s")
        except Exception as error:  # noqa: BLE001 - no telling fails a gate, and no message of this is ours to show
            self._logger.note(f"{what} was not told: {type(error).__name__}")


def _advice(error: ApiError, right: Callable[[str], Right]) -> str:
    if error.status == _NOT_FOUND:
        return f"{error}: pass POD_NAME and POD_NAMESPACE (fieldRef metadata.name, metadata.namespace)"
    if error.status != _FORBIDDEN:
        return str(error)
    space = os.environ.get("POD_NAMESPACE") or access().namespace
    return f"{error}; allow it by: {commands(right(space), error.message, (space, 'default'))}"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _cut(text: str) -> str:
    data = text.encode(errors="replace")
    return text if len(data) <= _MOST else data[: _MOST - 3].decode(errors="ignore") + "…"
