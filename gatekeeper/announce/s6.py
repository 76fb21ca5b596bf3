"""Readiness as s6 has it: a newline on a descriptor that the supervisor gave us. Never fatal, never waits."""

import os
import select


def newline_on(descriptor: int) -> str | None:
    """Write a newline to ``descriptor`` and close it; return what went wrong, or None.

    It is closed in any case, so that it does not reach the command (s6, "service startup notifications").
    """
    try:
        try:
            problem = None if _has_room(descriptor) else "nobody reads it"
            if problem is None:
                os.write(descriptor, b"\n")
        finally:
            os.close(descriptor)
    except OSError as error:
        problem = error.strerror
    return problem and f"descriptor {descriptor}: {problem}"


def _has_room(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(0))
