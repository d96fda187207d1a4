"""Waiting for what a cluster does in its own time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

DEADLINE = 60.0
"""Seconds until a test gives up. Nothing is ever waited out."""
_PAUSE = 0.02

_T = TypeVar("_T")


def until(done: Callable[[], _T], what: str) -> _T:
    """Calls ``done`` until it returns something true, and returns that. Fails the test at the deadline, which says that
    there is no ``what``."""
    end = time.monotonic() + DEADLINE
    while not (result := done()):
        assert time.monotonic() < end, f"no {what}"
        time.sleep(_PAUSE)
    return result
