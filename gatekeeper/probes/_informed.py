"""A signal out of a watch that is shared: for kinds that look at what an API server tells."""

import asyncio
from typing import Protocol

from gatekeeper.model import Outcome, Reason

_TOLD = frozenset({Reason.STARTING, Reason.NOT_FOUND, Reason.UNWANTED_ANSWER})


class News(Protocol):
    """What is watched for all who hold it, as a `kube.informer.Informer`."""

    trouble: Outcome | None

    def acquire(self) -> None:
        """Hold it."""

    def release(self) -> None:
        """Let go of it, once for each time that it was held."""

    async def changed(self, seen: int) -> int:
        """Return the version once it is another than ``seen``."""


class Informed:
    """A `model.Signal`, and what holds a shared watch for as long as one waits for it."""

    doubted_after = 30.0

    def __init__(self) -> None:
        """Hold nothing yet, so that nothing is told: that there is no such resource, say, has to be asked again."""
        self.told: frozenset[Reason] = frozenset()
        self.seen = 0
        self._news: News | None = None
        self._held = asyncio.Event()
        self._woken = False

    def hold(self, news: News) -> None:
        """Hold this, and let go of what was held before."""
        if news is not self._news:
            self.close()
            news.acquire()
            self._news, self.told = news, _TOLD
            self._held.set()

    async def changed(self) -> None:
        """Return at the first change of what is held, and not before something is."""
        while not self._news:
            await self._held.wait()
        self.seen = await self._news.changed(self.seen)
        self._woken = True

    def take_news(self) -> bool:
        """Tell, once for each change, whether it has just been told, without trouble.

        A way that has just told needs no second look: neither a file nor a thread stands between an event and its
        meaning.
        """
        woken, self._woken = self._woken, False
        return woken and self._news is not None and self._news.trouble is None

    def close(self) -> None:
        """Let go."""
        if self._news:
            self._news.release()
            self._news, self.told = None, frozenset()
            self._held.clear()
