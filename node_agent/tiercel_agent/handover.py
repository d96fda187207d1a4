"""From old programs to new ones: both see what happens for a moment, and each event counts once.

The kernel runs the old programs first, so the old record of an event bears the earlier time. What happened before the
instant of the handover counts for the old, the rest for the new. An event may straddle it: its old record is from
before, its new one from after.
"""

from __future__ import annotations

from collections.abc import Iterable

from tiercel_agent.events.live import LiveEvent
from tiercel_agent.events.wire import Section

_CLOSE = 5_000_000  # ns between the two records of one event, even if the processor was taken away in between
_OF_ONE_SET = (Section.FILTER,)


def without_straddlers(old: Iterable[LiveEvent], new: Iterable[LiveEvent], instant: int) -> list[LiveEvent]:
    """The new programs' events from the instant on, without those that the old programs have reported already.

    ``old`` and ``new`` are all that the two have reported, in the order of each thread.
    """
    last_old: dict[int, LiveEvent] = {}
    for event in old:
        if event.occurrence.header.time < instant:
            last_old[event.occurrence.header.tid] = event
    kept = []
    first_seen: set[int] = set()
    for event in new:
        header = event.occurrence.header
        before = last_old.get(header.tid)
        if header.time < instant:
            # the new record of the last old event, or of a later one, is from before the instant: no straddler
            if before is not None and header.time >= before.occurrence.header.time:
                del last_old[header.tid]
            continue
        is_first = header.tid not in first_seen
        first_seen.add(header.tid)
        if not (is_first and before is not None and _is_one_event(before, event)):
            kept.append(event)
    return kept


def _is_one_event(one: LiveEvent, other: LiveEvent) -> bool:
    ours, theirs = one.occurrence, other.occurrence
    if ours.header.type != theirs.header.type or theirs.header.time - ours.header.time > _CLOSE:
        return False
    return ours.header[4:11] == theirs.header[4:11] and _told(one) == _told(other)


def _told(event: LiveEvent) -> dict[int, tuple[int, bytes]]:
    return {kind: section for kind, section in event.occurrence.sections.items() if kind not in _OF_ONE_SET}
