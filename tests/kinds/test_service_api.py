"""Services of a cluster, by the EndpointSlices that a real TLS server tells as an API server does, and by name."""

import asyncio
import base64
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kube.apiserver import ApiServer, Rule, api_server, wait_for

from gatekeeper.declaration import BadDeclarationError, Source
from gatekeeper.declare.line import parse_line
from gatekeeper.gate import hold
from gatekeeper.kube import serving
from gatekeeper.model import Outcome, Plan, Reason, State
from gatekeeper.plan import make_plan
from gatekeeper.probes.service import Service

Object = dict[str, Any]
PATIENCE = 30.0
ACCOUNT = "system:serviceaccount:shop:web"
CLAIMS = base64.urlsafe_b64encode(json.dumps({"sub": ACCOUNT}).encode()).decode().rstrip("=")
TOKEN = f"e30.{CLAIMS}.sig"
SERVING = {"addresses": ["10.0.0.1"], "conditions": {"ready": True, "serving": True}}
NOT_YET = {"addresses": ["10.0.0.2"], "conditions": {"ready": True, "serving": False}}  # publishNotReadyAddresses
LEAVING = {"addresses": ["10.0.0.3"], "conditions": {"serving": True, "terminating": True}}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """Give the API server of the cluster of a pod of the namespace shop, whose account may list and watch slices."""
    (tmp_path / "server").mkdir()
    with api_server(tmp_path / "server") as running:
        token = running.allow(
            ACCOUNT,
            Rule(("list", "watch"), ("discovery.k8s.io",), ("endpointslices",), "shop"),
            Rule(("get",), ("",), ("services",), "shop", ("localhost",)),
            token=TOKEN,
        )
        for name, value in running.in_cluster_files(tmp_path / "account", "shop", token).items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def port() -> Iterator[int]:
    """Return a port of 127.0.0.1 that accepts connections."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


def slices(*endpoints: Object, name: str = "localhost-x", service: str = "localhost") -> Object:
    """Return an EndpointSlice of the service that is called as this machine is."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": "shop", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "endpoints": list(endpoints),
        "ports": [{"name": "pg", "port": 5432}],
    }


def in_pod(folder: Path, target: str, **options: str) -> Service:
    """Return the probe of a target, in a pod whose account is mounted at this folder's."""
    probe = Service.parse(target, {key: (value,) for key, value in options.items()})
    return replace(probe, mounted=str(folder / "account"))


def attempt(probe: Service) -> Outcome:
    """Make one attempt."""

    async def once() -> Outcome:
        async with asyncio.timeout(PATIENCE):
            return await probe.attempt()

    return asyncio.run(once())


def planned(line: str, folder: Path) -> Plan:
    """Return the plan of one declaration, in the pod."""
    problems: list[Any] = []
    declared = parse_line(line, line, problems, {})
    assert declared
    plan = make_plan([Source(dependencies=(declared,))], problems)
    dependency = plan.dependencies[0]
    alternative = dependency.alternatives[0]
    probe = replace(alternative.probe, mounted=str(folder / "account"))  # type: ignore[type-var]
    return plan._replace(
        dependencies=(dependency._replace(alternatives=(alternative._replace(probe=probe),)),),
    )


def test_what_listens_and_does_not_serve_is_waited_for(server: ApiServer, port: int, tmp_path: Path) -> None:
    """A pod that may list the slices is not misled by a port that accepts; the report says which way it looked."""
    server.put(slices(NOT_YET, LEAVING))
    found = attempt(in_pod(tmp_path, f"service://localhost:{port}"))
    assert (found.state, found.reason) == (State.WAITING, Reason.STARTING)
    assert found.detail == "service/localhost: 0 of 1 serving, 2 not ready (via api)"
    server.put(slices(NOT_YET, SERVING))
    found = attempt(in_pod(tmp_path, f"service://localhost:{port}"))
    assert (found.state, found.detail) == (State.READY, f"127.0.0.1:{port} (via api and dns)")


