"""What a kubeconfig says, and that all of it is heeded or refused: proxies, names, files, as whom to act."""

import base64
from pathlib import Path
from typing import Any

import pytest
from kinds.certificates import leaf
from kinds.webservers import answer, answering, serving, tunnel_to
from kube.apiserver import ADMIN, ApiServer, Rule
from kube.asking import PODS, listed, way_of

from gatekeeper.kube.access import NoAccessError, access
from gatekeeper.kube.answers import ApiError
from gatekeeper.kube.kubeconfig import from_kubeconfig
from gatekeeper.model import Reason
from gatekeeper.probes._miss import MissError

ANVIL = "-----BEGIN CERTIFICATE-----\nYW52aWw=\n-----END CERTIFICATE-----\n"


def encoded(data: str | bytes) -> str:
    """Return what stands behind …-data."""
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


def refusal(
    server: ApiServer, folder: Path, user: dict[str, Any] | None = None, cluster: dict[str, Any] | None = None
) -> str:
    """Return what is said of a kubeconfig that cannot be meant."""
    with pytest.raises(NoAccessError) as raised:
        way_of(server, folder, user, cluster)
    return raised.value.outcome.detail


def test_a_proxy_makes_a_tunnel(server: ApiServer, tmp_path: Path) -> None:
    """proxy-url leads through CONNECT; the token is for the server alone, whose certificate is verified as ever."""
    asked: list[bytes] = []
    with serving(tunnel_to(server.port, asked)) as proxy:
        listed(way_of(server, tmp_path, cluster={"proxy-url": f"http://me:pw@127.0.0.1:{proxy.port}"}))
        server.other_certificate()
        with pytest.raises(MissError) as raised:
            listed(way_of(server, tmp_path, cluster={"proxy-url": f"http://127.0.0.1:{proxy.port}"}))
    assert raised.value.outcome.reason is Reason.TLS_FAILED
    assert asked[0].startswith(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n" % server.port)
    assert b"Proxy-Authorization: Basic bWU6cHc=" in asked[0]
    assert ADMIN.encode() not in b"".join(asked)


def test_a_proxy_that_refuses_is_named(server: ApiServer, tmp_path: Path) -> None:
    """What the proxy says is not taken for the server's word."""
    with serving(answering(answer(407))) as proxy, pytest.raises(MissError) as raised:
        listed(way_of(server, tmp_path, cluster={"proxy-url": f"http://127.0.0.1:{proxy.port}"}))
    assert raised.value.outcome.reason is Reason.FORBIDDEN
    assert "the proxy says status 407" in raised.value.outcome.detail
    assert server.requests == []


@pytest.mark.parametrize("text", ["socks5://127.0.0.1:1080", "https://proxy:3128", "http://me:hunter2@p/x", "p:1"])
def test_another_proxy_is_refused(server: ApiServer, tmp_path: Path, text: str) -> None:
    """A proxy that we cannot speak to is an error, and its password is nobody's."""
    said = refusal(server, tmp_path, cluster={"proxy-url": text})
    assert "clusters[1]: cluster: proxy-url: is no proxy that can be used" in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("cluster", "user", "said"),
    [
        ({"certificate-authority-data": "%"}, None, "certificate-authority-data: is not base64"),
        ({"certificate-authority-data": encoded("rubbish")}, None, "certificate-authority-data: cannot be read"),
        ({"certificate-authority-data": encoded(ANVIL)}, None, "certificate-authority-data: cannot be read"),
        ({"insecure-skip-tls-verify": True}, None, "has certificate-authority and insecure-skip-tls-verify: keep one"),
        ({"insecure-skip-tls-verify": "perhaps"}, None, "insecure-skip-tls-verify: "),
        ({"tls-server-name": "a b"}, None, "tls-server-name: "),
        ({"server": "ftp://x"}, None, "server: "),
        (
            {},
            {"client-certificate-data": encoded(ANVIL), "client-key-data": encoded("x")},
            "users[1]: user: client-certificate-data: cannot be read",
        ),
        ({}, {"client-certificate": "me.crt"}, "has one of client-certificate and client-key"),
        ({}, {"token": ["x"]}, "token: is no text"),
        ({}, {"as-groups": ["a"]}, "as-groups: means nothing without as: name the user to act as"),
        ({}, {"as": "me", "as-groups": "a"}, "as-groups: is no list of texts"),
        ({}, {"as": "me\n"}, "as: has characters that no header can hold"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(
    server: ApiServer, tmp_path: Path, cluster: dict[str, Any], user: dict[str, Any] | None, said: str
) -> None:
    """Nothing is left out in silence, and no path in memory stands for a place in the file."""
    detail = refusal(server, tmp_path, user, cluster)
    assert said in detail
    assert detail.startswith(f"{tmp_path}/kubeconfig: ")
    assert "/proc/" not in detail


def test_a_pair_that_does_not_belong_together_is_said(server: ApiServer, tmp_path: Path) -> None:
    """A key of another certificate is found before anybody is asked."""
    one, other = (leaf(tmp_path, server.authority, name) for name in ("one", "other"))
    user = {
        "client-certificate-data": encoded(one.cert.read_bytes()),
        "client-key-data": encoded(other.key.read_bytes()),
    }
    assert "do not belong together" in refusal(server, tmp_path, user)


def test_every_file_has_a_folder_of_its_own(server: ApiServer, tmp_path: Path) -> None:
    """A relative path is one beside the file that says it, whichever file that is."""
    (tmp_path / "clusters").mkdir()
    (tmp_path / "users").mkdir()
    (tmp_path / "clusters" / "ca.crt").write_bytes(server.authority.cert.read_bytes())
    (tmp_path / "users" / "token").write_text(ADMIN)
    (tmp_path / "clusters" / "config").write_text(
        f"clusters: [{{name: here, cluster: {{server: '{server.url}', certificate-authority: ca.crt}}}}]\n"
        "contexts: [{name: one, context: {cluster: here, user: me}}]\n"
    )
    (tmp_path / "users" / "config").write_text(
        "current-context: one\nusers: [{name: me, user: {tokenFile: token}}]\nclusters: [{name: here}]\n"
    )
    listed(access(environ={"KUBECONFIG": f"{tmp_path}/clusters/config:{tmp_path}/users/config"}))
    with pytest.raises(NoAccessError) as raised:
        access(environ={"KUBECONFIG": f"{tmp_path}/clusters/config"})
    assert "has no current-context: name a context" in raised.value.outcome.detail


def test_who_acts_as_another_is_taken_for_him(server: ApiServer, tmp_path: Path) -> None:
    """`as` and what belongs to it reach the server, which asks whether that is allowed."""
    server.allow("me", Rule(("impersonate",), ("",), ("users", "groups")), token="mine")
    server.allow("jane", Rule(("list",), ("",), ("pods",), "default"))
    user = {
        "token": "mine",
        "as": "jane",
        "as-uid": "u-1",
        "as-groups": ["developers", "admins"],
        "as-user-extra": {"acme.com/project": ["one", "two"]},
    }
    listed(way_of(server, tmp_path, user))
    fields = server.asked("", PODS)[0].fields
    assert (fields["impersonate-user"], fields["impersonate-uid"]) == ("jane", "u-1")
    assert fields["impersonate-group"] == "developers, admins"
    assert fields["impersonate-extra-acme.com%2fproject"] == "one, two"
    server.allow("me", token="mine")
    with pytest.raises(ApiError) as raised:
        listed(way_of(server, tmp_path, user))
    assert 'User "me" cannot impersonate resource "users"' in raised.value.message
    assert raised.value.outcome.reason is Reason.FORBIDDEN


def test_two_who_act_as_different_users_share_nothing(server: ApiServer, tmp_path: Path) -> None:
    """As whom one acts is part of the way: a watch of one is none of the other's."""
    ways = [way_of(server, tmp_path, {"token": ADMIN, **more}) for more in ({}, {"as": "jane"}, {"as": "joe"})]
    assert len(set(ways)) == 3


def test_a_name_of_its_own_is_verified(server: ApiServer, tmp_path: Path) -> None:
    """Where the address is not what the certificate is for, tls-server-name says what is."""
    path = server.kubeconfig(tmp_path, cluster={"tls-server-name": "kubernetes.default.svc"})
    listed(from_kubeconfig([str(path)]))
