"""Bytes with a path and without a file: OpenSSL reads keys from paths only, and no key comes to lie on a disk."""

import os
from functools import lru_cache


@lru_cache(maxsize=64)  # the same bytes have the same path, so that equal ways to a server stay equal
def in_memory(data: bytes) -> str:
    """Return a path that holds these bytes for as long as this process lives (memfd_create(2)); raises OSError."""
    descriptor = os.memfd_create("gatekeeper", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(data)
    return f"/proc/self/fd/{descriptor}"
