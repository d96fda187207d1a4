"""Events that wait until more is known of their containers.

The inventory asks for a container as soon as its cgroup is made, so that few events come before the answer. These few
wait here in a bounded queue, and those of each container for a bounded time. Then they go on with what is known.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from tiercel_agent.events.live import LiveEvent

MOST_WAITING = 8192
"""Events. When there are more, the oldest go on."""

LOOK = 0.02
"""Seconds between two looks at the events that wait."""

_READ_WHILE_IT_RUNS = ("user.name", "group.name", "user.homedir", "user.shell")


class PendingEvents:
    """The events that wait, at most ``most`` of them."""

    def __init__(self, most: int = MOST_WAITING) -> None:
        self._most = most
        self._waiting: deque[LiveEvent] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def sort(self, events: Iterable[LiveEvent]) -> list[LiveEvent]:
        """Takes new events, and returns those, of them and of those that wait, that need not wait any longer."""
        ready = self._take_ready()
        for event in events:
            if _is_settled(event):
                ready.append(event)
                continue
            read_while_it_runs(event)
            self._waiting.append(event)
            if len(self._waiting) > self._most:
                ready.append(self._waiting.popleft())
        return ready

    def release(self) -> list[LiveEvent]:
        """All events that wait. None waits afterwards."""
        waiting, self._waiting = list(self._waiting), deque()
        return waiting

    def _take_ready(self) -> list[LiveEvent]:
        """Looks at each event once: whether it is settled may have changed a moment later."""
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


def read_while_it_runs(event: LiveEvent) -> None:
    """Looks up now what is read from the files of the process, if rules ask for it: the process may end meanwhile."""
    requested = event.record.context.requested
    for key in _READ_WHILE_IT_RUNS:
        if key in requested:
            event[key]
