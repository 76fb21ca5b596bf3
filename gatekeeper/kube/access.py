"""How to reach an API server: as a pod of its cluster, or as a kubeconfig says. Makes no connection.

Follows client-go (rest.InClusterConfig, clientcmd): who names a kubeconfig means it; a pod has what the kubelet mounts;
a person has ~/.kube/config.
"""

import os
from collections.abc import Mapping
from typing import NamedTuple

from gatekeeper.kube.own import MOUNTED
from gatekeeper.model import Outcome, Reason, failed
from gatekeeper.probes._local import contents
from gatekeeper.probes._miss import MissError
from gatekeeper.probes._stream import Fields
from gatekeeper.probes._tls import Trust
from gatekeeper.probes._url import Url, read_url
from gatekeeper.values import BadValueError, Secret

_MOST_NAME = 253  # characters of a namespace: less, in fact


class TokenFile(NamedTuple):
    """The file of a bearer token, which is replaced while we run."""

    path: str


class User(NamedTuple):
    """A name and a password (RFC 7617)."""

    name: str
    password: Secret


class Plugin(NamedTuple):
    """A command that gives credentials (client.authentication.k8s.io, ExecCredential).

    ``cluster`` is what it is told of the cluster, as JSON, empty for nothing.
    """

    argv: tuple[str, ...]
    environ: tuple[tuple[str, Secret], ...]
    version: str
    cluster: str = ""
    hint: str = ""


Credential = Secret | TokenFile | User | Plugin | None


class Access(NamedTuple):
    """A way to an API server; equal ways lead to the same one as the same user, so that they can share a watch."""

    url: Url
    trust: Trust = Trust()
    server_name: str | None = None
    proxy: Url | None = None
    namespace: str = "default"
    credential: Credential = None
    where: str = ""
    impersonated: Fields = ()  # header fields that name as whom to act


class NoAccessError(MissError):
    """Raised where there is no way to an API server; its outcome says why and what would be right."""

    def __init__(self, message: str, outcome: Outcome | None = None) -> None:
        """Take one line for people; without an outcome, nothing but another declaration can help."""
        super().__init__(outcome or failed(Reason.NOT_FOUND, message))


def access(
    kubeconfig: str | None = None,
    context: str | None = None,
    environ: Mapping[str, str] | None = None,
    mounted: str = MOUNTED,
) -> Access:
    """Return the way to the API server; raises `MissError`, of which `NoAccessError` says that none is declared.

    A kubeconfig or context that is given holds, then KUBECONFIG, then the pod's own account, then ~/.kube/config.
    """
    from gatekeeper.kube.kubeconfig import from_kubeconfig  # noqa: PLC0415 - loads a YAML parser, which a pod never needs

    environ = os.environ if environ is None else environ
    home = os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".kube", "config")
    named = kubeconfig or environ.get("KUBECONFIG", "")
    paths = [path for path in named.split(os.pathsep) if path]
    if paths:
        return from_kubeconfig(paths, context, strict=bool(kubeconfig))
    if context:
        return from_kubeconfig([home], context)
    if environ.get("KUBERNETES_SERVICE_HOST"):
        return in_cluster(environ, mounted)
    if os.path.exists(home):
        return from_kubeconfig([home], None)
    message = (
        "no Kubernetes API: this is no pod of a cluster (KUBERNETES_SERVICE_HOST is not set), "
        f"and there is no kubeconfig at {home}; name one by KUBECONFIG"
    )
    raise NoAccessError(message)


def in_cluster(environ: Mapping[str, str] | None = None, mounted: str = MOUNTED) -> Access:
    """Return the way of a pod to its own cluster, with its service account; raises `MissError`."""
    environ = os.environ if environ is None else environ
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT") or "443"
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        url = read_url(f"https://{place}/")
    except BadValueError as error:
        message = f"KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT name no API server: {error}"
        raise NoAccessError(message) from None
    token = os.path.join(mounted, "token")
    if not os.path.exists(token):
        message = (
            f"no service account token is mounted at {mounted} (automountServiceAccountToken: false?): let the pod "
            "have one, name a kubeconfig, or wait by a kind that needs no API (dns, tcp, http)"
        )
        raise NoAccessError(message)
    ca = os.path.join(mounted, "ca.crt")
    trust = Trust(ca=ca if os.path.exists(ca) else None)
    return Access(url, trust, namespace=_namespace(mounted), credential=TokenFile(token), where="the pod's account")


def _namespace(mounted: str) -> str:
    path = os.path.join(mounted, "namespace")
    if not os.path.exists(path):
        return "default"
    return contents("namespace", path, _MOST_NAME).decode("ascii", "replace").strip() or "default"
