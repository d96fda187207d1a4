"""How much time tenants' sinks may take to choose: patterns are theirs, and so may be what raises the alerts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

OF_ALL = 0.25
"""Of the time that passes, for all namespaces together."""
BURST = 1.0
"""Seconds that a namespace which hasn't used its part may use at once."""


class CpuBudget:
    """Of one namespace: ``share`` of the time that passes."""

    def __init__(self, now: float, used: Callable[[], float] = time.thread_time) -> None:
        self.share = 0.0
        self._left = BURST
        self._at = now
        self._used = used

    @property
    def spent(self) -> bool:
        return self._left <= 0.0

    def grow(self, now: float) -> None:
        """``now`` is monotonic seconds."""
        self._left = min(BURST, self._left + self.share * (now - self._at))
        self._at = now

    @contextmanager
    def spending(self) -> Iterator[None]:
        begun = self._used()
        try:
            yield
        finally:
            self._left -= self._used() - begun
