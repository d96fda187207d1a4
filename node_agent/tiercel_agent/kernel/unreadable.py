"""Records that could not be read: they are lost, and only they."""

from __future__ import annotations

import logging

from tiercel_engine.located import located

LOGGER = logging.getLogger(__name__)


class UnreadableRecords:
    """Counts them, and logs each different error once, by its type and place."""

    def __init__(self) -> None:
        self.count = 0
        self._logged: set[str] = set()

    def note(self, error: Exception) -> None:
        self.count += 1
        if (place := located(error)) not in self._logged:
            self._logged.add(place)
            LOGGER.error("a record of the kernel could not be read: %s", place)
