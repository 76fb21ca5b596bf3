"""Bytes from a descriptor, bounded in size and in time: a pipe may have a writer that never writes."""

import os
import select
import time


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
