"""The Roles of a plan, printed by the real command, and enough for a server that authorises by them."""

import subprocess
import sys
from pathlib import Path

import yaml
from kube.apiserver import ApiServer, Rule

ACCOUNT = "system:serviceaccount:shop:web"


def gatekeeper(*argv: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run the command to its end."""
    command = [sys.executable, "-m", "gatekeeper", *argv]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)


def test_what_is_printed_is_what_a_plan_needs_and_no_more(server: ApiServer, tmp_path: Path) -> None:
    """Without the rules of the printed Role the Job is forbidden; with them, and no other, it is seen."""
    server.put(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "migrate", "namespace": "shop"},
            "status": {"conditions": [{"type": "Complete", "status": "True"}]},
        }
    )
    server.allow(ACCOUNT, token="of-web")
    config = str(server.kubeconfig(tmp_path, user={"token": "of-web"}, namespace="shop"))
    assert gatekeeper("check", "k8s://job/migrate", KUBECONFIG=config).returncode == 1
    printed = gatekeeper("plan", "--rbac", "k8s://job/migrate", POD_NAMESPACE="shop", POD_SERVICE_ACCOUNT="web")
    assert printed.returncode == 0, printed.stderr
    role, binding = yaml.safe_load_all(printed.stdout)
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "web", "namespace": "shop"}]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    for rule in role["rules"]:
        keys = ("verbs", "apiGroups", "resources", "resourceNames")
        verbs, groups, resources, names = (tuple(rule.get(key, ())) for key in keys)
        server.allow(ACCOUNT, Rule(verbs, groups, resources, role["metadata"]["namespace"], names), token="of-web")
    assert gatekeeper("check", "k8s://job/migrate", KUBECONFIG=config).returncode == 0


def test_the_whole_plan_is_granted_once_for_each_namespace() -> None:
    """Objects of the cluster, of other namespaces, and what is told of the own pod all have their rules."""
    lines = ("k8s://job/a", "k8s://job/a optional", "k8s://other/service/db", "k8s://node/n", "tcp://db:1")
    words = [f"d{number}={line}" for number, line in enumerate(lines)]
    done = gatekeeper("plan", "--rbac", "--event", "--pod-condition=example.com/open", *words)
    assert done.returncode == 0, done.stderr
    found = [each for each in yaml.safe_load_all(done.stdout) if each["kind"].endswith("Role")]
    rules = {(each["kind"], each["metadata"].get("namespace")): len(each["rules"]) for each in found}
    assert rules == {("ClusterRole", None): 1, ("Role", "default"): 4, ("Role", "other"): 1}


def test_all_of_a_plan_is_allowed_by_what_is_printed_and_nothing_else_is(server: ApiServer, tmp_path: Path) -> None:
    """Every request of a wait, its telling included, is allowed; each rule was needed for one of them."""
    server.put({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-0", "namespace": "shop"}, "status": {}})
    lines = ["k8s://job/migrate", "k8s://pods?selector=app=db", "k8s://other/secret/tls key=a", "k8s://node/n"]
    words = [f"d{number}={line}" for number, line in enumerate([*lines, "k8s://service/db", "k8s://pod/web-0"])]
    options = ["--event", "--pod-condition=example.com/open"]
    printed = gatekeeper("plan", "--rbac", *options, *words, POD_NAMESPACE="shop", POD_SERVICE_ACCOUNT="web")
    assert printed.returncode == 0, printed.stderr
    rules = [
        Rule((*rule["verbs"],), (*rule["apiGroups"],), (*rule["resources"],), about, (*rule.get("resourceNames", ()),))
        for each in yaml.safe_load_all(printed.stdout)
        if each["kind"] in ("Role", "ClusterRole")
        for about in [each["metadata"].get("namespace", "")]
        for rule in each["rules"]
    ]
    config = str(server.kubeconfig(tmp_path, user={"token": "of-web"}, namespace="shop"))
    environ = {"KUBECONFIG": config, "POD_NAME": "web-0"}
    for left_out in (None, *rules):
        server.allow(ACCOUNT, *(rule for rule in rules if rule is not left_out), token="of-web")
        looked = gatekeeper("check", *(f"{word} attempt_timeout=30s" for word in words), **environ).stdout
        told = "has not answered within"  # the time for a telling is short, and a machine may be slow
        while "has not answered within" in told:
            told = gatekeeper("wait", "-t", "100ms", *options, "file:///none-at-all", **environ).stderr
        refused = [said for said in (looked, told) if "kubectl" in said]
        assert len(refused) == (left_out is not None), (left_out, looked, told)


def test_who_may_look_at_all_needs_no_name() -> None:
    """Of two rules of which one holds the other, one is printed; a guess is said to be one."""
    words = ("a=k8s://pods?selector=app=db", "b=k8s://pod/db-0", "c=k8s://certificates.acme.example/x condition=Ready")
    printed = gatekeeper("plan", "--rbac", *words).stdout
    (role,) = [each for each in yaml.safe_load_all(printed) if each["kind"] == "Role"]
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
        {
            "apiGroups": ["acme.example"],
            "resources": ["certificates"],
            "resourceNames": ["x"],
            "verbs": ["list", "watch"],
        },
    ]
    assert '["certificates"]  # taken for the plural, of a namespace: a cluster was not asked' in printed


def test_a_namespace_that_is_none_is_refused() -> None:
    """What is printed is to be applied: no variable writes YAML of its own into it."""
    done = gatekeeper("plan", "--rbac", "k8s://job/a", POD_NAMESPACE="a: b")
    assert (done.returncode, done.stdout) == (2, "")
    assert "POD_NAMESPACE" in done.stderr


def test_what_only_a_cluster_knows_is_refused() -> None:
    """A resource without its group cannot be granted by name."""
    done = gatekeeper("plan", "--rbac", "k8s://certificate/web condition=Ready")
    assert (done.returncode, done.stdout) == (2, "")
    assert "write the plural and the group" in done.stderr


def test_a_plan_that_needs_nothing_says_so() -> None:
    """No right is asked for where none is needed."""
    assert "nothing" in gatekeeper("plan", "--rbac", "tcp://db:5432").stdout
