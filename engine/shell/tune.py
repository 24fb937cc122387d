"""Process-wide settings of memory that make serving cheaper. Called once, after everything loaded.

glibc gives the top of the heap back to the kernel and faults it in again at each read; a service
that will need it again is better off keeping it. The garbage collector need not look at what was
loaded at start, and not every 700 new objects.
"""

from __future__ import annotations

import ctypes
import gc

# glibc malloc.h: M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, in bytes
HEAP = {-1: 268_435_456, -2: 16_777_216, -3: 67_108_864}
COLLECT_EVERY = 50_000  # allocations


def tune() -> bool:
    """Set both; False where the C library has no `mallopt` that takes the values."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY)
    return _keep_heap()


def _keep_heap() -> bool:
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # macOS, musl, Windows
        return False
    taken = [mallopt(what, size) for what, size in HEAP.items()]
    return all(taken)
