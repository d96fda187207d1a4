"""Records of calls and execs that were read from the kernel, and of which no event was made yet.

Rules take longer to evaluate than records to read. So all are read at once, and then control groups take turns, and in
each of them its sessions: what one of them does a hundred thousand times doesn't make others' alerts late.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from struct import Struct

from tiercel_agent.detection.watch import Watch
from tiercel_agent.events.images import Image

ENOUGH = 2 << 20
"""Bytes of records that wait. While there are more, further calls stay in the kernel a moment longer."""
MOST = 10 << 20
"""Bytes of records, so many that the whole ring of calls can be read. Who has most loses what is more than that."""
_AT_ONCE = 32
"""Part of the limit that is made free at a time, so that finding who has most costs little for each record."""
_WHOSE = Struct("=8xQ56xQ48xI")  # struct header of bpf/records.h: time, cgroup, sid

Read = tuple[Watch, bytes, Image | None]
"""A record, the watch that it was read from, and the image that the process has got, if it is of an exec."""


@dataclass(slots=True)
class _Group:
    """A control group: its sessions in the order of their turns, each with the times and records that wait."""

    size: int = 0
    sessions: dict[int, deque[tuple[int, Read]]] = field(default_factory=dict)

    def take(self) -> Read:
        """The oldest record of the session whose turn it is."""
        session = next(iter(self.sessions))
        waiting = self.sessions.pop(session)
        _, read = waiting.popleft()
        if waiting:
            self.sessions[session] = waiting
        self.size -= len(read[1])
        return read


class CallQueue:
    """Each session's records keep their order."""

    def __init__(self, enough: int = ENOUGH, most: int = MOST) -> None:
        self.size = 0
        """Bytes of the records that wait."""
        self.lost: Counter[int] = Counter()
        """Records for which there was no room, by the control group: for whoever takes them out."""
        self._enough, self._most = enough, most
        self._groups: dict[int, _Group] = {}
        """In the order of their turns."""

    def __bool__(self) -> bool:
        return bool(self._groups)

    @property
    def room(self) -> int:
        """Bytes of records of calls that may be read at any time."""
        return max(0, self._enough - self.size)

    def put(self, watch: Watch, record: bytes, image: Image | None = None) -> None:
        """Where there is no room, whoever has most loses the oldest records."""
        time, number, session = _WHOSE.unpack_from(record)
        group = self._groups.setdefault(number, _Group())
        group.sessions.setdefault(session, deque()).append((time, (watch, record, image)))
        group.size += len(record)
        self.size += len(record)
        if self.size > self._most:
            self._shed()

    def take(self) -> Read:
        """The oldest record of the session whose turn it is. Raises StopIteration if none waits."""
        number = next(iter(self._groups))
        group = self._groups.pop(number)
        read = group.take()
        if group.sessions:
            self._groups[number] = group
        self.size -= len(read[1])
        return read

    def oldest(self) -> int | None:
        """The time of the record that has waited longest, in ns since boot; None if none waits."""
        heads = (waiting[0] for group in self._groups.values() for waiting in group.sessions.values())
        return min((time for time, _ in heads), default=None)

    def _shed(self) -> None:
        most = self._most - self._most // _AT_ONCE
        while self.size > most:
            number = max(self._groups, key=lambda number: self._groups[number].size)
            group = self._groups[number]
            second = max((other.size for other in self._groups.values() if other is not group), default=0)
            while self.size > most and group.sessions and group.size >= second:
                self.size -= len(group.take()[1])
                self.lost[number] += 1
            if not group.sessions:
                del self._groups[number]
