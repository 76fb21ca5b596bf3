"""Objects of Kubernetes, asked for at a real TLS server that answers as an API server does."""

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kube.apiserver import ADMIN, ApiServer, Rule, api_server, wait_for
from kube.discovered import Resource

from gatekeeper.declaration import BadDeclarationError, Source
from gatekeeper.declare.line import parse_line
from gatekeeper.gate import hold
from gatekeeper.model import Outcome, Plan, Reason, State
from gatekeeper.plan import make_plan
from gatekeeper.probes import load
from gatekeeper.verdict import Cause, Verdict

Object = dict[str, Any]
PATIENCE = 30.0
ACCOUNT = "system:serviceaccount:shop:web"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """Give an API server that a kubeconfig in the environment leads to, as administrator in namespace shop."""
    (tmp_path / "server").mkdir()
    with api_server(tmp_path / "server") as running:
        monkeypatch.setenv("KUBECONFIG", str(running.kubeconfig(tmp_path, namespace="shop")))
        yield running


def thing(kind: str, name: str, *, api: str = "v1", namespace: str = "shop", **parts: Any) -> Object:
    """Return an object."""
    labels = parts.pop("labels", {})
    about: Object = {"name": name, "labels": labels, **parts.pop("metadata", {})}
    if namespace:
        about["namespace"] = namespace
    return {"apiVersion": api, "kind": kind, "metadata": about, **parts}


def job(*conditions: str, name: str = "migrate") -> Object:
    """Return a Job with these conditions."""
    status = {"conditions": [{"type": each, "status": "True", "reason": "BackoffLimitExceeded"} for each in conditions]}
    return thing("Job", name, api="batch/v1", spec={}, status=status)


def pod(name: str, *, up: bool, **labels: str) -> Object:
    """Return a Pod."""
    conditions = [{"type": "Ready", "status": str(up)}]
    return thing("Pod", name, labels=labels, spec={}, status={"phase": "Running", "conditions": conditions})


def going(object_: Object) -> Object:
    """Return an object that is being deleted."""
    return object_ | {"metadata": object_["metadata"] | {"deletionTimestamp": "2026-01-01T00:00:00Z"}}


def planned(*lines: str) -> Plan:
    """Return the plan of declarations."""
    problems: list[Any] = []
    declared = tuple(filter(None, (parse_line(line, line, problems, {}) for line in lines)))
    return make_plan([Source(dependencies=declared)], problems)


def once(line: str) -> Outcome:
    """Make one attempt."""
    probe = planned(line).dependencies[0].alternatives[0].probe

    async def attempt() -> Outcome:
        async with asyncio.timeout(PATIENCE):
            return await probe.attempt()

    return asyncio.run(attempt())


async def until(lines: tuple[str, ...], change: Callable[[], object], server: ApiServer) -> Verdict:
    """Hold for declarations; make a change once a watch is there."""
    task = asyncio.create_task(hold(planned(*lines)))
    await asyncio.to_thread(wait_for, lambda: server.asked("watch"))
    await asyncio.to_thread(change)
    async with asyncio.timeout(PATIENCE):
        return await task


@pytest.mark.parametrize(
    ("have", "line", "state", "reason"),
    [
        (job("Complete"), "k8s://job/migrate", State.READY, Reason.READY),
        (job(), "k8s://job/migrate", State.WAITING, Reason.STARTING),
        (job("Failed"), "k8s://shop/jobs.batch/migrate", State.FAILED, Reason.OBJECT_FAILED),
        (job(name="other"), "k8s://job/migrate", State.WAITING, Reason.NOT_FOUND),
        (job(name="other"), "k8s://job/migrate absent=ready", State.READY, Reason.READY),
        (job(name="other"), "k8s://job/migrate absent=fail", State.FAILED, Reason.NOT_FOUND),
        (job("SuccessCriteriaMet"), "k8s://job/migrate condition=SuccessCriteriaMet", State.READY, Reason.READY),
        (pod("db-0", up=True), "k8s://pod/db-0", State.READY, Reason.READY),
        (going(pod("db-0", up=True)), "k8s://pod/db-0", State.WAITING, Reason.STARTING),
        (going(pod("db-0", up=True)), "k8s://pod/db-0 condition=Ready", State.WAITING, Reason.STARTING),
        (pod("db-0", up=True) | {"status": {"conditions": "odd"}}, "k8s://pod/db-0", State.WAITING, Reason.STARTING),
        (pod("db-0", up=False), "k8s://pod/db-0", State.WAITING, Reason.STARTING),
        (pod("db-0", up=True, app="db"), "k8s://pods?selector=app=db", State.READY, Reason.READY),
        (pod("db-0", up=True, app="db"), "k8s://pods?selector=app=db need=2", State.WAITING, Reason.STARTING),
        (pod("db-0", up=True, app="db"), "k8s://pods?selector=app=web", State.WAITING, Reason.NOT_FOUND),
        (thing("Secret", "tls", data={"a": ""}), "k8s://secret/tls key=a", State.READY, Reason.READY),
        (thing("Secret", "tls", data={"a": ""}), "k8s://secret/tls key=b", State.WAITING, Reason.UNWANTED_ANSWER),
        (thing("ConfigMap", "c", data={"a": "1"}), "k8s://cm/c", State.READY, Reason.READY),
        (
            thing("ConfigMap", "c", data={"a": "1"}),
            """k8s://cm/c 'json=$.data.a == "1"'""",
            State.READY,
            Reason.READY,
        ),
        (
            thing("ConfigMap", "c", data={"a": "1"}),
            """k8s://cm/c 'json=$.data.a == "2"'""",
            State.WAITING,
            Reason.UNWANTED_ANSWER,
        ),
    ],
)
def test_an_object_stands_as_its_resource_means_it(
    server: ApiServer, have: Object, line: str, state: State, reason: Reason
) -> None:
    """What ready means is known for each resource; options say it otherwise."""
    server.put(have)
    outcome = once(line)
    assert (outcome.state, outcome.reason) == (state, reason), outcome