def test_what_serves_and_does_not_accept_is_waited_for(server: ApiServer, tmp_path: Path) -> None:
    """The network has to be there as well: a connection has the last word."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        server.put(slices(SERVING))
        found = attempt(in_pod(tmp_path, f"service://localhost:{closed.getsockname()[1]}"))
    assert (found.state, found.reason) == (State.WAITING, Reason.REFUSED)
    assert found.detail.endswith("(via api and dns)")


def test_an_event_opens_the_gate(server: ApiServer, port: int, tmp_path: Path) -> None:
    """What the API server tells is waited for and not polled: the gate opens with the event."""
    server.put(slices(NOT_YET))

    async def held() -> tuple[Any, float]:
        task = asyncio.create_task(hold(planned(f"service://localhost:{port} interval=20s", tmp_path)))
        await asyncio.to_thread(wait_for, lambda: server.asked("watch"))
        began = asyncio.get_running_loop().time()
        await asyncio.to_thread(server.put, slices(SERVING))
        return await task, asyncio.get_running_loop().time() - began

    verdict, _ = asyncio.run(asyncio.wait_for(held(), PATIENCE))
    assert verdict
    assert verdict.dependencies[0].attempts <= 3
    assert len(server.asked("list")) == 1


def test_who_may_not_ask_looks_by_dns(server: ApiServer, port: int, tmp_path: Path) -> None:
    """No right is needed: it says why it did not ask, asks once only, and opens as DNS and a connection tell."""
    server.allow(ACCOUNT, token=TOKEN)
    probe = in_pod(tmp_path, f"service://localhost:{port}")

    async def twice() -> tuple[Outcome, Outcome]:
        signal = await probe.watch()
        found = await probe.attempt(), await probe.attempt()
        assert signal
        signal.close()
        return found

    first, second = asyncio.run(asyncio.wait_for(twice(), PATIENCE))
    assert first == second
    assert (first.state, first.detail) == (
        State.READY,
        f"127.0.0.1:{port} (via dns; may not list endpointslices)",
    )
    assert len(server.asked()) == 1


def test_a_hundred_services_ask_once_whether_they_may(server: ApiServer, port: int, tmp_path: Path) -> None:
    """What is granted for a namespace is refused for all of it: no server is flooded at the start of a pod."""
    server.allow(ACCOUNT, token=TOKEN)

    async def all_of_them() -> list[Outcome]:
        probes = [in_pod(tmp_path, f"service://localhost:{port}") for _ in range(50)]
        probes += [in_pod(tmp_path, f"service://other{number}:1") for number in range(50)]
        return await asyncio.gather(*(probe.attempt() for probe in probes))

    found = asyncio.run(asyncio.wait_for(all_of_them(), PATIENCE))
    assert all("may not list endpointslices" in outcome.detail for outcome in found)
    assert len(server.asked()) == 1


def test_a_short_attempt_falls_back_at_the_next(server: ApiServer, port: int, tmp_path: Path) -> None:
    """A server that is silent for longer than an attempt may take holds one attempt, and not each of them."""
    server.misbehave("stall")
    dependency = planned(f"service://localhost:{port} attempt_timeout=300ms", tmp_path)
    verdict = asyncio.run(asyncio.wait_for(hold(dependency), PATIENCE))
    assert verdict
    assert verdict.dependencies[0].attempts >= 2
    assert verdict.dependencies[0].detail.endswith("(via dns; the API has not answered yet)")


def test_a_time_limit_that_comes_with_another_is_kept(server: ApiServer, port: int, tmp_path: Path) -> None:
    """Where the loop finds the end of the attempt and of the first word at once, the attempt is over."""
    server.misbehave("stall")

    async def attempt_of_a_second() -> None:
        probe = in_pod(tmp_path, f"service://localhost:{port}")
        async with asyncio.timeout(serving.FIRST_WORD):
            asyncio.get_running_loop().call_later(serving.FIRST_WORD - 0.2, time.sleep, 0.6)
            await probe.attempt()

    with pytest.raises(TimeoutError):
        asyncio.run(attempt_of_a_second())


@pytest.mark.parametrize(
    ("trick", "why"),
    [
        ({"what": "stall"}, "the API has not answered yet"),
        ({"what": "status", "code": 500, "reason": "InternalError"}, "the API: starting"),
        ({"what": "html"}, "the API: unwanted_answer"),
    ],
)
def test_a_server_that_does_not_answer_holds_nobody(
    server: ApiServer, port: int, tmp_path: Path, trick: Object, why: str
) -> None:
    """DNS and a connection will do where the API cannot be had, and the report says so."""
    server.misbehave(**trick)
    found = attempt(in_pod(tmp_path, f"service://localhost:{port}"))
    assert (found.state, found.detail) == (State.READY, f"127.0.0.1:{port} (via dns; {why})")


def test_a_service_without_slices_is_left_to_dns(server: ApiServer, port: int, tmp_path: Path) -> None:
    """A name for something outside (ExternalName), or a service without selector, has none."""
    server.put(slices(NOT_YET, service="other"))
    found = attempt(in_pod(tmp_path, f"service://localhost:{port}"))
    assert (found.state, found.detail) == (State.READY, f"127.0.0.1:{port} (via dns; it has no EndpointSlice)")


def test_without_a_token_nothing_of_an_api_is_loaded(server: ApiServer, port: int, tmp_path: Path) -> None:
    """Outside of a cluster, with the token left out and with via=dns, nobody is asked."""
    server.put(slices(NOT_YET))
    for probe in (
        in_pod(tmp_path / "nowhere", f"service://localhost:{port}"),
        in_pod(tmp_path, f"service://localhost:{port}", via="dns"),
        in_pod(tmp_path, f"service://db-0.db.localhost:{port}"),
    ):
        found = attempt(probe)
        assert found.detail.endswith("(via dns)")
    assert not server.asked()
    ran = subprocess.run(
        [sys.executable, "-c", "import sys, gatekeeper.probes.service; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert not {"httpx", "gatekeeper.kube.access", "gatekeeper.kube.informer"} & set(ran.stdout.split())


def test_a_service_that_selects_the_waiting_pod_is_warned_of(
    server: ApiServer, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can never become ready: the pod is not before the gate opens."""
    monkeypatch.setenv("POD_NAME", "web-0")
    server.put(slices(NOT_YET | {"targetRef": {"kind": "Pod", "name": "web-0", "uid": "u"}}))
    found = attempt(in_pod(tmp_path, f"service://localhost:{port}"))
    assert "it selects this very pod" in found.detail


