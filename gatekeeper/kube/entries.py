"""Kubeconfig files as they are written: read, merged, and every entry with its place. Knows no server.

The files are merged as kubectl does it: of two entries of one name the first holds, and so does the first
current-context.
"""

import os
from base64 import b64decode
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

from gatekeeper.declare.formats import NotReadableError, Pairs, read_tree
from gatekeeper.kube.access import NoAccessError
from gatekeeper.kube.memory import in_memory
from gatekeeper.probes._local import contents
from gatekeeper.values import BadValueError, flag, quoted

_LARGEST = 1024 * 1024
_LISTS = {"clusters": "cluster", "users": "user", "contexts": "context"}


class Entry(NamedTuple):
    """A mapping of a kubeconfig; ``place`` is where it stands, ``folder`` what its relative paths start from.

    Each of these raises `NoAccessError` for what is not of its kind.
    """

    place: str
    folder: str
    values: dict[str, Any]

    def text(self, key: str) -> str:
        """Return a text, empty where there is none."""
        value = self.values.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            refuse(f"{self.place}: {key}", "is no text")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts, empty where there is none."""
        value = self.values.get(key) or []
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            refuse(f"{self.place}: {key}", "is no list of texts")
        return tuple(value)

    def true(self, key: str) -> bool:
        """Tell whether something is said to be so."""
        try:
            return flag(self.text(key) or "false")
        except BadValueError as error:
            refuse(f"{self.place}: {key}", str(error))

    def path(self, key: str) -> str | None:
        """Return a path; a relative one starts from the folder of its file."""
        path = self.text(key)
        return os.path.join(self.folder, path) if path else None

    def inside(self, key: str) -> "Entry | None":
        """Return the mapping of a key."""
        value = self.values.get(key)
        if value is None:
            return None
        return Entry(f"{self.place}: {key}", self.folder, _mapping(value, f"{self.place}: {key}"))

    def each(self, key: str) -> list["Entry"]:
        """Return the mappings of a list, none where there is no list; they are counted from 1."""
        listed = self.values.get(key)
        if listed is not None and not isinstance(listed, list):
            refuse(f"{self.place}: {key}", "is no list")
        places = [(f"{self.place}: {key}[{number}]", item) for number, item in enumerate(listed or [], 1)]
        return [Entry(place, self.folder, _mapping(item, place)) for place, item in places]

    def pem(self, name: str) -> str | None:
        """Return the path of what stands in the file itself (``…-data``), or beside it."""
        data = self.text(f"{name}-data")
        return in_memory(_decoded(data, f"{self.place}: {name}-data")) if data else self.path(name)


class Merged(NamedTuple):
    """The entries of all files by list and name, and the name of the current context."""

    current: str
    entries: dict[tuple[str, str], Entry]

    def entry(self, of: str, name: str, place: str) -> Entry:
        """Return the entry of a list; raises `NoAccessError`, at the place that names it."""
        found = self.entries.get((of, name))
        if found is None:
            known = ", ".join(sorted(each for kind, each in self.entries if kind == of)) or "none"
            refuse(place, f"there is no {_LISTS[of]} {quoted(name)}; known are: {known}")
        return found


def merged(paths: Sequence[str]) -> Merged:
    """Read files and return what they amount to; raises `MissError`."""
    files = [_read(path) for path in paths]
    current = next((said for file in files if (said := file.text("current-context"))), "")
    entries: dict[tuple[str, str], Entry] = {}
    for file in files:
        for of, one in _LISTS.items():
            for entry in file.each(of):
                entries.setdefault((of, entry.text("name")), entry.inside(one) or entry._replace(values={}))
    return Merged(current, entries)


def _read(path: str) -> Entry:
    data = contents("kubeconfig", path, _LARGEST + 1)
    if len(data) > _LARGEST:
        refuse(path, "is larger than 1 MiB: a kubeconfig is not")
    try:
        tree = read_tree(data.decode("utf-8-sig"), ".yaml")
    except UnicodeDecodeError:
        refuse(path, "is not UTF-8")
    except NotReadableError as error:
        refuse(f"{path}: {error.where}" if error.where else path, str(error))
    return Entry(path, os.path.dirname(os.path.abspath(path)), _mapping(tree or Pairs([]), path))


def _mapping(tree: Any, place: str) -> dict[str, Any]:  # noqa: ANN401 - a tree
    if not isinstance(tree, Pairs):
        refuse(place, "is no mapping")
    values: dict[str, Any] = {}
    for key, value in tree.entries:
        if key in values:
            refuse(place, f"has the key {quoted(key)} twice: keep one")
        values[key] = value
    return values


def _decoded(data: str, place: str) -> bytes:
    try:
        return b64decode("".join(data.split()), validate=True)
    except ValueError:
        refuse(place, "is not base64")


def refuse(place: str, message: str) -> NoReturn:
    """Raise `NoAccessError`: what stands there cannot be meant."""
    said = f"{place}: {message}"
    raise NoAccessError(said) from None
