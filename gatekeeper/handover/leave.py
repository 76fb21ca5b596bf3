"""Leave the process, at once: no thread is waited for, because one may hang in getaddrinfo for as long as it likes."""

import os
import sys
from contextlib import suppress
from threading import Thread
from typing import NoReturn

_PATIENCE = 0.1


def leave(status: int) -> NoReturn:
    """Exit with ``status`` (0 to 255), after `flush`."""
    try:
        flush()
    finally:
        os._exit(status)


def flush() -> None:
    """Write out what stdout and stderr still hold, waiting at most a tenth of a second; never raises.

    For what is left over when it ends. A command that prints a report flushes it itself, and waits: a pager may take
    its time, but a stuck one must not hold a signal or the deadline.
    """
    # Only another thread can be left alone with a write that blocks, or with a lock that a blocked thread holds.
    writer = Thread(target=_flush_streams, daemon=True)
    with suppress(RuntimeError, MemoryError):  # no threads left: what is buffered goes, as the process does
        writer.start()
        writer.join(_PATIENCE)


def _flush_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # full, hung up; closed; never open (None)
            stream.flush()