@pytest.mark.parametrize(
    ("have", "target", "options", "state"),
    [
        ([SERVING], "service://localhost", {}, State.READY),
        ([SERVING], "service://localhost:5432", {}, State.READY),
        ([SERVING], "service://localhost.shop.svc.cluster.local", {}, State.READY),
        ([SERVING], "service://localhost:pg", {}, State.READY),
        ([SERVING], "service://localhost:http", {}, State.WAITING),
        ([SERVING, NOT_YET], "service://localhost", {"endpoints": "all"}, State.WAITING),
        ([SERVING], "service://localhost", {"endpoints": "all"}, State.READY),
        ([SERVING], "service://localhost", {"endpoints": "2"}, State.WAITING),
        ([], "service://localhost", {"endpoints": "all"}, State.WAITING),
    ],
)
def test_the_api_alone_may_tell(
    server: ApiServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    have: list[Object],
    target: str,
    options: dict[str, str],
    state: State,
) -> None:
    """From outside of a cluster its names do not resolve: via=api connects to nobody else, and needs no port."""
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path, namespace="shop")))
    server.put(slices(*have))
    found = attempt(Service.parse(target, {"via": ("api",)} | {key: (value,) for key, value in options.items()}))
    assert found.state is state
    assert found.detail.endswith("(via api)")


def test_without_the_right_via_api_says_which(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who insists is told at once, with what grants it; a service that is not there is waited for."""
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path, namespace="shop")))
    found = attempt(Service.parse("service://localhost", {"via": ("api",)}))
    assert (found.state, found.reason, found.gone) == (State.WAITING, Reason.NOT_FOUND, True)
    nobody = server.allow("system:serviceaccount:shop:nobody")
    config = server.kubeconfig(tmp_path, user={"token": nobody}, namespace="shop")
    monkeypatch.setenv("KUBECONFIG", str(config))
    found = attempt(Service.parse("service://localhost", {"via": ("api",)}))
    assert (found.state, found.reason) == (State.FAILED, Reason.FORBIDDEN)
    assert "may not list, watch endpointslices.discovery.k8s.io in shop" in found.detail


@pytest.mark.parametrize(
    ("target", "message"),
    [("service://db-0.db.prod:5432", "is no service of a cluster"), ("service://db.:5432", "is no service")],
)
def test_what_no_api_knows_is_a_bad_declaration(target: str, message: str) -> None:
    """The name of a pod behind a service, or of another domain, is for DNS."""
    with pytest.raises(BadDeclarationError, match=message):
        make_plan([Source(dependencies=(parse_line(f"{target} via=api", "argument 1", [], {}),))])  # type: ignore[arg-type]


def test_the_variables_are_those_of_the_service_object(server: ApiServer, port: int, tmp_path: Path) -> None:
    """Of all its ports, as the kubelet makes them, where the API tells; DNS knows of the one that was waited for."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "localhost", "namespace": "shop"},
        "spec": {
            "clusterIP": "10.96.0.7",
            "ports": [
                {"name": "pg", "port": 5432, "protocol": "TCP"},
                {"name": "stats", "port": 9187},
            ],
        },
    }
    server.put(service)
    told = asyncio.run(in_pod(tmp_path, f"service://localhost:{port}").exports())
    assert isinstance(told, dict)
    assert told["LOCALHOST_SERVICE_HOST"] == "10.96.0.7"
    assert told["LOCALHOST_SERVICE_PORT"] == told["LOCALHOST_SERVICE_PORT_PG"] == "5432"
    assert told["LOCALHOST_SERVICE_PORT_STATS"] == "9187"
    service["spec"] = {"clusterIP": "None", "ports": [{"port": 5432}]}
    server.put(service)
    refused = asyncio.run(in_pod(tmp_path, f"service://localhost:{port}").exports())
    assert isinstance(refused, Outcome)
    assert "no address of its own" in refused.detail
    server.allow(ACCOUNT, token=TOKEN)
    told = asyncio.run(in_pod(tmp_path, f"service://localhost:{port}").exports())
    assert isinstance(told, dict)
    assert told["LOCALHOST_SERVICE_HOST"] == "127.0.0.1"


