"""Items that wait in memory alone: for outputs of this machine, which have no spool."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from tiercel_agent.delivery.queues.fair_buffer import FairBuffer
from tiercel_agent.delivery.queues.flows import Flow
from tiercel_agent.delivery.queues.waiting import Waiting

Item = TypeVar("Item")

MOST_BYTES = 32 << 20
"""Bytes of memory that items of one output take, at most."""


class MemoryQueue(Waiting, Generic[Item]):
    """At most ``capacity`` items wait, of ``MOST_BYTES``. They are read in the order in which they came; what is too
    much is lost as ``FairBuffer`` drops it. Any thread appends; one reads."""

    on_disk = False
    trouble = ""

    def __init__(self, capacity: int, flow_of: Callable[[Item], Flow], weight_of: Callable[[Item], int]) -> None:
        super().__init__()
        self._capacity = capacity
        self._items = FairBuffer(flow_of, weight_of)
        self._hand: deque[Flow] = deque()  # the flows of the items that ``next`` returned and that aren't done
        self._lost = 0

    @property
    def count(self) -> int:
        return self._items.count

    @property
    def lost(self) -> int:
        return self._lost

    def append(self, items: Sequence[Item]) -> None:
        """Takes the items, and counts as lost what is too much then; waits for nothing."""
        with self._changed:
            if self._closed:
                self._lost += len(items)
                return
            for item in items:
                self._items.add(item)
            self._lost += self._items.drop(self._capacity, MOST_BYTES, self._hand)
            self._changed.notify_all()

    def next(self, most: int) -> Sequence[Item]:
        """The oldest items, at most ``most``. They stay in the queue until ``done`` is called for them."""
        with self._changed:
            items = self._items.oldest_of_all(most)
            self._hand = deque(flow for flow, _ in items)
            return [item for _, item in items]

    def done(self, count: int) -> None:
        """Removes the first ``count`` of the items that ``next`` returned last: they were delivered or given up."""
        with self._changed:
            for _ in range(min(count, len(self._hand))):
                self._items.take_out(self._hand.popleft())

    def close(self) -> None:
        """Ends the queue: what still waits is lost, and so is what is appended later."""
        with self._changed:
            self._closed = True
            self._hand.clear()
            self._lost += len(self._items.take_all())
            self._changed.notify_all()
