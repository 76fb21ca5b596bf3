"""Ways to an API server: of a pod, of a kubeconfig; what is shown of who asks, and what no message shows."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from kinds.certificates import leaf
from kube.apiserver import ADMIN, ApiServer, api_server
from kube.asking import listed

from gatekeeper.kube.access import NoAccessError, TokenFile, access, in_cluster
from gatekeeper.kube.kubeconfig import from_kubeconfig
from gatekeeper.model import Reason
from gatekeeper.probes._miss import MissError


def refusal(*arguments: Any, **options: Any) -> str:
    """Return what is said where there is no way."""
    with pytest.raises(NoAccessError) as raised:
        access(*arguments, **options)
    return raised.value.outcome.detail


def plugin(folder: Path, status: dict[str, Any], *, version: str = "client.authentication.k8s.io/v1") -> dict[str, Any]:
    """Return a user whose plugin says this, and keeps count of its runs and of what it was told."""
    said = {"kind": "ExecCredential", "apiVersion": version, "status": status}
    script = folder / "plugin"
    script.write_text(
        f"#!/bin/sh\necho a-warning >&2\necho run >> {folder}/runs\n"
        f'printf %s "$KUBERNETES_EXEC_INFO" > {folder}/told\necho "$MORE" > {folder}/more\n'
        f"cat <<'END'\n{json.dumps(said)}\nEND\n"
    )
    script.chmod(0o755)
    return {
        "exec": {
            "apiVersion": version,
            "command": "./plugin",
            "args": ["get-token"],
            "env": [{"name": "MORE", "value": "given"}],
            "interactiveMode": "Never",
            "provideClusterInfo": True,
        }
    }


def test_a_pod_goes_as_its_account(server: ApiServer, tmp_path: Path) -> None:
    """Token, authority and namespace are those that are mounted."""
    environ = server.in_cluster_files(tmp_path / "mounted", "shop")
    way = access(environ={**environ, "HOME": str(tmp_path)}, mounted=str(tmp_path / "mounted"))
    assert way.namespace == "shop"
    listed(way)
    assert server.requests[0].user == "kubernetes-admin"


def test_ipv6_has_its_brackets(tmp_path: Path) -> None:
    """An IPv6 host of the environment is no host with a port."""
    (tmp_path / "token").write_text("x")
    way = in_cluster({"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}, str(tmp_path))
    assert str(way.url) == "https://[fd00::1]:6443/"


def test_a_server_of_an_ipv6_cluster_is_reached(tmp_path: Path) -> None:
    """The certificate is verified for the address itself, which it names (RFC 5280, 4.2.1.6)."""
    (tmp_path / "server").mkdir()
    with api_server(tmp_path / "server", host="::1") as server:
        environ = server.in_cluster_files(tmp_path / "mounted")
        assert environ["KUBERNETES_SERVICE_HOST"] == "::1"
        listed(in_cluster(environ, str(tmp_path / "mounted")))
        assert server.requests[0].fields["host"] == f"[::1]:{server.port}"


def test_an_address_that_the_certificate_does_not_name_is_refused(server: ApiServer, tmp_path: Path) -> None:
    """An address is verified as one; the token stays here."""
    environ = server.in_cluster_files(tmp_path / "mounted") | {"KUBERNETES_SERVICE_HOST": "127.0.0.2"}
    server.stop()
    server.host = "0.0.0.0"
    server.start()
    with pytest.raises(MissError) as raised:
        listed(in_cluster(environ, str(tmp_path / "mounted")))
    assert raised.value.outcome.reason is Reason.TLS_FAILED
    assert server.requests == []


def test_without_a_token_the_message_says_what_to_do(tmp_path: Path) -> None:
    """`automountServiceAccountToken: false` is named, and so are the kinds that need no API."""
    said = refusal(environ={"KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOME": str(tmp_path)}, mounted=str(tmp_path))
    assert "automountServiceAccountToken: false" in said
    assert "KUBECONFIG" in refusal(environ={"HOME": str(tmp_path)}, mounted=str(tmp_path))


def test_a_kubeconfig_holds_before_the_account(server: ApiServer, tmp_path: Path) -> None:
    """KUBECONFIG is meant where it is set; ~/.kube/config is the last resort."""
    path = server.kubeconfig(tmp_path, namespace="team")
    environ = server.in_cluster_files(tmp_path / "mounted")
    assert access(environ={**environ, "KUBECONFIG": str(path)}, mounted=str(tmp_path / "mounted")).namespace == "team"
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_bytes(path.read_bytes())
    way = access(environ={"HOME": str(tmp_path)}, mounted=str(tmp_path))
    assert way == access(environ={"HOME": str(tmp_path)}, mounted=str(tmp_path)), "equal ways share a watch"
    listed(way)


def test_several_files_are_merged_and_the_first_holds(server: ApiServer, tmp_path: Path) -> None:
    """A file that is not there is passed over in KUBECONFIG, and not where it is named."""
    path = server.kubeconfig(tmp_path)
    first = tmp_path / "first"
    first.write_text(
        "current-context: other\ncontexts:\n- name: other\n  context: {cluster: here, user: me, namespace: mine}\n"
    )
    listed(access(environ={"KUBECONFIG": f"{tmp_path}/none:{first}:{path}"}))
    assert from_kubeconfig([str(first), str(path)]).namespace == "mine"
    assert from_kubeconfig([str(first), str(path)], "test").namespace == "default"
    with pytest.raises(MissError):
        from_kubeconfig([f"{tmp_path}/none", str(path)])


@pytest.mark.parametrize("inline", [True, False])
def test_a_client_certificate_is_shown(server: ApiServer, tmp_path: Path, *, inline: bool) -> None:
    """A certificate in the file, or beside it by a relative path, is who asks."""
    pair = leaf(tmp_path, server.authority, "kubernetes-admin")
    user: dict[str, str] = {"client-certificate": pair.cert.name, "client-key": pair.key.name}
    if inline:
        files = {"client-certificate-data": pair.cert, "client-key-data": pair.key}
        user = {key: base64.b64encode(file.read_bytes()).decode() for key, file in files.items()}
    listed(from_kubeconfig([str(server.kubeconfig(tmp_path, user=user))]))
    assert server.requests[0].user == "kubernetes-admin"


def test_a_token_file_and_a_password_are_shown(server: ApiServer, tmp_path: Path) -> None:
    """Each way to say who asks reaches the server."""
    (tmp_path / "token").write_text(f"{ADMIN}\n")
    listed(from_kubeconfig([str(server.kubeconfig(tmp_path, user={"tokenFile": "token"}))]))
    server.users["me:secret"] = "kubernetes-admin"
    listed(from_kubeconfig([str(server.kubeconfig(tmp_path, user={"username": "me", "password": "secret"}))]))


@pytest.mark.parametrize("version", ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"])
def test_a_plugin_is_asked_once(server: ApiServer, tmp_path: Path, version: str) -> None:
    """What it gave is held until it expires; it is told of the cluster, and its warnings are no answer."""
    status = {"token": ADMIN, "expirationTimestamp": "2126-01-01T00:00:00Z"}
    way = from_kubeconfig([str(server.kubeconfig(tmp_path, user=plugin(tmp_path, status, version=version)))])
    listed(way, 3)
    assert (tmp_path / "runs").read_text() == "run\n"
    assert (tmp_path / "more").read_text() == "given\n"
    told = json.loads((tmp_path / "told").read_text())
    assert told["apiVersion"] == version
    assert told["spec"]["cluster"]["server"] == server.url


def test_a_plugin_may_give_a_certificate(server: ApiServer, tmp_path: Path) -> None:
    """A certificate with its key is shown in the handshake."""
    pair = leaf(tmp_path, server.authority, "kubernetes-admin")
    status = {"clientCertificateData": pair.cert.read_text(), "clientKeyData": pair.key.read_text()}
    listed(from_kubeconfig([str(server.kubeconfig(tmp_path, user=plugin(tmp_path, status)))]))


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo hunter2; exit 3", Reason.COMMAND_FAILED),
        ("echo hunter2", Reason.UNWANTED_ANSWER),
        (None, Reason.NOT_FOUND),
    ],
)
def test_a_plugin_that_fails_is_a_miss_that_tells_no_secret(
    server: ApiServer, tmp_path: Path, script: str | None, reason: Reason
) -> None:
    """Whatever it said may be a secret."""
    user = plugin(tmp_path, {"token": "x"})
    (tmp_path / "plugin").unlink()
    if script:
        (tmp_path / "plugin").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "plugin").chmod(0o755)
    with pytest.raises(MissError) as raised:
        listed(from_kubeconfig([str(server.kubeconfig(tmp_path, user=user))]))
    assert raised.value.outcome.reason is reason
    assert "hunter2" not in raised.value.outcome.detail


def test_an_insecure_cluster_is_asked_for(server: ApiServer, tmp_path: Path) -> None:
    """Only who says so verifies nothing; `tls-server-name` is what is verified."""
    named = {"certificate-authority-data": None, "insecure-skip-tls-verify": True}
    other = {"tls-server-name": "kubernetes.default.svc"}
    listed(from_kubeconfig([str(server.kubeconfig(tmp_path, cluster=other))]))
    with pytest.raises(MissError) as raised:
        listed(from_kubeconfig([str(server.kubeconfig(tmp_path, cluster={"tls-server-name": "elsewhere"}))]))
    assert raised.value.outcome.reason is Reason.TLS_FAILED
    server.other_certificate()
    listed(from_kubeconfig([str(server.kubeconfig(tmp_path, cluster=named))]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no YAML"),
        ("a: 1\n", "has no current-context"),
        ("current-context: x\n", "there is no context 'x'; known are: none"),
        ("- a\n", "is no mapping"),
        ("current-context: x\ncontexts: 3\n", "contexts: is no list"),
    ],
)
def test_a_bad_kubeconfig_has_its_place(tmp_path: Path, text: str, said: str) -> None:
    """Each fault is said with where it is."""
    path = tmp_path / "bad"
    path.write_text(text)
    detail = refusal(str(path))
    assert detail.startswith(str(path))
    assert said in detail


@pytest.mark.parametrize(
    ("user", "said"),
    [
        ({"auth-provider": {"name": "gcp"}}, "auth-provider: is no longer known"),
        ({"exec": {"apiVersion": "v9", "command": "x"}}, "apiVersion: 'v9' is not one of"),
        ({"client-key-data": "%%%"}, "client-key-data: is not base64"),
    ],
)
def test_a_user_that_cannot_be_is_refused(server: ApiServer, tmp_path: Path, user: dict[str, Any], said: str) -> None:
    """What we cannot do is an error, not an anonymous request."""
    assert said in refusal(str(server.kubeconfig(tmp_path, user=user)))


def test_no_record_shows_a_secret(server: ApiServer, tmp_path: Path) -> None:
    """A way may be printed."""
    way = from_kubeconfig([str(server.kubeconfig(tmp_path, user=plugin(tmp_path, {"token": "x"})))])
    assert "given" not in repr(way)
    assert ADMIN not in repr(from_kubeconfig([str(server.kubeconfig(tmp_path))]))
    assert isinstance(in_cluster(server.in_cluster_files(tmp_path / "m"), str(tmp_path / "m")).credential, TokenFile)
