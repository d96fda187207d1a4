"""Waiting for the programs that run at this moment."""

from __future__ import annotations

import platform
import time
from ctypes import CDLL, c_long

_MEMBARRIER = {"x86_64": 324, "aarch64": 283}
_GLOBAL = 1  # MEMBARRIER_CMD_GLOBAL
_USUALLY = 0.01
"""Seconds in which a program ends, unless its processor is taken away."""


def wait_for_running_programs() -> None:
    """Returns when all programs have ended that ran at the time of the call.

    They run where the kernel doesn't switch tasks, and membarrier() waits until each processor has. A kernel that has
    processors without a clock tick refuses that.
    """
    number = _MEMBARRIER.get(platform.machine())
    if number is None or CDLL(None).syscall(c_long(number), _GLOBAL, 0, 0) != 0:
        time.sleep(_USUALLY)
