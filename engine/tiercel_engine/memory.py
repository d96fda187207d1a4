"""The memory of long-running processes: given back when it was needed for a short time only, and not looked at again
and again when it stays. Without glibc nothing of this happens, which costs memory alone."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of malloc.h
_LARGE = 128 << 10  # bytes


def give_back_memory() -> None:
    """Returns freed memory to the system, which the C library would keep."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def keep_out_of_collections() -> None:
    """Everything that there is now stays, such as rules and what is made of them: Python looks for garbage among what
    comes later. To be called again when it is replaced; what is no garbage by then costs one collection.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def keep_large_pieces_apart() -> None:
    """Has the C library return each large piece of memory as soon as it is freed.

    Otherwise it keeps ever larger ones among the small ones that stay, once it has freed one.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE)
