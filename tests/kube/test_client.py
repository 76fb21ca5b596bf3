"""Requests to an API server: what comes back, what a no means, what is asked twice, and where a cap ends it."""

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
from kube.apiserver import ApiServer, Rule, wait_for

from gatekeeper.kube import answers
from gatekeeper.kube import client as client_module
from gatekeeper.kube.access import Access, in_cluster
from gatekeeper.kube.answers import ApiError
from gatekeeper.kube.client import Client
from gatekeeper.model import Reason, State
from gatekeeper.probes._miss import MissError

PODS = "/api/v1/namespaces/default/pods"
PATIENCE = 20.0


def pod(name: str, **labels: str) -> dict[str, Any]:
    """Return a pod."""
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "labels": labels}, "status": {}}


@pytest.fixture
def way(server: ApiServer, tmp_path: Path) -> Access:
    """Return the way of a pod to the server, as its administrator."""
    return in_cluster(server.in_cluster_files(tmp_path / "mounted"), str(tmp_path / "mounted"))


@pytest.fixture
def client(way: Access) -> Client:
    """Return a client of the server."""
    return Client(way)


def run(work: Awaitable[Any]) -> Any:
    """Run in a loop of its own, not for ever."""

    async def limited() -> Any:
        async with asyncio.timeout(PATIENCE):
            return await work

    return asyncio.run(limited())


def error_of(work: Awaitable[Any]) -> ApiError:
    """Return the error that the work ends with."""
    with pytest.raises(ApiError) as raised:
        run(work)
    return raised.value


def miss_of(work: Awaitable[Any]) -> MissError:
    """Return the miss that the work ends with."""
    with pytest.raises(MissError) as raised:
        run(work)
    return raised.value


def test_an_object_is_got(server: ApiServer, client: Client) -> None:
    """One GET gives the object as it is stored."""
    server.put(pod("web"))
    assert run(client.get(f"{PODS}/web"))["metadata"]["name"] == "web"
    assert [each.path for each in server.requests] == [f"{PODS}/web"]


def test_what_is_not_there_is_gone_and_nothing_of_the_body_is_said(client: Client) -> None:
    """A 404 of the API is definite; the message stays with the error."""
    error = error_of(client.get(f"{PODS}/web"))
    assert (error.status, error.reason) == (404, "NotFound")
    assert error.message == 'pods "web" not found'
    assert (error.outcome.reason, error.outcome.gone) == (Reason.NOT_FOUND, True)
    assert "web" not in error.outcome.detail


def test_a_page_that_is_not_there_says_nothing_of_the_object(server: ApiServer, client: Client) -> None:
    """A 404 of something else than the API is not 'gone'."""
    server.misbehave("plain_status", code=404)
    error = error_of(client.get(f"{PODS}/web"))
    assert (error.status, error.reason, error.outcome.gone) == (404, "", False)


def test_forbidden_is_in_the_words_of_the_server(server: ApiServer, tmp_path: Path) -> None:
    """A 403 can never become ready, and its message says what is missing."""
    token = server.allow("system:serviceaccount:ns:name", Rule(("list",), ("apps",), ("deployments",), "ns"))
    mounted = str(tmp_path / "mounted")
    way = in_cluster(server.in_cluster_files(tmp_path / "mounted", "ns", token), mounted)
    error = error_of(Client(way).get("/apis/apps/v1/namespaces/ns/deployments/web"))
    assert error.message == (
        'deployments.apps "web" is forbidden: User "system:serviceaccount:ns:name" cannot get resource "deployments" '
        'in API group "apps" in the namespace "ns"'
    )
    assert (error.outcome.state, error.outcome.reason) == (State.FAILED, Reason.FORBIDDEN)
    assert run(Client(way).list("/apis/apps/v1/namespaces/ns/deployments"))["items"] == []


