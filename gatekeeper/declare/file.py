"""Plan files: YAML, JSON or TOML, told by the suffix, and YAML on stdin.

Reads no more of a file than a plan can be, does not wait for a named pipe that gives nothing, and says where it is no
plan. Which key holds what is the part of `sections`.
"""

import os
from collections.abc import Mapping
from pathlib import PurePath
from typing import IO

from gatekeeper.declaration import Problem, Source
from gatekeeper.declare.formats import NotReadableError, read_tree
from gatekeeper.declare.reading import read_at_most, within
from gatekeeper.declare.sections import read_sections
from gatekeeper.values import quoted

_SUFFIXES = (".yaml", ".yml", ".json", ".toml")
_LARGEST = 1024 * 1024
_PATIENCE = 3.0
_PATIENCE_WITH_A_PIPELINE = 10.0  # what makes the plan may take its time; silence must not last for ever
_PATIENCE_WITH_A_FILE_SYSTEM = 10.0


class _NoPlanError(Exception):
    """Raised where a file cannot hold a plan; its message is for people."""


def read_plan(
    path: str,
    stdin: IO[bytes] | None,
    problems: list[Problem],
    environ: Mapping[str, str] | None = None,
) -> Source | None:
    """Return what a plan file says, ``-`` being YAML on stdin, or None where nothing of it can be used.

    Every problem is added to the problems. With ``environ``, references in targets and values are replaced.
    """
    place = "stdin" if path == "-" else path if path.isprintable() and path else quoted(path)
    try:
        suffix = ".yaml" if path == "-" else _suffix(path)
        text = _decoded(_of_stdin(stdin) if path == "-" else _of_file_system(path))
        tree = read_tree(text, suffix) if text.strip() else None
        if tree is None:
            message = "is empty: write dependencies: and under it NAME: TARGET"
            raise _NoPlanError(message)
    except _NoPlanError as error:
        problems.append(Problem(place, str(error)))
    except NotReadableError as error:
        problems.append(Problem(f"{place}: {error.where}" if error.where else place, str(error)))
    else:
        return read_sections(tree, place, problems, environ)
    return None


def _suffix(path: str) -> str:
    suffix = PurePath(path).suffix.lower()
    if suffix not in _SUFFIXES:
        known = f"{', '.join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]}"
        message = f"has no suffix of a plan file: name it {known} (- reads YAML from stdin)"
        raise _NoPlanError(message)
    return suffix


def _of_stdin(stdin: IO[bytes] | None) -> bytes:
    if stdin is None:
        message = "is closed: give it a plan, or name a file"
        raise _NoPlanError(message)
    try:
        descriptor = stdin.fileno()
    except OSError:  # a stream in memory
        return stdin.read(_LARGEST + 1)
    try:
        # The descriptor itself, because of a non-blocking one a stream would give a part as if it were the whole.
        return _read(descriptor, _PATIENCE_WITH_A_PIPELINE)
    except OSError as error:
        raise _NoPlanError(_why(error)) from None


def _of_file_system(path: str) -> bytes:
    try:
        return within(_PATIENCE_WITH_A_FILE_SYSTEM, lambda: _of_file(path))
    except TimeoutError:
        message = f"is not answered for within {_PATIENCE_WITH_A_FILE_SYSTEM:g} s: its file system hangs"
        raise _NoPlanError(message) from None


def _of_file(path: str) -> bytes:
    try:
        # Without O_NONBLOCK, opening a FIFO waits for its writer for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except ValueError:
        message = "has a NUL byte in its name"
        raise _NoPlanError(message) from None
    except OSError as error:
        raise _NoPlanError(_why(error)) from None
    try:
        return _read(descriptor, _PATIENCE)
    except OSError as error:
        raise _NoPlanError(_why(error)) from None
    finally:
        os.close(descriptor)


def _read(descriptor: int, patience: float) -> bytes:
    try:
        return read_at_most(_LARGEST + 1, descriptor, patience)
    except TimeoutError:
        message = f"gave no whole plan within {patience:g} s: is it a pipe that nobody writes to?"
        raise _NoPlanError(message) from None


def _decoded(data: bytes) -> str:
    if len(data) > _LARGEST:
        message = "is larger than 1 MiB: a plan is not"
        raise _NoPlanError(message)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"is not UTF-8 (line {line}): save it as UTF-8"
        raise _NoPlanError(message) from None


def _why(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "is not there: check the path"
    if isinstance(error, IsADirectoryError):
        return "is a directory: name a file in it"
    if isinstance(error, PermissionError):
        return "may not be read by this user: change its owner or mode"
    return f"cannot be read: {error.strerror or type(error).__name__}"
