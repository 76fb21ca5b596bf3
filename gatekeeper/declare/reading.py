"""Bytes from a descriptor or a file system, bounded in size and in time: a pipe may have a writer that never writes."""

import os
import select
import signal
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def within(patience: float, work: Callable[[], T]) -> T:
    """Return what ``work`` returns, or raise what it raises; raises TimeoutError after so many seconds.

    A file system that hangs (NFS, FUSE) holds whoever opens a file there without an end, deaf to SIGTERM. The work has
    a daemon thread of its own, which is then left to itself.
    """
    results: list[T] = []
    errors: list[Exception] = []

    def run() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are the main thread's
        try:
            results.append(work())
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to who asked for the work
            errors.append(error)

    thread = threading.Thread(target=run, name="reading", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no thread left: then it must do without
        return work()
    thread.join(patience)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError
    return results[0]


def read_at_most(size: int, descriptor: int, patience: float) -> bytes:
    """Return all that comes before the end, or its first ``size`` bytes.

    Raises TimeoutError where the end has not come within ``patience`` seconds, OSError where it cannot be read.
    """
    data, start = b"", time.monotonic()
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while len(data) < size:
        left = max(0.0, start + patience - time.monotonic()) * 1000
        if not poll.poll(left):
            raise TimeoutError
        chunk = os.read(descriptor, size - len(data))
        if not chunk:
            break
        data += chunk
    return data
