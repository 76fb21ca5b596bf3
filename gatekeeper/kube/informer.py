"""What is in a cluster, kept up to date for all who hold it: a list and then a watch of it.

The objects are those of one moment: a new list replaces the old one at once. Whatever fails is the `trouble` until
the next answer, and is tried again with a growing, jittered pause: no server is flooded, however it behaves.

An answer is known to be fresh by what the API promises (api-concepts, "Efficient detection of changes"): after 410, in
whichever form, everything is listed anew; a watch that ends is taken up where it was; one that says nothing is ended
after its time, for a connection may be dead without a word.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from gatekeeper.kube.access import Access
from gatekeeper.kube.answers import GONE, ApiError, Object
from gatekeeper.kube.client import Client
from gatekeeper.kube.pauses import Pauses, Rests, jittered
from gatekeeper.model import Outcome, Reason, waiting
from gatekeeper.probes._miss import MissError

_BAD = 400  # a version may be of another server's history, which stands there now
_BROKEN = (Reason.CLOSED, Reason.RESET)
# An event that cannot be read would come again, and a proxy that holds an answer back would do so again.
_BETTER_LISTED = (Reason.UNWANTED_ANSWER, Reason.TIMED_OUT)
_POLLS = 10  # lists before it is asked again whether watching is allowed by now
_NO_WATCH = (403, 405)  # a Role may allow to list and not to watch; some resources cannot be watched


Keep = Callable[[Object], Object]


class Informer:
    """The objects of one list, by namespace and name, as they are now.

    ``synced`` says that they have been listed; ``trouble`` is what the last request failed with, None where it did not,
    and ``refusal`` what the server last said no with. While there is trouble the objects are those of before.
    ``version`` grows with every change of any of these.
    """

    def __init__(
        self,
        access: Access,
        path: str,
        label_selector: str,
        field_selector: str,
        pauses: Pauses,
        keep: Keep,
        forget: Callable[[], object],
    ) -> None:
        """Take what to look at; nothing is asked before somebody holds it, and ``forget`` is called by the last one."""
        self.objects: dict[tuple[str, str], Object] = {}
        self.synced = False
        self.trouble: Outcome | None = None
        self.refusal: ApiError | None = None
        self.version = 0
        self._client, self._path, self._pauses, self._keep = Client(access), path, pauses, keep
        selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        self._query = {key: text for key, text in selectors.items() if text}
        self._holders = self._polls = 0
        self._task: asyncio.Task[None] | None = None
        self._tick = asyncio.Event()
        self._since, self._rests = "", Rests(pauses)
        self._forget = forget

    def acquire(self) -> None:
        """Begin to look, where nobody does yet; each holder lets go once."""
        self._holders += 1
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"informer {self._path}")
            self._task.add_done_callback(lambda _: self._changed())  # a fault of ours is raised where it is waited for

    def release(self) -> None:
        """Let go; the last one ends the watch, at once and without waiting."""
        self._holders -= 1
        if self._holders == 0 and self._task:
            self._forget()
            self._task.cancel()
            self._task = None

    @asynccontextmanager
    async def held(self) -> AsyncIterator["Informer"]:
        """Hold it for as long as the block lasts."""
        self.acquire()
        try:
            yield self
        finally:
            self.release()

    async def changed(self, seen: int) -> int:
        """Return the version once it is another than ``seen``, at once where it is already: no change is missed."""
        while self.version == seen:
            self._raise_fault()
            await self._tick.wait()
        self._raise_fault()
        return self.version

    async def settled(self) -> None:
        """Return once there is something to say: the objects are listed, or the last request failed."""
        while not self.synced and self.trouble is None:
            await self.changed(self.version)

    def _raise_fault(self) -> None:
        if self._task and self._task.done() and not self._task.cancelled():
            self._task.result()

    def _changed(self) -> None:
        self.version += 1
        self._tick.set()
        self._tick = asyncio.Event()

    async def _run(self) -> None:
        while True:
            try:
                pause = await self._once()
            except ApiError as error:
                if error.status in (GONE, _BAD):
                    self._since = ""
                if error.status != GONE:
                    self.refusal = error
                    self._fail(error.outcome)
                pause = self._rests.after_failure(error.status, error.retry_after)
            except MissError as miss:
                if miss.outcome.reason in _BETTER_LISTED:
                    self._since = ""
                self._fail(miss.outcome)
                pause = self._rests.after_failure()
            await asyncio.sleep(pause)

    async def _once(self) -> float:
        """List where nothing is known to go on from, watch until the watch ends; return how long to rest then."""
        if not self._since:
            await self._list()
        if self._polls:
            return self._polled()
        began = self._now()
        try:
            await self._watch()
        except ApiError as error:
            if error.status not in _NO_WATCH:
                raise
            self._polls = _POLLS
            return self._polled()
        finally:
            held = self._now() - began >= self._pauses.settled
            if held:
                self._rests.forget()
        return 0.0 if held else self._rests.after_failure()  # for a server that hangs up each time

    def _polled(self) -> float:
        """Have the next list be the next look, where watching is not allowed."""
        self._polls, self._since = self._polls - 1, ""
        return self._rests.after_list()

    async def _list(self) -> None:
        try:
            async with asyncio.timeout(self._pauses.list):
                listed = await self._client.list(self._path, self._query, self._keep)
        except TimeoutError:
            raise MissError(waiting(Reason.TIMED_OUT, f"listing {self._path}")) from None
        self.objects = {_key(each): each for each in listed["items"]}
        self._since = str(listed["metadata"].get("resourceVersion") or "")
        self.synced, self.trouble = True, None
        self._changed()

    async def _watch(self) -> None:
        pauses = self._pauses
        lasts = max(round(jittered(pauses.watch)), 1)
        asked = {"allowWatchBookmarks": "true", "timeoutSeconds": str(lasts)}
        if self._since:
            asked["resourceVersion"] = self._since
        loop, accepted = asyncio.get_running_loop(), False
        try:
            async with (
                asyncio.timeout(pauses.late) as bound,
                self._client.watch(self._path, self._query | asked) as events,
            ):
                bound.reschedule(loop.time() + lasts + pauses.late)
                if self.trouble:
                    self.trouble = None
                    self._changed()
                accepted = True
                async for kind, thing in events:
                    self._take(kind, thing)
        except TimeoutError:
            if not bound.expired():
                raise
            if not accepted:
                raise MissError(waiting(Reason.TIMED_OUT, f"watching {self._path}")) from None
        except MissError as miss:
            # Watches break all the time (a proxy's time limit, a server that restarts): only if the next one cannot
            # be had is something wrong.
            if not accepted or miss.outcome.reason not in _BROKEN:
                raise

    def _take(self, kind: str, thing: Object) -> None:
        about = thing["metadata"]
        self._since = str(about.get("resourceVersion") or self._since)
        if kind in ("ADDED", "MODIFIED"):
            self.objects[_key(thing)] = self._keep(thing)
        elif kind == "DELETED":
            with suppress(KeyError):
                held = self.objects[_key(thing)]
                if _uid(held) == _uid(thing):  # and not one of the same name that is there by now
                    del self.objects[_key(thing)]
        else:  # a bookmark, or what a later version of the API adds
            return
        self._changed()

    def _fail(self, outcome: Outcome) -> None:
        same = self.trouble is not None and self.trouble[:3] == outcome[:3]
        self.trouble = outcome
        if not same:
            self._changed()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _key(thing: Object) -> tuple[str, str]:
    about = thing["metadata"]
    return str(about.get("namespace") or ""), about["name"]


def _uid(thing: Object) -> object:
    return thing["metadata"].get("uid")
