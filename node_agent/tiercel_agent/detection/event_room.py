"""How many events may wait to be evaluated, in bytes: nobody takes any while the programs of new rules are made."""

from __future__ import annotations

from collections import Counter, defaultdict

MOST = 64 << 20
"""Bytes. It takes as many again where many control groups or processes have little."""
_OVERHEAD = 1024
"""Bytes of an event beside those of its record."""


class EventRoom:
    """Where there is no room for all, each control group has an equal part, and of its part each of its processes, so
    that nobody's flood takes the room of others' events."""

    def __init__(self, most: int = MOST) -> None:
        self.refused = 0
        """Events so far for which there was no room."""
        self._most = most
        self._total = 0
        self._of_cgroup: Counter[int] = Counter()
        self._of_process: defaultdict[int, Counter[int]] = defaultdict(Counter)

    def takes(self, cgroup: int, pid: int, record: int) -> bool:
        """Whether there is room for an event of a process in a control group, whose record has so many bytes."""
        size = record + _OVERHEAD
        processes = self._of_process[cgroup]
        of_cgroup, of_process = self._of_cgroup[cgroup] + size, processes[pid] + size
        total = self._total + size
        if total > self._most:
            part = self._most // max(1, len(self._of_cgroup))
            if total > 2 * self._most or (of_cgroup > part and of_process > part // max(1, len(processes))):
                self.refused += 1
                return False
        self._of_cgroup[cgroup], processes[pid] = of_cgroup, of_process
        self._total = total
        return True

    def clear(self) -> None:
        """All events were taken."""
        if self._total:
            self._of_cgroup.clear()
            self._of_process.clear()
            self._total = 0
