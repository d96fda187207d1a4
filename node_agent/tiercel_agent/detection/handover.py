"""From old programs to new ones: both see what happens for a moment, and each event counts once.

The kernel runs the old programs first, so the old record of an event bears the earlier time. What happened before the
instant of the handover counts for the old, the rest for the new. An event may straddle it: its old record is from
before, its new one from after. The old programs stay until every event that began before the instant has ended. So
until that moment the last old record before a new one, in the same thread, tells which event the new one is of.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from tiercel_agent.events.live import LiveEvent
from tiercel_agent.events.syscall_record import SyscallRecord
from tiercel_agent.kernel.records import EXEC, Section

_LASTING = {Section.FILE: 8, Section.SOCKET: 8, Section.EXE: 8}
"""How many bytes of a section stay the same while others use the file or socket: its inode."""


class Handover:
    """Decides which events of the new programs count.

    ``reported`` are all events of the old programs, in any order. ``instant`` is that of the handover, and at
    ``settled`` all events had ended that began before it; both in nanoseconds since the machine's start.
    """

    def __init__(self, reported: Iterable[LiveEvent], instant: int, settled: int) -> None:
        self._instant = instant
        self._settled = settled
        self._last: dict[int, LiveEvent] = {}
        self._next: dict[int, int] = {}
        for event in sorted(reported, key=lambda event: event.record.header.time):
            header = event.record.header
            if header.time < instant:
                self._last[header.tid] = event
            else:
                self._next.setdefault(header.tid, header.time)

    def counts(self, event: LiveEvent) -> bool:
        """Whether the event counts, since the old programs have not reported it."""
        header = event.record.header
        if header.time < self._instant:
            return False
        if header.time > self._settled or header.time >= self._next.get(header.tid, math.inf):
            return True
        before = self._last.get(header.tid)
        return before is None or not _is_one_event(before.record, event.record)


def _is_one_event(one: SyscallRecord, other: SyscallRecord) -> bool:
    """Whether two records of a thread, with no other record of the old programs in between, are of one event. If an
    equal event came in between, the old programs have counted it as lost or suppressed."""
    if one.header.type != other.header.type or one.process[:3] != other.process[:3]:
        return False
    if one.header.type < EXEC and one.header[4:11] != other.header[4:11]:  # result and arguments
        return False
    # The programs differ in what rules ask for, and in what the filter knew.
    both = one.sections.keys() & other.sections.keys() - {Section.FILTER}
    return all(_lasting(kind, one) == _lasting(kind, other) for kind in both)


def _lasting(kind: int, record: SyscallRecord) -> bytes:
    return record.sections[kind][1][: _LASTING.get(kind)]
