"""Shared watches: what they know stays true, whatever the server does, and no server is flooded."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from kube.apiserver import ApiServer, Rule, wait_for
from kube.discovered import Resource as ServedResource

from gatekeeper.kube.access import Access, in_cluster
from gatekeeper.kube.client import Client
from gatekeeper.kube.discovery import resource
from gatekeeper.kube.informer import Informer
from gatekeeper.kube.pauses import Pauses
from gatekeeper.kube.shared import informer
from gatekeeper.model import Reason

PODS = "/api/v1/namespaces/default/pods"
PATIENCE = 20.0
QUICK = Pauses(shortest=0.01, longest=0.1, settled=0.5, poll=0.05, refused=0.1, watch=30, late=5)
OBSERVED = 0.6  # seconds over which requests are counted


def pod(name: str, **more: Any) -> dict[str, Any]:
    """Return a pod."""
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name}, **more}


@pytest.fixture
def way(server: ApiServer, tmp_path: Path) -> Access:
    """Return the way of a pod to the server, as its administrator."""
    return in_cluster(server.in_cluster_files(tmp_path / "mounted"), str(tmp_path / "mounted"))


def run(work: Awaitable[Any]) -> Any:
    """Run in a loop of its own, not for ever."""

    async def limited() -> Any:
        async with asyncio.timeout(PATIENCE):
            return await work

    return asyncio.run(limited())


@asynccontextmanager
async def looking(way: Access, pauses: Pauses = QUICK) -> AsyncIterator[Informer]:
    """Give an informer of pods, with something to say."""
    async with informer(way, PODS, pauses=pauses).held() as pods:
        await pods.settled()
        yield pods


async def until(pods: Informer, condition: Callable[[], object]) -> None:
    """Wait for the change that makes a condition true, without looking in between."""
    seen = pods.version
    while not condition():
        seen = await pods.changed(seen)


async def off(work: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Drive the server from another thread."""
    return await asyncio.to_thread(work, *arguments, **options)


def names(pods: Informer) -> set[str]:
    """Return the names of what is known."""
    return {name for _, name in pods.objects}


async def _follow(server: ApiServer, way: Access) -> None:
    await off(server.put, pod("old"))
    async with looking(way) as pods:
        assert names(pods) == {"old"}
        await off(server.put, pod("new"))
        await until(pods, lambda: names(pods) == {"old", "new"})
        await off(server.delete, "pods", "default", "old")
        await until(pods, lambda: names(pods) == {"new"})
        before = pods.objects["default", "new"]["metadata"]["uid"]
        await off(server.delete, "pods", "default", "new")
        await off(server.put, pod("new"))
        await until(pods, lambda: names(pods) and pods.objects["default", "new"]["metadata"]["uid"] != before)


def test_changes_are_followed(server: ApiServer, way: Access) -> None:
    """What comes, goes and comes again under its old name is known, by one list and one watch."""
    run(_follow(server, way))
    assert [each.verb for each in server.requests] == ["list or get", "watch"]


@pytest.mark.parametrize(
    ("trick", "options", "lists"),
    [
        ("error_event", {}, 2),
        ("eof", {}, 1),
        ("reset_line", {}, 1),
        ("half_line", {}, 1),
        ("garbage_line", {}, 2),
        ("status", {"code": 410, "reason": "Expired"}, 2),
        ("status", {"code": 500}, 1),
        ("status", {"code": 503}, 1),
        ("reset", {}, 1),
        ("html", {}, 1),
    ],
)
def test_a_watch_that_breaks_is_taken_up(
    server: ApiServer, way: Access, trick: str, options: dict[str, Any], lists: int
) -> None:
    """Nothing that happens in between is missed; only where history is gone is all listed anew."""
    server.misbehave(trick, times=2 if lists == 1 else 1, verb="watch", **options)

    async def work() -> None:
        async with looking(way) as pods:
            await off(server.put, pod("web"))
            await until(pods, lambda: names(pods) == {"web"} and pods.trouble is None)

    run(work())
    assert len(server.asked("list")) == lists
    assert len(server.asked("watch")) <= 4