def test_a_change_opens_the_gate_by_a_watch(server: ApiServer) -> None:
    """The server's event is what opens; nothing is listed again for it."""
    server.put(job())
    verdict = asyncio.run(until(("k8s://job/migrate",), lambda: server.put(job("Complete")), server))
    assert verdict, verdict
    assert len(server.asked("list")) == 1


def test_a_failed_job_closes_the_gate_at_once(server: ApiServer) -> None:
    """Failed is final: there is no second look."""
    server.put(job())
    verdict = asyncio.run(until(("k8s://job/migrate",), lambda: server.put(job("Failed")), server))
    assert not verdict
    assert verdict.dependencies[0].reason is Reason.OBJECT_FAILED
    assert "BackoffLimitExceeded" in verdict.dependencies[0].detail


def test_several_dependencies_share_one_watch(server: ApiServer) -> None:
    """Pods that are selected alike are listed and watched once."""
    server.put(pod("db-0", up=False, app="db"))
    lines = ("a=k8s://pods?selector=app=db", "b=k8s://pods?selector=app=db need=1")
    verdict = asyncio.run(until(lines, lambda: server.put(pod("db-0", up=True, app="db")), server))
    assert verdict
    assert len(server.asked("list")) == len(server.asked("watch")) == 1


def test_a_refusal_says_which_role_to_apply(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod whose account may not look is told the commands that grant exactly what is asked for."""
    claims = base64.urlsafe_b64encode(json.dumps({"sub": ACCOUNT}).encode()).decode().rstrip("=")
    token = f"e30.{claims}.sig"
    server.allow(ACCOUNT, token=token)
    (tmp_path / "token").write_text(token)
    config = server.kubeconfig(tmp_path, user={"tokenFile": str(tmp_path / "token")}, namespace="shop")
    monkeypatch.setenv("KUBECONFIG", str(config))
    outcome = once("k8s://job/migrate")
    assert (outcome.state, outcome.reason) == (State.FAILED, Reason.FORBIDDEN)
    assert outcome.detail == (
        "job/migrate: may not list, watch jobs.batch in shop; grant it: "
        "kubectl create role gatekeeper-jobs-migrate --verb=list,watch --resource=jobs.batch --resource-name=migrate "
        "-n shop && kubectl create rolebinding gatekeeper-jobs-migrate --role=gatekeeper-jobs-migrate "
        "--serviceaccount=shop:web -n shop"
    )
    server.allow(ACCOUNT, Rule(("list", "watch"), ("batch",), ("jobs",), "shop", ("migrate",)))
    server.put(job("Complete"))
    assert once("k8s://job/migrate").state is State.READY, "what the commands grant is enough"


def test_a_user_of_a_kubeconfig_is_bound_by_his_name(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whom the server has refused is who needs the right, acted as or not; for all objects by a label it is of none."""
    server.allow("jane@example.com", token="of-jane")
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path, user={"token": "of-jane"}, namespace="shop")))
    detail = once("k8s://pods?selector=app=db").detail
    assert "kubectl create role gatekeeper-pods --verb=list,watch --resource=pods -n shop" in detail
    assert detail.endswith("--role=gatekeeper-pods --user=jane@example.com -n shop")
    detail = once("k8s://node/n").detail
    assert detail.endswith(
        "kubectl create clusterrole gatekeeper-nodes-n --verb=list,watch --resource=nodes --resource-name=n && "
        "kubectl create clusterrolebinding gatekeeper-nodes-n --clusterrole=gatekeeper-nodes-n --user=jane@example.com"
    )
    user = {"token": ADMIN, "as": "system:serviceaccount:shop:web"}
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path, user=user, namespace="shop")))
    assert "--serviceaccount=shop:web" in once("k8s://pod/db").detail


