"""Files of this machine that an attempt needs: read at each attempt, because mounted secrets come late and change.

A file that is missing or unreadable is an outcome of the attempt and says nothing about the other side.
"""

import os
import re
import stat
from typing import BinaryIO

from gatekeeper.model import Outcome, Reason, waiting
from gatekeeper.probes._miss import MissError
from gatekeeper.values import BadValueError

Stamp = tuple[int, int, int]


def file_path(text: str) -> str:
    """Return the path of a file that an option names; raises `BadValueError`."""
    try:
        raw = os.fsencode(text)
    except UnicodeEncodeError:
        raw = b""
    if not raw or re.search(rb"[\x00-\x1f\x7f]", raw):
        message = "is empty, or has a character that no path can hold"
        raise BadValueError(message)
    return text


def contents(what: str, path: str, most: int = -1) -> bytes:
    """Return the bytes of a regular file, or the first ``most`` of them; ``what`` names the option that wants it.

    Raises `MissError`.
    """
    try:
        # A FIFO would hold the whole process until somebody writes to it.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            return _regular(what, path, file).read(most)
    except OSError as error:
        raise MissError(missing(what, path, error)) from None


def stamp_of(what: str, path: str) -> Stamp:
    """Return what changes when a file or folder is replaced; raises `MissError`."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise MissError(missing(what, path, error)) from None
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise MissError(waiting(Reason.NOT_FOUND, f"{what} {path} (not a regular file)"))
    return found.st_mtime_ns, found.st_size, found.st_ino


def missing(what: str, path: str, error: OSError) -> Outcome:
    """Return what an error over a file of ours means for the attempt."""
    if isinstance(error, PermissionError):
        return waiting(Reason.FORBIDDEN, f"{what} {path} ({error.strerror})")
    if isinstance(error, FileNotFoundError):
        return waiting(Reason.NOT_FOUND, f"{what} {path}")
    return waiting(Reason.NOT_FOUND, f"{what} {path} ({error.strerror})")


def _regular(what: str, path: str, file: BinaryIO) -> BinaryIO:
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        raise MissError(waiting(Reason.NOT_FOUND, f"{what} {path} (not a regular file)"))
    return file