@pytest.mark.parametrize(
    ("trick", "verb", "options"),
    [
        ("eof", "watch", {}),
        ("error_event", "watch", {}),
        ("garbage_line", "watch", {}),
        ("reset_line", "watch", {}),
        ("status", "watch", {"code": 410, "reason": "Expired"}),
        ("status", "watch", {"code": 403, "reason": "Forbidden"}),
        ("status", "", {"code": 403, "reason": "Forbidden"}),
        ("status", "", {"code": 404, "reason": "NotFound"}),
        ("status", "", {"code": 500}),
        ("reset", "", {}),
        ("html", "", {}),
        ("half", "", {}),
    ],
)
def test_a_server_that_never_behaves_is_not_flooded(
    server: ApiServer, way: Access, trick: str, verb: str, options: dict[str, Any]
) -> None:
    """However it answers, requests come at a pace that slows down."""
    server.misbehave(trick, verb=verb, **options)

    async def work() -> None:
        async with looking(way):
            await asyncio.sleep(OBSERVED)

    run(work())
    # Four pauses up to the longest, then one at least every 0.07 s; twice where a list goes before each watch.
    assert 2 <= len(server.requests) <= 2 * (6 + OBSERVED / 0.05)


def test_a_restart_on_the_same_port_is_survived(server: ApiServer, way: Access) -> None:
    """A server that is replaced is found again, and there is trouble in between."""

    async def work() -> None:
        async with looking(way) as pods:
            await off(wait_for, lambda: server.watching() and server.asked("watch"))
            await off(server.stop)
            await until(pods, lambda: pods.trouble)
            assert pods.trouble
            assert pods.trouble.reason in (Reason.REFUSED, Reason.RESET, Reason.CLOSED)
            await off(server.start)
            await off(server.put, pod("web"))
            await until(pods, lambda: names(pods) == {"web"} and pods.trouble is None)

    run(work())


def test_a_watch_that_is_deaf_ends_after_its_time(server: ApiServer, way: Access) -> None:
    """A connection that is dead without a word is given up, and what it kept back is learned."""
    server.misbehave("deaf", verb="watch", times=1)

    async def work() -> None:
        async with looking(way, QUICK._replace(watch=1, late=0.5)) as pods:
            await off(server.put, pod("web"))
            await until(pods, lambda: names(pods) == {"web"})

    run(work())
    assert len(server.asked("watch")) == 2


def test_a_watch_that_is_never_answered_is_made_up_for_by_lists(server: ApiServer, way: Access) -> None:
    """A proxy that holds an answer back until it is whole keeps nobody from learning what there is."""
    server.misbehave("stall", verb="watch")

    async def work() -> None:
        async with looking(way, QUICK._replace(late=0.2)) as pods:
            await off(server.put, pod("web"))
            await until(pods, lambda: names(pods) == {"web"})

    run(work())
    assert len(server.asked("list")) >= 2


def test_a_server_that_answers_nothing_is_trouble(server: ApiServer, way: Access) -> None:
    """A list has an end in time."""
    server.misbehave("stall", times=1)

    async def work() -> None:
        async with looking(way, QUICK._replace(list=0.2)) as pods:
            assert pods.trouble
            assert pods.trouble.reason is Reason.TIMED_OUT
            await until(pods, lambda: pods.synced)

    run(work())


def test_where_watching_is_forbidden_lists_do(server: ApiServer, tmp_path: Path) -> None:
    """A Role that allows to list is enough."""
    token = server.allow("lister", Rule(("list",), ("",), ("pods",), "default"))
    way = in_cluster(server.in_cluster_files(tmp_path / "mounted", token=token), str(tmp_path / "mounted"))

    async def work() -> None:
        async with looking(way) as pods:
            await off(server.put, pod("web"))
            await until(pods, lambda: names(pods) == {"web"})
            assert pods.trouble is None
            await off(wait_for, lambda: len(server.asked("list")) >= 5)
            assert len(server.asked("watch")) == 1, "a refusal is not asked for with every list"
            server.allow("lister", Rule())
            await off(wait_for, lambda: len(server.asked("watch")) >= 2 and server.watching())
            await off(server.put, pod("db"))
            await until(pods, lambda: names(pods) == {"web", "db"})

    run(work())


