"""How much CPU time the matching of tenants' sinks may take: tenants write the patterns, and can raise alerts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

OF_ALL = 0.25
"""The part of the time that passes which all namespaces together may use."""
BURST = 1.0
"""Seconds of CPU time that a namespace may use at once if it hasn't used its part before."""


class CpuBudget:
    """The budget of one namespace: it grows by the part ``share`` of the time that passes."""

    def __init__(self, now: float, used: Callable[[], float] = time.thread_time) -> None:
        self.share = 0.0
        self._left = BURST
        self._at = now
        self._used = used

    @property
    def spent(self) -> bool:
        return self._left <= 0.0

    def grow(self, now: float) -> None:
        """Adds what has been earned until ``now``, in monotonic seconds."""
        self._left = min(BURST, self._left + self.share * (now - self._at))
        self._at = now

    @contextmanager
    def spending(self) -> Iterator[None]:
        begun = self._used()
        try:
            yield
        finally:
            self._left -= self._used() - begun
