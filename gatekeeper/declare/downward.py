"""The fields of the pod that we run in: from variables, a downward API volume, the service account, the API server.

Loaded for a reference to a field or a volume alone. Reads each source once, and changes nothing. A source that does not
know a field leaves it to the next.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from gatekeeper.declaration import Given, Problem
from gatekeeper.declare.podinfo import Files, read_files, read_map, shown
from gatekeeper.declare.substitute import PODINFO
from gatekeeper.values import quoted

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"  # with the file namespace (Kubernetes, Service Accounts)
_KEYED = re.compile(r"metadata\.(labels|annotations)\[(?:'([^'\"\]]+)'|\"([^'\"\]]+)\"|([^'\"\]]+))\]")
_MAPS = ("labels", "annotations")


class _Field(NamedTuple):
    """What may tell a field: variables, the first of which is proposed, and files of a volume."""

    variables: tuple[str, ...]
    files: tuple[str, ...] = ()


def _resource(kind: str, resource: str, short: str) -> _Field:
    name, one = resource.upper().replace("-", "_"), kind.removesuffix("s")
    return _Field(
        (f"{name}_{one.upper()}", f"{kind.upper()}_{name}", f"MY_{short.upper()}_{one.upper()}"),
        (f"{kind}.{resource}", f"{short}_{one}"),
    )


# The names that the Kubernetes documentation and its users give them, and the path itself with _ in it.
FIELDS: dict[str, _Field] = {
    "metadata.name": _Field(("POD_NAME", "MY_POD_NAME", "METADATA_NAME"), ("name", "metadata.name")),
    "metadata.namespace": _Field(
        ("POD_NAMESPACE", "MY_POD_NAMESPACE", "METADATA_NAMESPACE"), ("namespace", "metadata.namespace")
    ),
    "metadata.uid": _Field(("POD_UID", "MY_POD_UID", "METADATA_UID"), ("uid", "metadata.uid")),
    "spec.nodeName": _Field(("NODE_NAME", "MY_NODE_NAME", "SPEC_NODE_NAME")),
    "spec.serviceAccountName": _Field(
        ("SERVICE_ACCOUNT", "POD_SERVICE_ACCOUNT", "MY_POD_SERVICE_ACCOUNT", "SPEC_SERVICE_ACCOUNT_NAME")
    ),
    "status.hostIP": _Field(("HOST_IP", "MY_HOST_IP", "STATUS_HOST_IP")),
    "status.hostIPs": _Field(("HOST_IPS", "MY_HOST_IPS", "STATUS_HOST_IPS")),
    "status.podIP": _Field(("POD_IP", "MY_POD_IP", "STATUS_POD_IP")),
    "status.podIPs": _Field(("POD_IPS", "MY_POD_IPS", "STATUS_POD_IPS")),
    **{
        f"{kind}.{resource}": _resource(kind, resource, short)
        for kind in ("limits", "requests")
        for resource, short in (("cpu", "cpu"), ("memory", "mem"), ("ephemeral-storage", "storage"))
    },
}

Api = Callable[[], Mapping[str, Any] | str]  # the pod as the API server has it, or why it is not told


class NoFieldError(Exception):
    """Raised where no source tells a field; its message is for people."""


class UnreadableError(NoFieldError):
    """Raised where a source should tell the field and cannot be used, which no fallback may hide."""


class Pod:
    """The pod around us, as far as it is told."""

    def __init__(
        self, variables: Mapping[str, str], named: Given | None, api: Api | None = None, account: str = ACCOUNT
    ) -> None:
        """Take the environment, what names the volume, what gives the pod as the API server has it, and an account."""
        self._account = account
        self._variables = variables
        self._named = named
        self._folder = named.values[-1] if named else PODINFO
        self._api = api
        self._seen: Mapping[str, Any] | str | None = None
        self._read: tuple[Files, list[Problem]] | None = None

    def field(self, path: str) -> str:
        """Return a field by its path (Kubernetes, Downward API), without ``$.``; raises `NoFieldError`."""
        if keyed := _KEYED.fullmatch(path):
            return self._of_map(keyed[1], keyed[2] or keyed[3] or keyed[4])
        told = of_variables(path, self._variables)
        if told is None:
            told = self._of_files(FIELDS[path].files)
        if told is None and path == "metadata.namespace":
            told = _of_service_account(self._account)
        if told is None:
            told = self._of_api(path)
        if told is None:
            raise NoFieldError(self._how(path))
        return told

    def annotations(self, problems: list[Problem]) -> list[tuple[str, str]]:
        """Return the annotations of the volume; what is wrong with it is added to the problems."""
        files, found = self._files()
        problems += found
        place = shown(self._folder, "annotations")
        if "annotations" in files.faults:
            problems.append(Problem(place, files.faults["annotations"]))
        return read_map(files.texts.get("annotations", ""), place, problems)

    def _files(self) -> tuple[Files, list[Problem]]:
        if self._read is None:
            problems: list[Problem] = []
            names = (*_MAPS, *(name for field in FIELDS.values() for name in field.files))
            files = Files({}, {})
            try:
                files = read_files(self._folder, names)
            except (OSError, ValueError) as error:
                if self._named or not isinstance(error, FileNotFoundError):
                    problems.append(Problem(*self._fault(error)))
            self._read = files, problems
        return self._read

    def _fault(self, error: Exception) -> tuple[str, str]:
        folder = shown(self._folder, "").rstrip("/") or "/"
        place = self._named.place if self._named else folder
        what = f"{folder} " if self._named else ""
        if isinstance(error, FileNotFoundError):
            return place, f"{what}is not there: mount a downward API volume in its place"
        if isinstance(error, NotADirectoryError):
            return place, f"{what}is no folder: name the one that the downward API volume is mounted at"
        return place, f"{what}cannot be read: {getattr(error, 'strerror', None) or error}"

    def _of_files(self, names: tuple[str, ...]) -> str | None:
        files, _ = self._files() if names else (Files({}, {}), [])
        for name in names:
            if name in files.faults:
                message = f"{shown(self._folder, name)} {files.faults[name]}"
                raise UnreadableError(message)
            if text := files.texts.get(name, "").strip():
                return text
        return None

    def _of_map(self, which: str, key: str) -> str:
        files, _ = self._files()
        if which in files.texts or which in files.faults:
            place, problems = shown(self._folder, which), list[Problem]()
            pairs: Mapping[str, Any] | None = dict(read_map(files.texts.get(which, ""), place, problems))
            if which in files.faults or problems:
                raise UnreadableError(f"{place} {files.faults[which]}" if which in files.faults else str(problems[0]))
            if pairs and key in pairs:
                return str(pairs[key])
        else:
            pairs = (self._object().get("metadata") or {}).get(which)
            if pairs is None and not self._object():
                raise NoFieldError(self._how(f"metadata.{which}"))
            if pairs and key in pairs:
                return str(pairs[key])
        message = f"the pod has no {which.removesuffix('s')} {quoted(key)}; add it, or write a :-fallback"
        raise NoFieldError(message)

    def _of_api(self, path: str) -> str | None:
        group, _, name = path.partition(".")
        value = (self._object().get(group) or {}).get(name) if group in ("metadata", "spec", "status") else None
        if isinstance(value, list):  # status.podIPs and status.hostIPs: with commas, as the kubelet writes them
            return ",".join(each["ip"] for each in value if each.get("ip")) or None
        return str(value) if value else None

    def _object(self) -> Mapping[str, Any]:
        if self._seen is None:
            self._seen = self._api() if self._api else ""
        return {} if isinstance(self._seen, str) else self._seen

    def _how(self, path: str) -> str:
        """Return how a manifest makes a field known, and why the API server did not tell it."""
        why = f"; {self._seen}" if isinstance(self._seen, str) and self._seen else ""
        return _how(path, self._folder) + why


def of_variables(path: str, variables: Mapping[str, str]) -> str | None:
    """Return a field as a variable tells it; an empty one is as good as none."""
    return next((variables[name] for name in FIELDS[path].variables if variables.get(name)), None)


def outside(path: str, variables: Mapping[str, str]) -> str:
    """Return a field where the files around us are not those of the pod; raises `NoFieldError`."""
    told = None if _KEYED.fullmatch(path) else of_variables(path, variables)
    if told is None:
        known = "" if _KEYED.fullmatch(path) else f" ({', '.join(FIELDS[path].variables)})"
        message = f"for a hook only variables tell fields of the pod{known}: pass it in one, or write a :-fallback"
        raise NoFieldError(message)
    return told


def known(path: str) -> bool:
    """Tell whether a path names a field that the downward API has."""
    return path in FIELDS or bool(_KEYED.fullmatch(path))


def _of_service_account(folder: str) -> str | None:
    try:
        return read_files(folder, ("namespace",)).texts.get("namespace", "").strip() or None
    except OSError:
        return None


def _how(path: str, folder: str) -> str:
    """Return how a manifest makes a field known."""
    if path not in FIELDS:
        item = f"{{path: {path.partition('.')[2]}, fieldRef: {{fieldPath: {path}}}}}"
        where = shown(folder, "").rstrip("/")
        return f"no source tells it; mount a downward API volume at {where} with items: [{item}]"
    of = (
        "{resourceFieldRef: {resource: %s}}"
        if path.startswith(("limits", "requests"))
        else "{fieldRef: {fieldPath: %s}}"
    )
    return (
        f"no source tells it; add to the container env: [{{name: {FIELDS[path].variables[0]}, valueFrom: {of % path}}}]"
    )
