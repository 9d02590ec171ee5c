"""Where large tensors lie that come and go with every step of a training."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

# Parameters of glibc's mallopt(3), and what they are unless somebody sets them.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
TRIM_THRESHOLD, MMAP_MAX = 128 * 1024, 65536


@contextmanager
def kept_memory() -> Iterator[None]:
    """What is freed stays with the program until the end, where the C library is glibc.

    It would give each large tensor back to the system at once, and have as much again cleared, page by page, for the
    next one: half of the time in which a network of nine states learns.
    """
    try:
        library = ctypes.CDLL(None)
        mallopt, trim = library.mallopt, library.malloc_trim
    except (AttributeError, OSError, TypeError):
        yield
        return
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        mallopt(M_MMAP_MAX, MMAP_MAX)
        mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD)
        trim(0)
