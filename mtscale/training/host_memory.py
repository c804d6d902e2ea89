"""Memory that a step on a CPU has freed stays with the process, and comes in large pages.

The C library gives large blocks back to the system at once and takes them anew, page by page, in each step: for a
gradient of 30,522 x 768 that is 23,000 page faults (docs/performance.md). GPUs have torch's own cache instead.
"""

from __future__ import annotations

import ctypes
import os

# Parameters of mallopt(3), from glibc's malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8
_SETTINGS = {
    M_MMAP_MAX: 0,  # no block is a mapping of its own, which would end with the block
    M_TRIM_THRESHOLD: 2**31 - 1,
    M_TOP_PAD: 2**27,
    M_ARENA_MAX: 1,  # what the thread of the backward pass frees, the forward pass can take
}
# torch reads it once, when it makes the first tensor.
LARGE_PAGES = "THP_MEM_ALLOC_ENABLE"


def keep_freed() -> None:
    """Set the allocators of this process; to be called before its first tensor. A C library that is not glibc stays.

    The process then holds as much as its largest step has needed.
    """
    os.environ.setdefault(LARGE_PAGES, "1")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in _SETTINGS.items():
            mallopt(parameter, value)
