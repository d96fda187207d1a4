"""Giving memory back that was needed only for a short time, and not looking again and again at what stays."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress


def give_back_memory() -> None:
    """Returns freed memory to the system, which the C library would keep. Without glibc nothing happens."""
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
