"""Events that wait for what is still to be learned of their containers.

A container is told of to the inventory when its cgroup is made, so that few events come before the answer. Those
wait here, each container's for a bounded time, in a bounded queue: then they go out with what is known.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from tiercel_agent.events.live import LiveEvent

MOST_WAITING = 8192
"""Events; when there are more, the oldest go out."""

LOOK = 0.02
"""Seconds between two looks at what waits."""

_READ_WHILE_IT_RUNS = ("user.name", "group.name", "user.homedir", "user.shell")


class PendingEvents:
    def __init__(self, most: int = MOST_WAITING) -> None:
        self._most = most
        self._waiting: deque[LiveEvent] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def sort(self, events: Iterable[LiveEvent]) -> list[LiveEvent]:
        """Those of the events, and of those that wait, whose containers are known, or waited for in vain."""
        ready = self._take_ready()
        for event in events:
            if _is_settled(event):
                ready.append(event)
                continue
            _read_what_may_go(event)
            self._waiting.append(event)
            if len(self._waiting) > self._most:
                ready.append(self._waiting.popleft())
        return ready

    def release(self) -> list[LiveEvent]:
        """All that wait."""
        waiting, self._waiting = list(self._waiting), deque()
        return waiting

    def _take_ready(self) -> list[LiveEvent]:
        """One look at each: what is settled may be another a moment later."""
        ready: list[LiveEvent] = []
        waiting: deque[LiveEvent] = deque()
        for event in self._waiting:
            (ready if _is_settled(event) else waiting).append(event)
        self._waiting = waiting
        return ready


def _is_settled(event: LiveEvent) -> bool:
    record = event.record
    container = record.container
    return container is None or record.context.containers.inventory.is_settled(container)


def _read_what_may_go(event: LiveEvent) -> None:
    """Looks up now what is read from the process's own files, if rules ask for it: it may not run for long."""
    requested = event.record.context.requested
    for key in _READ_WHILE_IT_RUNS:
        if key in requested:
            event[key]
