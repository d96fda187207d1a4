"""When statuses are written: at once if they say something new, now and then if only counters have grown."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any

from tiercel_engine.rule import Origin

COUNTERS_EVERY = 30.0
"""Seconds that pass at least between two writes of a status in which only counters have grown."""


@dataclass(frozen=True, slots=True)
class StatusWrite:
    """A status to write, and the one that it replaces, as JSON."""

    origin: Origin
    status: Mapping[str, Any]
    before: Mapping[str, Any]


class StatusSchedule:
    """Remembers when the status of each object was written. ``clock`` is monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._written: dict[Origin, float] = {}

    def is_due(self, origin: Origin, news: tuple[bool, bool]) -> bool:
        """Whether the status of an object is to be written now. ``news`` is whether it differs from the stored one, and
        whether it does in more than its counters."""
        differs, more_than_counters = news
        passed = self._clock() - self._written.get(origin, float("-inf"))
        return differs and (more_than_counters or passed >= COUNTERS_EVERY)

    def written(self, origin: Origin) -> None:
        """Notes that the status of an object was written just now."""
        self._written[origin] = self._clock()

    def keep(self, there: Container[Origin]) -> None:
        """Forgets objects that are gone."""
        self._written = {origin: at for origin, at in self._written.items() if origin in there}
