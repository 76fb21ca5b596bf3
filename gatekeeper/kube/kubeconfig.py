"""Kubeconfig files: one context of them as a way to an API server.

The files are merged as kubectl does it: of two entries of one name the first holds, and so does the first
current-context. Secrets that are written into the file are handed on in memory, never in a file of ours.
"""

import json
import os
from base64 import b64decode
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

from gatekeeper.declare.formats import NotReadableError, Pairs, read_tree
from gatekeeper.kube.access import Access, Credential, NoAccessError, Plugin, TokenFile, User
from gatekeeper.kube.memory import in_memory
from gatekeeper.probes._local import contents
from gatekeeper.probes._tls import Trust, server_name
from gatekeeper.probes._url import Url, read_url
from gatekeeper.values import BadValueError, Secret, flag, quoted

_LARGEST = 1024 * 1024
_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_LISTS = {"clusters": "cluster", "users": "user", "contexts": "context"}


class _Entry(NamedTuple):
    """A mapping of a kubeconfig; ``place`` is where it stands, ``folder`` what its relative paths start from."""

    place: str
    folder: str
    values: dict[str, Any]

    def text(self, key: str) -> str:
        value = self.values.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            _refuse(f"{self.place}: {key}", "is no text")
        return value

    def true(self, key: str) -> bool:
        try:
            return flag(self.text(key) or "false")
        except BadValueError as error:
            _refuse(f"{self.place}: {key}", str(error))

    def path(self, key: str) -> str | None:
        path = self.text(key)
        return os.path.join(self.folder, path) if path else None

    def inside(self, key: str) -> "_Entry | None":
        value = self.values.get(key)
        if value is None:
            return None
        return _Entry(f"{self.place}: {key}", self.folder, _mapping(value, f"{self.place}: {key}"))

    def pem(self, name: str) -> str | None:
        """Return the path of what stands in the file itself, or beside it."""
        data = self.text(f"{name}-data")
        return in_memory(_decoded(data, f"{self.place}: {name}-data")) if data else self.path(name)


def from_kubeconfig(paths: Sequence[str], context: str | None = None, *, strict: bool = True) -> Access:
    """Return what a context says, by default the current one; raises `MissError`.

    Of several files, those that do not exist are passed over (as KUBECONFIG has it), and with ``strict`` none is.
    """
    there = [path for path in paths if strict or os.path.exists(path)]
    if not there:
        message = f"no kubeconfig is there: {', '.join(paths)}"
        raise NoAccessError(message)
    merged = _merged([_read(path) for path in there])
    name = context or merged.current
    if not name:
        _refuse(there[0], "has no current-context: name a context")
    chosen = merged.entry("contexts", name, there[0])
    cluster = merged.entry("clusters", chosen.text("cluster"), chosen.place)
    user = merged.entry("users", chosen.text("user"), chosen.place) if chosen.text("user") else None
    trust = Trust(
        ca=cluster.pem("certificate-authority"),
        cert=user.pem("client-certificate") if user else None,
        key=user.pem("client-key") if user else None,
        insecure=cluster.true("insecure-skip-tls-verify"),
    )
    if trust.insecure and trust.ca:
        _refuse(cluster.place, "has certificate-authority and insecure-skip-tls-verify: keep one")
    return Access(
        _server(cluster),
        trust,
        _name(cluster),
        _proxy(cluster),
        chosen.text("namespace") or "default",
        _credential(user, cluster) if user else None,
        f"context {name}",
    )


class _Merged(NamedTuple):
    """The entries of all files by list and name, and the name of the current context."""

    current: str
    entries: dict[tuple[str, str], _Entry]

    def entry(self, of: str, name: str, place: str) -> _Entry:
        found = self.entries.get((of, name))
        if found is None:
            known = ", ".join(sorted(each for kind, each in self.entries if kind == of)) or "none"
            _refuse(place, f"there is no {_LISTS[of]} {quoted(name)}; known are: {known}")
        return found


def _merged(files: Sequence[_Entry]) -> _Merged:
    current = next((said for file in files if (said := file.text("current-context"))), "")
    entries: dict[tuple[str, str], _Entry] = {}
    for file in files:
        for of, one in _LISTS.items():
            listed = file.values.get(of)
            if listed is not None and not isinstance(listed, list):
                _refuse(f"{file.place}: {of}", "is no list")
            for number, item in enumerate(listed or [], 1):
                place = f"{file.place}: {of}[{number}]"
                entry = _Entry(place, file.folder, _mapping(item, place))
                held = entry.inside(one) or _Entry(place, file.folder, {})
                entries.setdefault((of, entry.text("name")), held)
    return _Merged(current, entries)


