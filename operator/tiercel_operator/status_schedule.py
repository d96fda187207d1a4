"""Statuses that are to be written, and when: what is new at once, numbers that grow now and then."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any

from tiercel_engine.rule import Origin

COUNTERS_EVERY = 30.0
"""Seconds between two writes of a status in which only counters have grown."""


@dataclass(frozen=True, slots=True)
class StatusWrite:
    origin: Origin
    status: Mapping[str, Any]
    before: Mapping[str, Any]


class StatusSchedule:
    """Remembers when the status of each object was written. ``clock`` is monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._written: dict[Origin, float] = {}

    def is_due(self, origin: Origin, news: tuple[bool, bool]) -> bool:
        """``news`` is whether the status says something new at all, and whether that is more than numbers that grow."""
        new, more_than_counters = news
        passed = self._clock() - self._written.get(origin, float("-inf"))
        return new and (more_than_counters or passed >= COUNTERS_EVERY)

    def written(self, origin: Origin) -> None:
        """A status was."""
        self._written[origin] = self._clock()

    def keep(self, there: Container[Origin]) -> None:
        """Forgets objects that are gone."""
        self._written = {origin: at for origin, at in self._written.items() if origin in there}