def test_where_listing_is_forbidden_that_is_said(server: ApiServer, tmp_path: Path) -> None:
    """The trouble is 'forbidden'; a Role that comes later is noticed."""
    token = server.allow("nobody")
    way = in_cluster(server.in_cluster_files(tmp_path / "mounted", token=token), str(tmp_path / "mounted"))

    async def work() -> None:
        async with looking(way) as pods:
            assert pods.trouble
            assert pods.trouble.reason is Reason.FORBIDDEN
            server.allow("nobody", Rule())
            await until(pods, lambda: pods.synced and pods.trouble is None)

    run(work())


def test_the_time_that_a_server_asks_for_is_heeded(server: ApiServer, way: Access) -> None:
    """After 429 with Retry-After nothing is asked before its time."""
    server.misbehave("status", code=429, reason="TooManyRequests", retry_after=1, times=1)

    async def work() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with looking(way) as pods:
            await until(pods, lambda: pods.synced)
        return loop.time() - began

    assert run(work()) >= 1
    assert len(server.asked("list")) == 2


def test_bookmarks_keep_a_quiet_watch_fresh(server: ApiServer, way: Access) -> None:
    """After a bookmark a watch is taken up from there, though the history before it is gone."""
    server.bookmark_every = 0.05

    async def work() -> None:
        async with looking(way) as pods:
            await off(wait_for, lambda: server.watching() and server.asked("watch"))
            await off(server.forget_history)
            await asyncio.sleep(0.3)
            await off(server.hang_up)
            await off(server.put, pod("web"))
            await until(pods, lambda: names(pods) == {"web"})

    run(work())
    assert len(server.asked("list")) == 1


def test_one_watch_is_shared_and_ends_with_the_last_holder(server: ApiServer, way: Access) -> None:
    """Ten who want to know the same cost one list and one watch, and nothing is left behind."""

    async def work() -> None:
        held = [informer(way, PODS, pauses=QUICK) for _ in range(10)]
        assert len({id(each) for each in held}) == 1
        for each in held:
            each.acquire()
        await asyncio.gather(*(each.settled() for each in held))
        while not server.asked("watch"):  # noqa: ASYNC110 - the server is in another thread
            await asyncio.sleep(0.005)
        for each in held:
            each.release()
        assert informer(way, PODS, pauses=QUICK) is not held[0]
        while server.watching():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.005)
        assert len(asyncio.all_tasks()) <= 2

    run(work())
    assert len(server.requests) == 2


def test_every_waiter_is_woken_and_no_change_is_missed(server: ApiServer, way: Access) -> None:
    """Who comes late with an old version is told at once."""

    async def work() -> None:
        async with looking(way) as pods:
            seen = pods.version
            waiters = [asyncio.create_task(pods.changed(seen)) for _ in range(5)]
            await off(server.put, pod("web"))
            assert len(set(await asyncio.gather(*waiters))) == 1
            assert await pods.changed(seen) > seen

    run(work())


