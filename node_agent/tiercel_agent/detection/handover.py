"""From old programs to new ones: both see what happens for a moment, and each event counts once.

The kernel runs the old programs first, so the old record of an event bears the earlier time. What happened before the
instant of the handover counts for the old, the rest for the new. An event may straddle it: its old record is from
before, its new one from after.
"""

from __future__ import annotations

from collections.abc import Iterable

from tiercel_agent.events.live import LiveEvent
from tiercel_agent.kernel.records import Section

_CLOSE = 5_000_000  # ns between the two records of one event, even if the processor was taken away in between


class Handover:
    """Decides which events of the new programs count. They have to be given in the order in which they come.

    ``reported`` are the old programs' events, in order within each thread; ``instant`` is in nanoseconds since the
    machine's start.
    """

    def __init__(self, reported: Iterable[LiveEvent], instant: int) -> None:
        self._instant = instant
        self._last: dict[int, LiveEvent] = {}
        for event in reported:
            header = event.record.header
            if instant - _CLOSE < header.time < instant:
                self._last[header.tid] = event

    def counts(self, event: LiveEvent) -> bool:
        """Whether the event counts, since the old programs have not reported it."""
        header = event.record.header
        if header.time >= self._instant:
            # of each thread, only the first event from the instant on can straddle it
            before = self._last.pop(header.tid, None) if self._last else None
            return before is None or not _is_one_event(before, event)
        before = self._last.get(header.tid)
        if before is not None and header.time >= before.record.header.time:
            del self._last[header.tid]  # the new record of the last old event is from before: no straddler
        return False


def _is_one_event(one: LiveEvent, other: LiveEvent) -> bool:
    ours, theirs = one.record, other.record
    if ours.header.type != theirs.header.type or theirs.header.time - ours.header.time > _CLOSE:
        return False
    return ours.header[4:11] == theirs.header[4:11] and _content(one) == _content(other)  # result and arguments


def _content(event: LiveEvent) -> dict[int, tuple[int, bytes]]:
    """The sections of the record without that of the filter, which may differ between the programs."""
    return {kind: section for kind, section in event.record.sections.items() if kind != Section.FILTER}
