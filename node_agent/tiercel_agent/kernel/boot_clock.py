"""Wall-clock times of moments that the kernel gives in nanoseconds since boot.

Both clocks are adjusted alike, so their difference stays the same until somebody sets the wall clock. Only then is the
new difference used: a measurement that was interrupted would otherwise change the order of events.
"""

from __future__ import annotations

import time
from collections.abc import Callable

_MEASURE_INTERVAL = 1_000_000_000  # ns
_READINGS = 5
_SMALLEST_STEP = 1_000_000
"""Nanoseconds: nobody sets a clock by less."""


def _nanoseconds_since_boot() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class BootClock:
    """``since_boot`` and ``wall`` are the two clocks, in nanoseconds; the second counts from the Unix epoch."""

    def __init__(
        self, since_boot: Callable[[], int] = _nanoseconds_since_boot, wall: Callable[[], int] = time.time_ns
    ) -> None:
        self._since_boot = since_boot
        self._wall = wall
        self._measured = 0
        self._epoch: int | None = None

    def wall_time(self, moment: int) -> int:
        """The time of a moment, which is in nanoseconds since boot, in nanoseconds since the Unix epoch."""
        if self._epoch is None or moment - self._measured > _MEASURE_INTERVAL:
            self._epoch = self._measure(self._epoch)
        return moment + self._epoch

    def _measure(self, known: int | None) -> int:
        """The wall-clock time of boot, by the fastest of some readings; ``known`` if it differs too little from
        that."""
        took, epoch = min(self._reading() for _ in range(_READINGS))
        self._measured = self._since_boot()
        if known is not None and abs(epoch - known) <= took + _SMALLEST_STEP:
            return known
        return epoch

    def _reading(self) -> tuple[int, int]:
        before = self._since_boot()
        wall = self._wall()
        after = self._since_boot()
        return after - before, wall - (before + after) // 2
