"""How many events may wait to be evaluated, in bytes: nobody takes any while the programs of new rules are made."""

from __future__ import annotations

from collections import Counter

MOST = 64 << 20
"""Bytes. It takes as many again where many control groups have little."""
_OVERHEAD = 1024
"""Bytes of an event beside those of its record."""


class EventRoom:
    """Where there is no room for all, each control group has an equal part, so that nobody's flood takes the room of
    others' events."""

    def __init__(self, most: int = MOST) -> None:
        self.refused = 0
        """Events so far for which there was no room."""
        self._most = most
        self._total = 0
        self._of_cgroup: Counter[int] = Counter()

    def takes(self, cgroup: int, record: int) -> bool:
        """Whether there is room for an event of a control group, whose record has so many bytes."""
        size = record + _OVERHEAD
        taken = self._of_cgroup[cgroup] + size
        total = self._total + size
        if total > 2 * self._most or (total > self._most and taken > self._most // len(self._of_cgroup)):
            self.refused += 1
            return False
        self._of_cgroup[cgroup] = taken
        self._total = total
        return True

    def clear(self) -> None:
        """All events were taken."""
        self._of_cgroup.clear()
        self._total = 0
