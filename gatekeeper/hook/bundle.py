"""A container's bundle (runtime-spec, config.md): what it will see, and how long a runtime lets a hook take.

Looks at what is there and changes nothing.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from gatekeeper.declaration import BadDeclarationError, Problem

_CONFIG = "config.json"
_LARGEST = 16 * 1024 * 1024
_MOST_LINKS = 40  # as the kernel has it
_NOTHING = os.devnull  # what a file that is not there says: nothing


class Mount(NamedTuple):
    """A mount of a container; ``source`` is None where it shows no folder or file of the host."""

    destination: str
    source: str | None


class Hook(NamedTuple):
    """An entry of a hook; ``timeout`` is in seconds, None for no limit."""

    stage: str
    path: str
    args: tuple[str, ...]
    timeout: float | None


class Bundle(NamedTuple):
    """What counts for a hook: the root folder, the mounts, the environment of the process, the hooks."""

    root: str
    mounts: tuple[Mount, ...]
    environ: Mapping[str, str]
    hooks: tuple[Hook, ...]

    def source_of(self, path: str) -> str:
        """Return the file of the host that the container will see at ``path``; one that says nothing if there is none.

        Later mounts lie over earlier ones. Links in a folder are followed within it, as the container would.
        """
        for mount in reversed(self.mounts):
            if path == mount.destination or path.startswith(mount.destination.rstrip("/") + "/"):
                below = path[len(mount.destination) :].lstrip("/")
                return _there(_within(mount.source, below) if below and mount.source else mount.source)
        return _there(_within(self.root, path))

    def limit(self, stages: Iterable[str], argv: Sequence[str]) -> float | None:
        """Return the shortest timeout in seconds that our own entry has in one of the stages, None where none is known.

        ``argv`` is the interpreter and what the process was started as: our entry is the one that starts just that.
        """
        limits = [hook.timeout for hook in self.hooks if hook.stage in stages and _starts(hook, argv)]
        return min((limit for limit in limits if limit is not None), default=None)


def read_bundle(folder: str) -> Bundle:
    """Return the bundle in a folder; raises `BadDeclarationError` where it cannot be read."""
    path = os.path.join(folder, _CONFIG)
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise ValueError
        return _bundle(folder, json.loads(data))
    except OSError as error:
        why = f"cannot be read, and says what the container will see: {error.strerror}"
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        why = "is no configuration of a container"
    raise BadDeclarationError([Problem(path, why)])


def _bundle(folder: str, config: Any) -> Bundle:  # noqa: ANN401 - whatever JSON can hold
    mounts = [_mount(folder, each) for each in config.get("mounts") or ()]
    pairs = [each.partition("=") for each in (config.get("process") or {}).get("env") or ()]
    stages = (config.get("hooks") or {}).items()
    hooks = [_hook(stage, each) for stage, entries in stages for each in entries or ()]
    environ = {name: value for name, equals, value in pairs if equals}
    return Bundle(os.path.join(folder, config["root"]["path"]), tuple(mounts), environ, tuple(hooks))


def _mount(folder: str, entry: Any) -> Mount:  # noqa: ANN401 - whatever JSON can hold
    shows = entry.get("type") == "bind" or {"bind", "rbind"} & set(entry.get("options") or ())
    destination = os.path.normpath(os.path.join("/", entry["destination"]))  # relative ones are as from the root
    return Mount(destination, os.path.join(folder, entry["source"]) if shows else None)


def _hook(stage: str, entry: Any) -> Hook:  # noqa: ANN401 - whatever JSON can hold
    timeout = entry.get("timeout")
    return Hook(stage, entry["path"], tuple(entry.get("args") or ()), None if timeout is None else float(timeout))


def _there(path: str | None) -> str:
    return path if path and os.path.isfile(path) else _NOTHING


def _within(root: str, path: str) -> str | None:
    """Return where a path of the container leads to, or None where its links go in a circle."""
    left, here, links = path.split("/")[::-1], "", 0
    while left:
        part = left.pop()
        if part in ("", "."):
            continue
        if part == "..":
            here = here.rpartition("/")[0]
            continue
        try:
            target = os.readlink(f"{root}{here}/{part}")
        except OSError:
            here += f"/{part}"
            continue
        links += 1
        if links > _MOST_LINKS:
            return None
        here = "" if target.startswith("/") else here
        left += target.split("/")[::-1]
    return root + here


def _starts(hook: Hook, argv: Sequence[str]) -> bool:
    """Tell whether an entry starts the process of these arguments; a script's follow those of its interpreter."""
    words = list(hook.args[1:])
    before = list(argv[: len(argv) - len(words)])
    return bool(before) and list(argv[len(before) :]) == words and os.path.realpath(hook.path) in map(_real, before)


def _real(word: str) -> str:
    return os.path.realpath(word) if "/" in word else word