def _read(path: str) -> _Entry:
    data = contents("kubeconfig", path, _LARGEST + 1)
    if len(data) > _LARGEST:
        _refuse(path, "is larger than 1 MiB: a kubeconfig is not")
    try:
        tree = read_tree(data.decode("utf-8-sig"), ".yaml")
    except UnicodeDecodeError:
        _refuse(path, "is not UTF-8")
    except NotReadableError as error:
        _refuse(f"{path}: {error.where}" if error.where else path, str(error))
    return _Entry(path, os.path.dirname(os.path.abspath(path)), _mapping(tree or Pairs([]), path))


def _mapping(tree: Any, place: str) -> dict[str, Any]:  # noqa: ANN401 - a tree
    if not isinstance(tree, Pairs):
        _refuse(place, "is no mapping")
    values: dict[str, Any] = {}
    for key, value in tree.entries:
        if key in values:
            _refuse(place, f"has the key {quoted(key)} twice: keep one")
        values[key] = value
    return values


def _server(cluster: _Entry) -> Url:
    try:
        return read_url(cluster.text("server"))
    except BadValueError as error:
        _refuse(f"{cluster.place}: server", str(error))


def _name(cluster: _Entry) -> str | None:
    name = cluster.text("tls-server-name")
    try:
        return server_name(name) if name else None
    except BadValueError as error:
        _refuse(f"{cluster.place}: tls-server-name", str(error))


def _proxy(cluster: _Entry) -> Url | None:
    text = cluster.text("proxy-url")
    if not text:
        return None
    try:
        url = read_url(text)
    except BadValueError:
        url = None
    if url is None or url.scheme != "http" or url.path != "/":
        _refuse(f"{cluster.place}: proxy-url", "is no proxy that can be used (its text is not shown): http://HOST:PORT")
    return url


def _credential(user: _Entry, cluster: _Entry) -> Credential:
    """Return what the user shows; of several things, what client-go takes first."""
    if user.values.get("auth-provider") is not None:
        _refuse(f"{user.place}: auth-provider", "is no longer known to Kubernetes (1.26): use exec")
    if path := user.path("tokenFile"):
        return TokenFile(path)
    if token := user.text("token"):
        return Secret(token)
    if plugin := user.inside("exec"):
        return _plugin(plugin, cluster)
    if name := user.text("username"):
        return User(name, Secret(user.text("password")))
    return None


def _plugin(plugin: _Entry, cluster: _Entry) -> Plugin:
    version, command = plugin.text("apiVersion"), plugin.text("command")
    if version not in _VERSIONS:
        _refuse(f"{plugin.place}: apiVersion", f"{quoted(version)} is not one of {', '.join(_VERSIONS)}")
    if not command:
        _refuse(f"{plugin.place}: command", "is missing")
    if plugin.text("interactiveMode") == "Always":
        _refuse(f"{plugin.place}: interactiveMode", "asks for a terminal, and nobody sits here: IfAvailable or Never")
    if os.path.basename(command) != command:
        command = os.path.join(plugin.folder, command)
    arguments = plugin.values.get("args") or []
    if not isinstance(arguments, list) or not all(isinstance(each, str) for each in arguments):
        _refuse(f"{plugin.place}: args", "is no list of texts")
    told = _told(cluster) if plugin.true("provideClusterInfo") else ""
    return Plugin((command, *arguments), _environ(plugin), version, told, plugin.text("installHint"))


def _environ(plugin: _Entry) -> tuple[tuple[str, Secret], ...]:
    listed = plugin.values.get("env") or []
    if not isinstance(listed, list):
        _refuse(f"{plugin.place}: env", "is no list")
    pairs = [_Entry(f"{plugin.place}: env", "", _mapping(each, f"{plugin.place}: env")) for each in listed]
    return tuple((each.text("name"), Secret(each.text("value"))) for each in pairs)


def _told(cluster: _Entry) -> str:
    """Return the cluster as a plugin is told of it (ExecCredential, spec.cluster), all but its extension."""
    texts = {key: cluster.text(key) for key in ("server", "tls-server-name", "proxy-url", "certificate-authority-data")}
    told: dict[str, Any] = {key: text for key, text in texts.items() if text}
    if cluster.true("insecure-skip-tls-verify"):
        told["insecure-skip-tls-verify"] = True
    return json.dumps(told)


def _decoded(data: str, place: str) -> bytes:
    try:
        return b64decode("".join(data.split()), validate=True)
    except ValueError:
        _refuse(place, "is not base64")


def _refuse(place: str, message: str) -> NoReturn:
    said = f"{place}: {message}"
    raise NoAccessError(said) from None
