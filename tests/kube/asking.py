"""What tests of the API's client share: an object, a way, a loop that does not run for ever."""

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from kube.apiserver import ApiServer

from gatekeeper.kube.access import Access
from gatekeeper.kube.client import Client
from gatekeeper.kube.kubeconfig import from_kubeconfig

PODS = "/api/v1/namespaces/default/pods"
PATIENCE = 20.0


def pod(name: str, **more: Any) -> dict[str, Any]:
    """Return a pod."""
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name}, **more}


def run(work: Awaitable[Any], patience: float = PATIENCE) -> Any:
    """Run in a loop of its own, not for ever."""

    async def limited() -> Any:
        async with asyncio.timeout(patience):
            return await work

    return asyncio.run(limited())


def listed(way: Access, times: int = 1) -> None:
    """List pods so many times; raises what that raises."""

    async def work() -> None:
        for _ in range(times):
            await Client(way).list(PODS)

    run(work())


def way_of(
    server: ApiServer, folder: Path, user: dict[str, Any] | None = None, cluster: dict[str, Any] | None = None
) -> Access:
    """Return the way of a kubeconfig with this user, the administrator by default, and these words of the cluster."""
    return from_kubeconfig([str(server.kubeconfig(folder, user=user, cluster=cluster))])
