"""Waiting for what other threads and processes do."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest


def eventually(happened: Callable[[], bool]) -> None:
    """Waits for another thread or process, as long as it takes; the limit is for a broken one."""
    for _ in range(3000):
        if happened():
            return
        time.sleep(0.01)
    pytest.fail("it never happened")