def gatekeeper(*argv: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run the command to its end."""
    command = [sys.executable, "-m", "gatekeeper", *argv]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_a_context_is_said_once_for_all(server: ApiServer, tmp_path: Path) -> None:
    """``--context`` counts for every kind that asks an API, and makes a service one of that cluster."""
    config = json.loads(server.kubeconfig(tmp_path, namespace="shop").read_text())
    config["contexts"].append({"name": "other", "context": config["contexts"][0]["context"] | {"namespace": "else"}})
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    server.put(slices(SERVING))
    account = {"KUBECONFIG": str(tmp_path / "kubeconfig")}
    words = ("service://localhost", "ep=k8s://service/localhost")
    done = gatekeeper("check", "--context=test", *words, **account)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "(via api)" in done.stdout
    assert gatekeeper("check", "--context=other", *words, **account).returncode == 1
    missing = gatekeeper("check", "--context=missing", *words, **account)
    assert missing.returncode == 1
    assert "missing" in missing.stdout
    assert gatekeeper("check", "--context=other", f"{words[0]} context=test", **account).returncode == 0


def test_the_roles_of_a_plan_have_what_a_service_needs() -> None:
    """Nothing, where DNS will do; and no more than its slices, and itself where its variables are wanted."""
    none = gatekeeper("plan", "--rbac", "service://db:5432")
    assert none.stdout == "# nothing of this plan needs a right in the cluster\n"
    some = gatekeeper("plan", "--rbac", "service://db.prod:5432 via=api").stdout
    assert 'resources: ["endpointslices"]' in some
    assert "namespace: prod" in some
    assert '"services"' not in some
    more = gatekeeper("plan", "--rbac", "--export-env=-", "service://db via=api").stdout
    assert 'resources: ["services"]\n    resourceNames: ["db"]\n    verbs: ["get"]' in more


IN_A_POD = """
mount -t tmpfs none /run && mkdir -p "$(dirname /run/secrets/kubernetes.io/serviceaccount)" &&
cp -r "$1" /run/secrets/kubernetes.io/serviceaccount && shift && exec "$@"
"""


def as_pod(folder: Path, *argv: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run the command where a pod's account is mounted, in a mount namespace of its own."""
    own = ["unshare", "-m", "--propagation", "private", "sh", "-c", IN_A_POD, "_", str(folder / "account")]
    command = [*own, sys.executable, "-m", "gatekeeper", *argv]
    known = {name: os.environ[name] for name in ("PATH", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT")}
    return subprocess.run(command, env=known | environ, capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.mark.root
def test_a_pod_is_its_own_account(server: ApiServer, port: int, tmp_path: Path) -> None:
    """Where the kubelet mounts it, the account is found without a word: for a service, and for the pod's fields."""
    server.put(slices(NOT_YET))
    done = as_pod(tmp_path, "check", f"service://localhost:{port}")
    assert done.returncode == 1
    assert "(via api)" in done.stdout
    server.put(slices(SERVING))
    done = as_pod(tmp_path, "check", f"service://localhost:{port}", "--output=json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "(via api and dns)" in done.stdout

    field = "file:///${$.spec.nodeName}/${$.metadata.labels[app]:-none}"
    refused = as_pod(tmp_path, "plan", field, POD_NAME="web-0")
    assert refused.returncode == 2
    assert "kubectl create role gatekeeper-pods-web-0 --verb=get --resource=pods" in refused.stderr
    server.allow(ACCOUNT, Rule(("get",), ("",), ("pods",), "shop", ("web-0",)), token=TOKEN)
    about = {"name": "web-0", "namespace": "shop", "labels": {"app": "web"}}
    server.put({"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": {"nodeName": "node-7"}})
    told = as_pod(tmp_path, "plan", field, POD_NAME="web-0")
    assert told.returncode == 0, told.stderr
    assert "file:///node-7/web" in told.stdout
    server.misbehave("stall")
    silent = as_pod(tmp_path, "plan", field, POD_NAME="web-0")
    assert silent.returncode == 2
    assert "the API server has not answered within 2s" in silent.stderr