def test_a_refusal_of_a_server_that_starts_is_not_final(server: ApiServer) -> None:
    """A gate closes for a right that is missing after a second of it, in which it has asked again."""
    server.put(job("Complete"))
    server.misbehave("status", code=403, reason="Forbidden", times=1)
    assert asyncio.run(asyncio.wait_for(hold(planned("k8s://job/migrate")), PATIENCE))
    server.misbehave("status", code=403, reason="Forbidden")
    verdict = asyncio.run(asyncio.wait_for(hold(planned("k8s://job/migrate")), PATIENCE))
    assert verdict.cause is Cause.FAILED
    assert len(server.asked("list")) >= 4


def test_a_question_that_is_not_understood_is_not_asked_for_ever(server: ApiServer) -> None:
    """What the API calls a bad request is one the next time too."""
    server.misbehave("status", code=400, reason="BadRequest")
    verdict = asyncio.run(asyncio.wait_for(hold(planned("k8s://job/migrate")), PATIENCE))
    assert (verdict.cause, verdict.dependencies[0].reason) == (Cause.FAILED, Reason.UNWANTED_ANSWER)


def test_what_must_be_there_and_is_not_closes_the_gate_at_once(server: ApiServer) -> None:
    """That it is absent is looked at for a second, and not until a watch is doubted."""
    verdict = asyncio.run(asyncio.wait_for(hold(planned("k8s://job/migrate absent=fail")), PATIENCE / 2))
    assert (verdict.cause, verdict.dependencies[0].reason) == (Cause.FAILED, Reason.NOT_FOUND)
    assert len(server.requests) <= 2


def test_a_definition_that_comes_opens_the_gate(server: ApiServer) -> None:
    """No watch tells of a resource that is not there: it is asked for again, and then watched."""
    anvil = thing("Anvil", "one", api="acme.example/v1", status={"conditions": [{"type": "Hot", "status": "True"}]})

    async def work() -> Verdict:
        holding = asyncio.create_task(hold(planned("k8s://anvils.acme.example/one condition=Hot")))
        await asyncio.to_thread(wait_for, lambda: server.asked("", "/apis/acme.example"))
        server.resources.append(Resource("acme.example", "v1", "anvils", "Anvil"))
        await asyncio.to_thread(server.put, anvil)
        return await holding

    assert asyncio.run(asyncio.wait_for(work(), PATIENCE / 2)), "and not after the 30 seconds of a doubt"


def slices(*endpoints: Object, port: str = "pg", name: str = "db-x") -> Object:
    """Return an EndpointSlice of the service db."""
    return thing(
        "EndpointSlice",
        name,
        api="discovery.k8s.io/v1",
        labels={"kubernetes.io/service-name": "db"},
        endpoints=list(endpoints),
        ports=[{"name": port, "port": 5432}],
        addressType="IPv4",
    )


