"""The files that are told: the ready file, the termination message, the report. Decides nothing of what they say.

A regular file is written whole: a reader sees the old one or the new one, never a half. Nothing waits longer than it is
told for whoever reads a pipe. What is not a regular file is never replaced by one.
"""

import errno
import os
import select
import stat
import time
from contextlib import suppress

from gatekeeper.verdict import Verdict

PATIENCE = 1.0  # seconds that whoever reads a pipe may take, where nothing else is said
_LONGEST_MESSAGE = 1024
_MOST_LINKS = 40  # as the kernel has it
# The folder may not be written, or the file is a mount point of its own (docker run -v FILE:FILE, subPath).
_NOT_REPLACEABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY)
_WRITE = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def check_writable(path: str) -> str | None:
    """Return what would keep ``path`` from being written, or None. Touches nothing."""
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    try:
        mode = _mode(path)
        if _own_descriptor(path) is not None:
            return None
        os.stat(folder)
    except FileNotFoundError:
        return f"{path}: there is no folder {folder}"
    except OSError as error:
        return f"{path}: {error.strerror}"
    if not os.path.basename(path) or (mode is not None and stat.S_ISDIR(mode)):
        return f"{path}: names a folder, not a file"
    replaceable = mode is None or stat.S_ISREG(mode)
    if os.access(target, os.W_OK) or (replaceable and os.access(folder, os.W_OK | os.X_OK)):
        return None
    return f"{path}: user {os.geteuid()} may not write there"


def check_removable(path: str) -> str | None:
    """Return what would keep `remove` from taking ``path`` down, or None. Touches nothing."""
    mode = _mode(path)
    if mode is None or stat.S_ISFIFO(mode) or (stat.S_ISREG(mode) and _own_descriptor(path) is None):
        return None
    return f"{path}: is not a regular file, which could be removed at the start"


def remove(path: str) -> None:
    """Remove a regular file that an earlier run left; absent is as good, and a FIFO keeps nothing. Raises OSError."""
    mode = _mode(path)
    if mode is None or stat.S_ISFIFO(mode):
        return
    if check_removable(path):
        raise OSError(errno.EINVAL, "is not a regular file", path)
    os.unlink(os.path.realpath(path))


def write_whole(path: str, text: str, patience: float = PATIENCE) -> None:
    """Write text to ``path``, whole or not at all; raises OSError with the path.

    Whoever reads a pipe may take ``patience`` seconds.

    Symbolic links are followed. A FIFO, a device and a descriptor of ours (``/dev/stdout``) are written to directly,
    and so is a file that cannot be replaced: it is mounted by itself, or its folder may not be written. Nothing is
    forced to the disk (fsync): it is read while the machine runs, and a slow disk would hold the start.
    """
    data = text.encode("utf-8", "replace")
    try:
        mode = _mode(path)
        if _own_descriptor(path) is not None or (mode is not None and not stat.S_ISREG(mode)):
            return _write_in_place(path, data, patience)
        try:
            _replace(os.path.realpath(path), data, patience)
        except OSError as error:
            if mode is None or error.errno not in _NOT_REPLACEABLE:
                raise
            _write_in_place(path, data, patience)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error
    return None


def write_report(path: str, verdict: Verdict, patience: float = PATIENCE) -> None:
    """Write the report, one JSON object in UTF-8, whole; raises OSError with the path."""
    import json  # noqa: PLC0415 - most runs write no report

    write_whole(path, json.dumps(verdict.as_dict(), ensure_ascii=False, indent=2) + "\n", patience)


def write_termination_message(path: str, text: str, patience: float = PATIENCE) -> str | None:
    """Write why it ended, most important first, cut at 1024 bytes; return what went wrong, or None.

    The kubelet mounts the file into the container and reads that very file's end: it is written in place, from its
    beginning, and holds one message only.
    """
    data = text.encode("utf-8", "replace")
    if len(data) > _LONGEST_MESSAGE:
        data = (data[: _LONGEST_MESSAGE - len("…".encode())].decode("utf-8", "ignore") + "…").encode()
    try:
        _write_in_place(path, data, patience)
    except OSError as error:
        return f"{path}: {error.strerror}"
    return None


def _mode(path: str) -> int | None:
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None


def _own_descriptor(path: str) -> int | None:
    """Return the descriptor that a path such as ``/dev/stdout`` or ``/proc/self/fd/3`` leads to.

    Opened by its path, a file that we share with the command would be written from its beginning, or be replaced.
    """
    for _ in range(_MOST_LINKS):
        if not os.path.islink(path):
            break
        folder, name = os.path.split(path)
        if os.path.realpath(folder) == f"/proc/{os.getpid()}/fd":
            return int(name)
        path = os.path.join(folder, os.readlink(path))
    return None


def _replace(target: str, data: bytes, patience: float) -> None:
    temporary = os.path.join(os.path.dirname(target), f".gatekeeper-{os.urandom(6).hex()}")
    descriptor = os.open(temporary, _WRITE | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        _write_and_close(descriptor, data, patience)
        os.rename(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _write_in_place(path: str, data: bytes, patience: float) -> None:
    number = _own_descriptor(path)
    if number is not None:
        return _pour(number, data, patience)
    # O_CREAT on what is there already is refused in folders such as /tmp (fs.protected_regular, fs.protected_fifos).
    create = 0 if os.path.exists(path) else os.O_CREAT
    return _write_and_close(os.open(path, _WRITE | os.O_TRUNC | create, 0o666), data, patience)


def _write_and_close(descriptor: int, data: bytes, patience: float) -> None:
    try:
        _pour(descriptor, data, patience)
    finally:
        os.close(descriptor)


def _pour(descriptor: int, data: bytes, patience: float) -> None:
    """Write all of it as far as there comes room. PIPE_BUF bytes do not block where poll(2) has found room."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    end = time.monotonic() + patience
    while data:
        if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
            raise TimeoutError(errno.ETIMEDOUT, "nobody reads what is written")
        data = data[os.write(descriptor, data[: select.PIPE_BUF]) :]
