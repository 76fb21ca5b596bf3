"""A downward API volume: all of its files at one moment, and the maps in them. Knows no field and no option.

The kubelet writes a new folder and lets the link ``..data`` point to it (AtomicWriter), so that whoever opens the files
one after the other by their paths may see two moments. The old folder is removed behind our back.
"""

import os
import stat
import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from gatekeeper.declaration import Problem
from gatekeeper.declare.goquote import BadQuoteError, unquote
from gatekeeper.declare.reading import read_at_most
from gatekeeper.values import quoted

_LARGEST = 2 * 1024 * 1024  # Kubernetes keeps annotations within 256 KiB, and a byte is quoted as four at most
_PATIENCE = 3.0  # seconds
_PAUSE = 0.001  # seconds


class Files(NamedTuple):
    """What the files of one moment hold, by name; those that cannot be used are told of by their faults."""

    texts: Mapping[str, str]
    faults: Mapping[str, str]


def read_files(folder: str, names: Iterable[str]) -> Files:
    """Return those of the files that are there, all of the same moment; raises OSError without the folder.

    Raises TimeoutError where the folder is replaced again and again for some seconds.
    """
    wanted, start = tuple(names), time.monotonic()
    while time.monotonic() - start < _PATIENCE:
        try:
            descriptor, linked = _opened(folder)
        except FileNotFoundError:
            if os.path.isdir(folder):  # the link has led to a folder that was removed meanwhile
                time.sleep(_PAUSE)
                continue
            raise
        try:
            files = _read_all(descriptor, wanted)
            if not linked or _is_current(folder, descriptor):
                return files
        finally:
            os.close(descriptor)
    message = "is replaced faster than it can be read"
    raise TimeoutError(message)


def read_map(text: str, place: str, problems: list[Problem]) -> list[tuple[str, str]]:
    """Return the pairs of a file of labels or annotations: ``key="value"`` a line, the value as Go quotes it.

    A line that is none is added to the problems, which show no value.
    """
    pairs: list[tuple[str, str]] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        written = line.removesuffix("\r")
        if not written:
            continue
        here = f"{place} line {number}"
        key, equals, value = written.partition("=")
        if not equals or not key or '"' in key:
            problems.append(Problem(here, 'is no KEY="VALUE", as the kubelet writes them'))
        elif key in seen:
            problems.append(Problem(here, f"says again what line {seen[key]} says: the kubelet writes each key once"))
        else:
            seen[key] = number
            try:
                pairs.append((key, unquote(value)))
            except BadQuoteError as error:
                problems.append(Problem(here, str(error)))
    return pairs


def shown(folder: str, name: str) -> str:
    """Return the path of a file as it may be shown."""
    path = os.path.join(folder, name)
    return path if path.isprintable() else quoted(path)


def _opened(folder: str) -> tuple[int, bool]:
    """Return the folder that holds the files of this moment, and whether another may take its place."""
    try:
        return os.open(os.path.join(folder, "..data"), os.O_RDONLY | os.O_DIRECTORY), True
    except FileNotFoundError:
        if os.path.lexists(os.path.join(folder, "..data")):
            raise
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY), False


def _is_current(folder: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(os.path.join(folder, "..data")), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _read_all(folder: int, names: tuple[str, ...]) -> Files:
    texts, faults = {}, {}
    for name in names:
        try:
            texts[name] = _read(folder, name)
        except FileNotFoundError:
            continue
        except OSError as error:
            faults[name] = f"cannot be read: {error.strerror or type(error).__name__}"
        except ValueError as error:
            faults[name] = str(error)
    return Files(texts, faults)


def _read(folder: int, name: str) -> str:
    # Without O_NONBLOCK, opening a FIFO waits for its writer for ever.
    descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            message = "is no regular file, as the kubelet writes them"
            raise ValueError(message)
        data = read_at_most(_LARGEST + 1, descriptor, _PATIENCE)
    finally:
        os.close(descriptor)
    if len(data) > _LARGEST:
        message = "is larger than 2 MiB: nothing of a pod is"
        raise ValueError(message)
    if b"\0" in data:
        message = "holds a NUL byte: the kubelet writes text"
        raise ValueError(message)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"is not UTF-8 (line {line})"
        raise ValueError(message) from None