@pytest.mark.parametrize(
    ("have", "options", "state"),
    [
        ([slices({"addresses": ["10.0.0.1"], "conditions": {"ready": True, "serving": True}})], "", State.READY),
        ([slices({"addresses": ["10.0.0.1"], "conditions": {}})], "", State.READY),
        ([slices({"addresses": ["10.0.0.1"], "conditions": {"ready": True, "serving": False}})], "", State.WAITING),
        (
            [slices({"addresses": ["10.0.0.1"], "conditions": {"serving": True, "terminating": True}})],
            "",
            State.WAITING,
        ),
        ([slices({"addresses": ["10.0.0.1"], "conditions": {"ready": False}})], "", State.WAITING),
        ([slices({"addresses": ["10.0.0.1"], "conditions": {"serving": "no"}})], "", State.WAITING),
        ([slices({"addresses": ["10.0.0.1"], "conditions": {"ready": "no"}})], "", State.WAITING),
        ([slices({"addresses": ["10.0.0.1"], "conditions": ["odd"], "targetRef": 7})], "", State.READY),
        ([slices()], "", State.WAITING),
        ([slices({"addresses": ["10.0.0.1"], "conditions": {"serving": False}}) | {"ports": None}], "", State.WAITING),
        ([slices() | {"endpoints": None, "ports": None}], "", State.WAITING),
        ([slices({"addresses": ["10.0.0.1"]})], "port=pg", State.READY),
        ([slices({"addresses": ["10.0.0.1"]})], "port=http", State.WAITING),
        ([slices({"addresses": ["10.0.0.1"]})], "need=2", State.WAITING),
        (
            [slices({"addresses": ["10.0.0.1"]}), slices({"addresses": ["10.0.0.2"]}, name="db-y")],
            "need=2",
            State.READY,
        ),
        (
            [
                slices({"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "name": "db-0", "uid": "u"}}),
                slices(
                    {"addresses": ["fd00::1"], "targetRef": {"kind": "Pod", "name": "db-0", "uid": "u"}}, name="db-y"
                ),
            ],
            "need=2",
            State.WAITING,
        ),
    ],
)
def test_a_service_has_enough_that_serves(server: ApiServer, have: list[Object], options: str, state: State) -> None:
    """Serving and not on the way out counts, null is what the API says, and a pod of two families is one."""
    for each in have:
        server.put(each)
    assert once(f"k8s://service/db {options}".rstrip()).state is state


def test_a_service_that_selects_the_waiting_pod_is_warned_of(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pod that waits for itself can never become ready, and that is said."""
    monkeypatch.setenv("POD_NAME", "web-0")
    own = {"addresses": ["10.0.0.1"], "conditions": {"ready": False}, "targetRef": {"kind": "Pod", "name": "web-0"}}
    server.put(slices(own))
    assert "selects this very pod" in once("k8s://service/db").detail


def test_an_unknown_definition_is_waited_for(server: ApiServer) -> None:
    """A resource that no definition tells of yet is not there yet."""
    outcome = once("k8s://certificates.cert-manager.io/web condition=Ready")
    assert (outcome.state, outcome.reason) == (State.WAITING, Reason.NOT_FOUND)
    assert server.asked("get", "/apis")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("k8s://job", "names no object"),
        ("k8s://a/b/c/d", "names no object"),
        ("k8s://pods?labels=a", "takes ?selector=LABELS"),
        ("k8s://pods?selector=app=db=", "'app=db=' is no selector: write LABELS"),
        ("k8s://pods?selector=app,", "is no selector"),
        ("'k8s://pods?selector=app in a'", "is no selector"),
        ("k8s://pods?selector=-a=b", "is no selector"),
        ("k8s://Shop!/job/a", "is no namespace"),
        ("k8s://shop/node/a", "is of no namespace"),
        ("k8s://cronjob/a", "is not known: say it by condition=TYPE or json=EXPRESSION"),
        ("k8s://job/a key=b", "for a Secret or a ConfigMap only"),
        ("k8s://job/a need=2", "means something with a selector"),
        ("k8s://job/a port=http", "means something for a service only"),
        ("k8s://service/a absent=ready", "is judged by its endpoints"),
        ("k8s://job/a condition=a=b", "is no condition"),
        ("k8s://job/a absent=ready invert", "undo each other"),
    ],
)
def test_a_bad_declaration_says_what_would_be_right(line: str, message: str) -> None:
    """Nothing is asked of a cluster that cannot be meant."""
    with pytest.raises(BadDeclarationError, match=message.replace("?", r"\?")):
        planned(line)


@pytest.mark.parametrize(
    ("selector", "there"),
    [
        ("app=db,tier!=web", True),
        ("app==db", True),
        ("app in (db, web),!gone", True),
        ("app notin (db)", False),
        ("gone", False),
        ("example.com/part=", False),
        ("app", True),
    ],
)
def test_a_selector_means_what_it_means_to_kubectl(server: ApiServer, selector: str, *, there: bool) -> None:
    """Whatever kubectl takes reaches the server as it is."""
    server.put(pod("db-0", up=True, app="db"))
    assert once(f"'k8s://pods?selector={selector}'").state is (State.READY if there else State.WAITING)
    assert server.asked("list")[0].query["labelSelector"] == selector


def test_two_selectors_have_two_names() -> None:
    """What is selected is shown, as the name too."""
    plan = planned("k8s://pods?selector=app=db,tier!=web", "k8s://pods?selector=app=web")
    assert [each.name for each in plan.dependencies] == [
        "k8s://pods?selector=app=db,tier!=web",
        "k8s://pods?selector=app=web",
    ]


@pytest.mark.parametrize(
    "target", ["me:hunter2@pods?selector=a=b", "me:hunter2@shop/job/a", "shop/job/a?token=hunter2"]
)
def test_what_may_be_a_secret_is_not_shown(target: str) -> None:
    """Who takes the target for a URL with a user is told what it is, and not what he wrote."""
    problems: list[Any] = []
    line = parse_line(f"k8s://{target}", "argument 1", problems, {})
    assert line
    with pytest.raises(BadDeclarationError) as raised:
        make_plan([Source(dependencies=(line,))], problems)
    assert "write k8s://job/migrate" in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_without_a_cluster_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On a machine without a kubeconfig there is nothing to wait for."""
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    outcome = once("k8s://job/migrate")
    assert outcome.state is State.FAILED
    assert "no Kubernetes API" in outcome.detail


def test_the_kind_is_loaded_by_its_name() -> None:
    """The table of kinds knows it."""
    assert load("k8s").EXAMPLE == "migrated=k8s://job/migrate"
