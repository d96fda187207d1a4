"""Items that wait in memory alone: for outputs of this machine, which have no spool."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Generic, TypeVar

from tiercel_agent.delivery.queues.waiting import Waiting

Item = TypeVar("Item")


class MemoryQueue(Waiting, Generic[Item]):
    """At most ``capacity`` items wait; those that come while it is full are lost. Any thread appends; one reads."""

    on_disk = False
    trouble = ""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self._capacity = capacity
        self._items: deque[Item] = deque()
        self._lost = 0

    @property
    def count(self) -> int:
        return len(self._items)

    @property
    def lost(self) -> int:
        return self._lost

    def append(self, items: Sequence[Item]) -> None:
        """Takes the items, or counts them as lost; waits for nothing."""
        with self._changed:
            room = 0 if self._closed else max(0, self._capacity - len(self._items))
            self._items.extend(items[:room])
            self._lost += max(0, len(items) - room)
            self._changed.notify_all()

    def next(self, most: int) -> Sequence[Item]:
        """The oldest items, at most ``most``. They stay in the queue until ``done`` is called for them."""
        with self._changed:
            return list(islice(self._items, most))

    def done(self, count: int) -> None:
        """Removes the oldest ``count`` items, which were delivered or given up."""
        with self._changed:
            for _ in range(min(count, len(self._items))):
                self._items.popleft()

    def close(self) -> None:
        """Ends the queue: what still waits is lost, and so is what is appended later."""
        with self._changed:
            self._closed = True
            self._lost += len(self._items)
            self._items.clear()
            self._changed.notify_all()
