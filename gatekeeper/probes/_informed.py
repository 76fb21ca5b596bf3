"""A signal out of a watch that is shared: for kinds that look at what an API server tells."""

import asyncio
from typing import Protocol

from gatekeeper.model import Reason


class News(Protocol):
    """What is watched for all who hold it, as a `kube.informer.Informer`."""

    def acquire(self) -> None:
        """Hold it."""

    def release(self) -> None:
        """Let go of it, once for each time that it was held."""

    async def changed(self, seen: int) -> int:
        """Return the version once it is another than ``seen``."""


class Informed:
    """A `model.Signal`, and what holds a shared watch for as long as one waits for it."""

    told = frozenset({Reason.STARTING, Reason.NOT_FOUND, Reason.UNWANTED_ANSWER})
    doubted_after = 30.0

    def __init__(self) -> None:
        """Hold nothing yet."""
        self.seen = 0
        self._news: News | None = None
        self._held = asyncio.Event()

    def hold(self, news: News) -> None:
        """Hold this, and let go of what was held before."""
        if news is not self._news:
            self.close()
            news.acquire()
            self._news = news
            self._held.set()

    async def changed(self) -> None:
        """Return at the first change of what is held, and not before something is."""
        while not self._news:
            await self._held.wait()
        self.seen = await self._news.changed(self.seen)

    def close(self) -> None:
        """Let go."""
        if self._news:
            self._news.release()
            self._news = None
            self._held.clear()
