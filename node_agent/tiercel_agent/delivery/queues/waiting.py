"""How the one reader of a queue waits for items."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod

_LONGEST = 1e9  # seconds; locks wait for no longer


class Waiting(ABC):
    """``_changed`` guards the whole queue; its notification wakes the reader."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._woken = self._closed = False

    @property
    @abstractmethod
    def count(self) -> int:
        """How many items wait."""

    @property
    def closed(self) -> bool:
        """Whether nothing more can be read, whatever ``count`` is."""
        return self._closed

    def wait(self, timeout: float | None, gather: float, most: int) -> bool:
        """Whether there is something to read. Waits for it for at most ``timeout`` seconds, None for ever.

        Once there is, it waits ``gather`` seconds more unless there are ``most``. ``wake`` and ``close`` end both.
        """
        with self._changed:
            longest = None if timeout is None else min(timeout, _LONGEST)
            self._changed.wait_for(lambda: self._is_interrupted or self.count, longest)
            if gather > 0.0 and self.count and not self._is_interrupted:
                self._changed.wait_for(lambda: self._is_interrupted or self.count >= most, min(gather, _LONGEST))
            self._woken = False
            return not self._closed and self.count > 0

    def wake(self) -> None:
        """Ends the ``wait`` of the reader, or its next one if it doesn't wait now."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    @property
    def _is_interrupted(self) -> bool:
        return self._woken or self._closed
