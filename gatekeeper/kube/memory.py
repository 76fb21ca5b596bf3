"""Bytes with a path and without a file: OpenSSL reads keys from paths only, and no key comes to lie on a disk."""

import os
import threading
from functools import lru_cache

_one_at_a_time = threading.Lock()  # two that ask at once would be given two paths


def in_memory(data: bytes) -> str:
    """Return a path that holds these bytes for as long as this process lives (memfd_create(2)); raises OSError."""
    with _one_at_a_time:
        return _path_of(data)


@lru_cache(maxsize=64)  # the same bytes have the same path, so that equal ways to a server stay equal
def _path_of(data: bytes) -> str:
    descriptor = os.memfd_create("gatekeeper", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(data)
    return f"/proc/self/fd/{descriptor}"
