"""One context of kubeconfig files as a way to an API server, with all that client-go makes of it.

What we cannot do is refused, never left out: a request would go as somebody else. Secrets that are written into the
file are handed on in memory, never in a file of ours.
"""

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from gatekeeper.kube.access import Access, Credential, NoAccessError, Plugin, TokenFile, User
from gatekeeper.kube.entries import Entry, merged, refuse
from gatekeeper.probes._miss import MissError
from gatekeeper.probes._tls import Trust, context_of, server_name
from gatekeeper.probes._url import Url, read_url
from gatekeeper.values import BadValueError, Secret, quoted

_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_NAMES = "!#$&'*+-.^_`|~"  # besides letters and digits, what the name of a header field may hold (RFC 9110, 5.6.2)


def from_kubeconfig(paths: Sequence[str], context: str | None = None, *, strict: bool = True) -> Access:
    """Return what a context says, by default the current one; raises `MissError`.

    Of several files, those that do not exist are passed over (as KUBECONFIG has it), and with ``strict`` none is.
    """
    there = [path for path in paths if strict or os.path.exists(path)]
    if not there:
        message = f"no kubeconfig is there: {', '.join(paths)}"
        raise NoAccessError(message)
    whole = merged(there)
    name = context or whole.current
    if not name:
        refuse(there[0], "has no current-context: name a context")
    chosen = whole.entry("contexts", name, there[0])
    cluster = whole.entry("clusters", chosen.text("cluster"), chosen.place)
    user = whole.entry("users", chosen.text("user"), chosen.place) if chosen.text("user") else None
    return Access(
        _server(cluster),
        _trust(cluster, user),
        _name(cluster),
        _proxy(cluster),
        chosen.text("namespace") or "default",
        _credential(user, cluster) if user else None,
        f"context {name}",
        tuple(_impersonated(user)) if user else (),
    )


def _trust(cluster: Entry, user: Entry | None) -> Trust:
    trust = Trust(
        ca=cluster.pem("certificate-authority"),
        cert=user.pem("client-certificate") if user else None,
        key=user.pem("client-key") if user else None,
        insecure=cluster.true("insecure-skip-tls-verify"),
    )
    if trust.insecure and trust.ca:
        refuse(cluster.place, "has certificate-authority and insecure-skip-tls-verify: keep one")
    if user and bool(trust.cert) != bool(trust.key):
        refuse(user.place, "has one of client-certificate and client-key: a certificate is shown with its key")
    # Where it stands in the file itself: the path in memory would tell nobody where a bad one comes from.
    inline = {}
    if cluster.text("certificate-authority-data"):
        inline[trust.ca] = f"{cluster.place}: certificate-authority-data"
    if user and user.text("client-certificate-data"):
        inline[trust.cert] = f"{user.place}: client-certificate-data"
    try:
        if inline:
            context_of(trust)
    except MissError as miss:
        for path, place in inline.items():
            if f" {path} (" in miss.outcome.detail:
                refuse(place, miss.outcome.detail.partition(f" {path} (")[2].removesuffix(")"))
        raise
    return trust


def _server(cluster: Entry) -> Url:
    try:
        return read_url(cluster.text("server"))
    except BadValueError as error:
        refuse(f"{cluster.place}: server", str(error))


def _name(cluster: Entry) -> str | None:
    name = cluster.text("tls-server-name")
    try:
        return server_name(name) if name else None
    except BadValueError as error:
        refuse(f"{cluster.place}: tls-server-name", str(error))


def _proxy(cluster: Entry) -> Url | None:
    text = cluster.text("proxy-url")
    if not text:
        return None
    try:
        url = read_url(text)
    except BadValueError:
        url = None
    if url is None or url.scheme != "http" or url.path != "/":
        refuse(f"{cluster.place}: proxy-url", "is no proxy that can be used (its text is not shown): http://HOST:PORT")
    return url


def _credential(user: Entry, cluster: Entry) -> Credential:
    """Return what the user shows; of several things, what client-go takes first."""
    if user.values.get("auth-provider") is not None:
        refuse(f"{user.place}: auth-provider", "is no longer known to Kubernetes (1.26): use exec")
    if path := user.path("tokenFile"):
        return TokenFile(path)
    if token := user.text("token"):
        return Secret(token)
    if plugin := user.inside("exec"):
        return _plugin(plugin, cluster)
    if name := user.text("username"):
        return User(name, Secret(user.text("password")))
    return None


def _impersonated(user: Entry) -> Iterator[tuple[bytes, bytes]]:
    """Yield the header fields that say as whom to act (authentication, "User impersonation")."""
    name, extra = user.text("as"), user.inside("as-user-extra")
    fields = [("Impersonate-Uid", "as-uid", user.text("as-uid"))] if user.text("as-uid") else []
    fields += [("Impersonate-Group", "as-groups", group) for group in user.texts("as-groups")]
    for key in extra.values if extra else ():
        # Its name is that of a header field, whose bytes are few; the server undoes this.
        field = f"Impersonate-Extra-{quote(key, safe=_NAMES)}"
        fields += [(field, "as-user-extra", value) for value in extra.texts(key)] if extra else []
    if not name and fields:
        refuse(f"{user.place}: {fields[0][1]}", "means nothing without as: name the user to act as")
    for field, key, value in [("Impersonate-User", "as", name), *fields] if name else []:
        if not value.isprintable():
            refuse(f"{user.place}: {key}", "has characters that no header can hold")
        yield field.encode(), value.encode()


def _plugin(plugin: Entry, cluster: Entry) -> Plugin:
    version, command = plugin.text("apiVersion"), plugin.text("command")
    if version not in _VERSIONS:
        refuse(f"{plugin.place}: apiVersion", f"{quoted(version)} is not one of {', '.join(_VERSIONS)}")
    if not command:
        refuse(f"{plugin.place}: command", "is missing")
    if plugin.text("interactiveMode") == "Always":
        refuse(f"{plugin.place}: interactiveMode", "asks for a terminal, and nobody sits here: IfAvailable or Never")
    if os.path.basename(command) != command:
        command = os.path.join(plugin.folder, command)
    told = _told(cluster) if plugin.true("provideClusterInfo") else ""
    environ = tuple((each.text("name"), Secret(each.text("value"))) for each in plugin.each("env"))
    return Plugin((command, *plugin.texts("args")), environ, version, told, plugin.text("installHint"))


def _told(cluster: Entry) -> str:
    """Return the cluster as a plugin is told of it (ExecCredential, spec.cluster), all but its extension."""
    texts = {key: cluster.text(key) for key in ("server", "tls-server-name", "proxy-url", "certificate-authority-data")}
    told: dict[str, Any] = {key: text for key, text in texts.items() if text}
    if cluster.true("insecure-skip-tls-verify"):
        told["insecure-skip-tls-verify"] = True
    return json.dumps(told)
