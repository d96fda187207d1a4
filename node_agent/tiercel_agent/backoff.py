"""How long to wait after attempts that failed, and when a destination is taken to be down."""

from __future__ import annotations

import random
from collections.abc import Callable

FIRST = 0.5
"""Seconds after the first failure, at most; each further one doubles them."""
LONGEST = 60.0
LONGEST_ASKED = 86400.0
"""Seconds: what a destination asks for beyond that is a mistake, or malice."""
OPENS_AFTER = 5
"""Failures in a row after which the circuit is open: attempts are then made with one alert."""


class Backoff:
    """Exponential, with full jitter: many agents that lost the same destination don't all come back at once.

    ``longest`` is seconds; ``chance`` gives numbers from 0 to 1.
    """

    def __init__(self, chance: Callable[[], float] = random.random, longest: float = LONGEST) -> None:
        self._chance = chance
        self._longest = longest
        self.failures = 0
        """In a row."""

    @property
    def open(self) -> bool:
        """Whether the destination is taken to be down."""
        return self.failures >= OPENS_AFTER

    def failed(self, retry_after: float | None) -> float:
        """Seconds to wait before the next attempt: not less than what the destination has asked for, up to a day."""
        self.failures += 1
        longest = min(self._longest, FIRST * 2.0 ** min(self.failures - 1, 16))
        return max(longest * self._chance(), min(retry_after or 0.0, LONGEST_ASKED))

    def worked(self) -> None:
        self.failures = 0
