"""The pod that we are in: whether it has an account, what it is called, and what the API server has of it."""

import asyncio
import os
import socket
from collections.abc import Mapping
from typing import Any, NamedTuple

from gatekeeper.kube.rights import Right

MOUNTED = "/var/run/secrets/kubernetes.io/serviceaccount"  # where the kubelet mounts the account of a pod
_WITHIN = 2.0  # seconds that one look at the own pod may take


class Own(NamedTuple):
    """The pod that we are in; ``path`` is that of the API."""

    namespace: str
    name: str

    @property
    def path(self) -> str:
        """Where the API server has it."""
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"


def has_account(mounted: str = MOUNTED, environ: Mapping[str, str] | None = None) -> bool:
    """Tell whether we are in a pod whose account's token is mounted."""
    told = os.environ if environ is None else environ
    return bool(told.get("KUBERNETES_SERVICE_HOST")) and os.path.exists(os.path.join(mounted, "token"))


def own_pod(namespace: str = "default") -> Own:
    """Return our pod, by ``namespace`` where POD_NAMESPACE does not say another.

    A pod's host name is its name, unless it has its node's (hostNetwork) or one of its own: then POD_NAME says it.
    """
    name = os.environ.get("POD_NAME") or os.environ.get("HOSTNAME") or socket.gethostname()
    return Own(os.environ.get("POD_NAMESPACE") or namespace, name)


def own_object(mounted: str = MOUNTED) -> Mapping[str, Any] | str:
    """Return our Pod object (core/v1), or why there is none in words, which are empty outside of a pod.

    Runs an event loop of its own.
    """
    if not has_account(mounted):
        return ""
    from gatekeeper.probes._miss import MissError  # noqa: PLC0415 - loads what only an API server needs

    try:
        return asyncio.run(_asked(mounted))
    except MissError as miss:
        return f"the API server: {miss.outcome.reason.value} {miss.outcome.detail}"
    except TimeoutError:
        return f"the API server has not answered within {_WITHIN:g}s"


async def _asked(mounted: str) -> Mapping[str, Any]:
    from gatekeeper.kube.access import in_cluster  # noqa: PLC0415 - as above
    from gatekeeper.kube.answers import ApiError  # noqa: PLC0415 - as above
    from gatekeeper.kube.client import Client  # noqa: PLC0415 - as above
    from gatekeeper.kube.refusal import explained  # noqa: PLC0415 - as above
    from gatekeeper.probes._miss import MissError  # noqa: PLC0415 - as above

    async with asyncio.timeout(_WITHIN):
        way = in_cluster(mounted=mounted)
        own = own_pod(way.namespace)
        try:
            return await Client(way).get(own.path)
        except ApiError as error:
            right = Right("", "pods", own.namespace, own.name, verbs=("get",))
            raise MissError(explained(error.outcome, f"pod/{own.name}", right, error)) from None