@pytest.mark.parametrize("aggregates", [True, False])
def test_well_known_resources_ask_nobody_and_others_are_discovered(
    server: ApiServer, way: Access, *, aggregates: bool
) -> None:
    """Short names, kinds and plurals lead to the same; a group costs two requests, all of them one where it can."""
    server.aggregates = aggregates
    server.resources.append(
        ServedResource("acme.example", "v1beta1", "anvils", "Anvil", namespaced=False, short=("av",))
    )

    async def work() -> None:
        client = Client(way)
        for word in ("deploy", "deployment", "deployments", "Deployment"):
            found = await resource(client, None, word)
            assert found
            assert found.path("shop", "web") == "/apis/apps/v1/namespaces/shop/deployments/web"
        assert server.requests == []
        for word in ("av", "Anvil", "anvils", "anvil"):
            found = await resource(client, "acme.example", word)
            assert found
            assert found.path("shop", "one") == "/apis/acme.example/v1beta1/anvils/one"
        assert len(server.requests) == 2
        for word in ("av", "Anvil", "anvils", "anvil"):
            found = await resource(client, None, word)
            assert found
            assert found.path("shop", "one") == "/apis/acme.example/v1beta1/anvils/one"
        assert await resource(client, None, "hammers") is None
        assert await resource(client, "hammers.example", "hammers") is None
        assert len(server.requests) == 4 if aggregates else len(server.requests) < 20

    run(work())


def test_a_definition_that_comes_is_found_soon(server: ApiServer, way: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a group has not is held for a second, what all of them have not for five: no longer, and no shorter."""

    async def work() -> None:
        loop, client = asyncio.get_running_loop(), Client(way)
        running = loop.time
        assert await resource(client, "acme.example", "anvils") is None
        assert await resource(client, None, "anvils") is None
        server.resources.append(ServedResource("acme.example", "v1", "anvils", "Anvil"))
        assert await resource(client, "acme.example", "anvils") is None
        monkeypatch.setattr(loop, "time", lambda: running() + 1.1)
        assert await resource(client, "acme.example", "anvils")
        assert await resource(client, None, "anvils") is None
        monkeypatch.setattr(loop, "time", lambda: running() + 5.2)
        assert await resource(client, None, "anvils")

    run(work())


def test_a_slow_server_is_waited_for(server: ApiServer, way: Access) -> None:
    """An answer that takes its time is no trouble, and asked for once."""
    server.misbehave("slow", seconds=0.3)

    async def work() -> None:
        async with looking(way) as pods:
            assert pods.trouble is None
            await off(server.put, pod("web"))
            await until(pods, lambda: names(pods) == {"web"})

    run(work())
    assert [each.verb for each in server.requests] == ["list or get", "watch"]


def test_without_bookmarks_a_watch_that_is_too_old_is_listed_anew(server: ApiServer, way: Access) -> None:
    """Bookmarks may never come: then a quiet watch that ends is behind, is told so, and begins again."""
    server.bookmark_every = 0.05
    server.misbehave("no_bookmarks")

    async def work() -> None:
        async with looking(way) as pods:
            await off(wait_for, lambda: server.watching() and server.asked("watch"))
            await off(server.forget_history)
            await off(server.hang_up)
            await off(server.put, pod("web"))
            await until(pods, lambda: names(pods) == {"web"} and pods.trouble is None)

    run(work())
    assert len(server.asked("list")) == 2


def test_another_authority_is_trusted_once_its_certificate_is_mounted(
    server: ApiServer, way: Access, tmp_path: Path
) -> None:
    """A cluster whose authority is replaced is in trouble until the kubelet has replaced the file, and no longer."""

    async def work() -> None:
        async with looking(way) as pods:
            await off(wait_for, lambda: server.watching() and server.asked("watch"))
            authority = await off(server.other_certificate)
            await until(pods, lambda: pods.trouble and pods.trouble.reason is Reason.TLS_FAILED)
            (tmp_path / "mounted" / "ca.crt").write_bytes(authority)
            await off(server.put, pod("web"))
            await until(pods, lambda: names(pods) == {"web"} and pods.trouble is None)

    run(work())


def test_a_history_of_another_server_is_left_behind(server: ApiServer, way: Access) -> None:
    """A version that is not understood any more is none to go on from."""
    server.misbehave("status", code=400, reason="BadRequest", verb="watch", times=1)

    async def work() -> None:
        async with looking(way) as pods:
            await off(server.put, pod("web"))
            await until(pods, lambda: names(pods) == {"web"} and pods.trouble is None)

    run(work())
    assert len(server.asked("list")) == 2