def test_a_list_comes_in_pages(server: ApiServer, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """All pages are merged into one list with one resource version."""
    for number in range(7):
        server.put(pod(f"web-{number}"))
    monkeypatch.setattr(client_module, "PAGE", 3)
    whole = run(client.list(PODS))
    assert [each["metadata"]["name"] for each in whole["items"]] == [f"web-{number}" for number in range(7)]
    assert whole["metadata"] == {"resourceVersion": "107"}
    assert [each.query["limit"] for each in server.requests] == ["3", "3", "3"]


def test_the_last_page_may_be_empty(server: ApiServer, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is more of which nothing is selected, a server finds out only when asked."""
    for number in range(3):
        server.put(pod(f"a-{number}", app="shop"))
        server.put(pod(f"z-{number}", app="data"))
    monkeypatch.setattr(client_module, "PAGE", 3)
    whole = run(client.list(PODS, {"labelSelector": "app=shop"}))
    assert [each["metadata"]["name"] for each in whole["items"]] == ["a-0", "a-1", "a-2"]
    assert len(server.requests) == 2


def test_pages_that_expire_are_fetched_anew_in_one(
    server: ApiServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 410 between two pages begins anew without pages, which cannot expire."""
    for number in range(7):
        server.put(pod(f"web-{number}"))
    monkeypatch.setattr(client_module, "PAGE", 3)
    server.misbehave("expire_continue", times=1)
    whole = run(client.list(PODS))
    assert len(whole["items"]) == 7
    assert len(server.requests) == 3
    assert "limit" not in server.requests[-1].query


def test_selectors_reach_the_server(server: ApiServer, client: Client) -> None:
    """What is asked for is what comes."""
    server.put(pod("web", app="shop"))
    server.put(pod("db", app="data"))
    whole = run(client.list(PODS, {"labelSelector": "app in (shop, none),!gone"}))
    assert [each["metadata"]["name"] for each in whole["items"]] == ["web"]
    whole = run(client.list(PODS, {"fieldSelector": "metadata.name=db"}))
    assert [each["metadata"]["name"] for each in whole["items"]] == ["db"]


def test_a_refused_token_is_read_again_once(server: ApiServer, way: Access, tmp_path: Path) -> None:
    """The kubelet has rotated the token: the new one is taken, within one request."""
    client = Client(way)

    async def rotated() -> None:
        await client.list(PODS)
        server.users["new-token"] = server.users.pop("admin-token")
        (tmp_path / "mounted" / "token").write_text("new-token")
        await client.list(PODS)
        (tmp_path / "mounted" / "token").write_text("wrong")
        server.users.clear()
        await client.list(PODS)

    error = error_of(rotated())
    assert (error.status, error.outcome.state) == (401, State.WAITING)
    assert len(server.requests) == 5  # one, two, two


def test_the_same_token_is_not_shown_twice(server: ApiServer, client: Client) -> None:
    """Where the file holds what was refused, asking once more would change nothing."""
    server.users.clear()
    assert error_of(client.list(PODS)).status == 401
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", [429, 503])
def test_the_time_that_a_server_asks_for_is_handed_on(server: ApiServer, client: Client, code: int) -> None:
    """Retry-After reaches the outcome, and nothing is asked again here."""
    server.misbehave("status", code=code, reason="TooManyRequests", retry_after=7)
    error = error_of(client.list(PODS))
    assert (error.retry_after, error.outcome.reason, error.outcome.retry_after) == (7, Reason.STARTING, 7)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("trick", "reason"),
    [("reset", Reason.RESET), ("html", Reason.UNWANTED_ANSWER), ("half", Reason.CLOSED)],
)
def test_a_bad_answer_is_a_miss(server: ApiServer, client: Client, trick: str, reason: Reason) -> None:
    """What fails on the way is an outcome, and no detail holds the body."""
    server.misbehave(trick)
    outcome = miss_of(client.list(PODS)).outcome
    assert outcome.reason in (reason, Reason.CLOSED) if trick == "reset" else outcome.reason is reason
    assert "proxy" not in outcome.detail


def test_an_answer_has_an_end(server: ApiServer, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is too long is not read to its end."""
    monkeypatch.setattr(answers, "MOST_BODY", 100_000)
    server.misbehave("huge", size=200_000)
    assert "longer than 100000" in miss_of(client.list(PODS)).outcome.detail


def test_another_authority_is_not_trusted(server: ApiServer, client: Client) -> None:
    """The token goes to no server whose certificate cannot be verified."""
    server.other_certificate()
    assert miss_of(client.list(PODS)).outcome.reason is Reason.TLS_FAILED
    assert server.requests == []


def test_a_watch_gives_events(server: ApiServer, client: Client) -> None:
    """Events come as they happen; the connection is closed with the block."""

    async def watched() -> list[tuple[str, str]]:
        since = (await client.list(PODS))["metadata"]["resourceVersion"]
        seen = []
        async with client.watch(PODS, {"resourceVersion": since}) as events:
            await asyncio.to_thread(server.put, pod("web"))
            await asyncio.to_thread(server.delete, "pods", "default", "web")
            async for kind, thing in events:
                seen.append((kind, thing["metadata"]["name"]))
                if len(seen) == 2:
                    break
        return seen

    assert run(watched()) == [("ADDED", "web"), ("DELETED", "web")]


def test_a_watch_ends_where_the_server_ends_it(client: Client) -> None:
    """`timeoutSeconds` is an end in good order."""

    async def watched() -> list[Any]:
        async with client.watch(PODS, {"timeoutSeconds": "1"}) as events:
            return [each async for each in events]

    assert run(watched()) == []


async def first_event(client: Client) -> Any:
    """Return the first event of a watch."""
    async with client.watch(PODS) as events:
        return await anext(events)


def test_an_error_event_is_the_error_that_it_holds(server: ApiServer, client: Client) -> None:
    """410 in a stream of status 200 is a 410."""
    server.misbehave("error_event")
    error = error_of(first_event(client))
    assert (error.status, error.reason) == (410, "Expired")


@pytest.mark.parametrize(
    ("trick", "options", "detail"),
    [
        ("half_line", {}, "(in the middle of an event)"),
        ("garbage_line", {}, "(no JSON object)"),
        ("huge_line", {"size": 400_000}, "longer than 100000"),
    ],
)
def test_a_bad_event_is_a_miss(
    server: ApiServer,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    trick: str,
    options: dict[str, int],
    detail: str,
) -> None:
    """An event that is none, or too long, ends the watch with an outcome."""
    monkeypatch.setattr(answers, "MOST_EVENT", 100_000)
    server.misbehave(trick, **options)
    assert detail in miss_of(first_event(client)).outcome.detail


def test_a_condition_is_patched_and_an_event_is_made(server: ApiServer, client: Client) -> None:
    """A strategic merge keeps the conditions of others."""
    server.put(pod("web") | {"status": {"conditions": [{"type": "Ready", "status": "False"}]}})
    change = {"status": {"conditions": [{"type": "gate", "status": "True"}]}}
    patched = run(client.patch(f"{PODS}/web/status", change))
    assert [each["type"] for each in patched["status"]["conditions"]] == ["Ready", "gate"]
    made = run(client.create("/api/v1/namespaces/default/events", {"metadata": {"generateName": "web."}}))
    assert made["metadata"]["name"].startswith("web.")
    assert [each.verb for each in server.requests] == ["patch", "create"]


def test_a_cancelled_watch_leaves_nothing_behind(server: ApiServer, client: Client) -> None:
    """A cancellation at a silent watch closes the connection at once."""

    async def cancelled() -> None:
        task = asyncio.create_task(first_event(client))
        await asyncio.to_thread(wait_for, lambda: server.asked("watch"))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(wait_for, lambda: not server.watching())

    run(cancelled())
