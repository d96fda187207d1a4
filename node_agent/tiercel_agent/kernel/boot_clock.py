"""Wall-clock time of moments that the kernel tells in nanoseconds since boot.

Both clocks are steered alike, so that their difference stays the same until somebody sets the wall clock. It is taken
over only then: a reading that was interrupted would otherwise move events against each other that are in order.
"""

from __future__ import annotations

import time
from collections.abc import Callable

_LOOK_EVERY = 1_000_000_000  # ns
_READINGS = 5
_A_STEP = 1_000_000
"""Nanoseconds: by less nobody sets a clock."""


def _nanoseconds_since_boot() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class BootClock:
    """``since_boot`` and ``wall`` are the two clocks, in nanoseconds; the second counts from the Unix epoch."""

    def __init__(
        self, since_boot: Callable[[], int] = _nanoseconds_since_boot, wall: Callable[[], int] = time.time_ns
    ) -> None:
        self._since_boot = since_boot
        self._wall = wall
        self._looked = 0
        self._epoch: int | None = None

    def wall_time(self, moment: int) -> int:
        """Of a moment since boot, in nanoseconds since the Unix epoch."""
        if self._epoch is None or moment - self._looked > _LOOK_EVERY:
            self._epoch = self._look(self._epoch)
        return moment + self._epoch

    def _look(self, known: int | None) -> int:
        """The wall-clock time of boot, by the reading that took least time."""
        took, epoch = min(self._reading() for _ in range(_READINGS))
        self._looked = self._since_boot()
        if known is not None and abs(epoch - known) <= took + _A_STEP:
            return known
        return epoch

    def _reading(self) -> tuple[int, int]:
        before = self._since_boot()
        wall = self._wall()
        after = self._since_boot()
        return after - before, wall - (before + after) // 2
