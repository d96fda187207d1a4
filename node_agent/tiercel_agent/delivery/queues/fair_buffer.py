"""Items in memory, by flow. What is too much is dropped where most is."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, islice
from typing import Generic, TypeVar

from tiercel_agent.delivery.queues.flows import Flow, first_to_lose

Item = TypeVar("Item")


class FairBuffer(Generic[Item]):
    """``weight_of`` is about how many bytes of memory an item takes. Its caller holds a lock."""

    def __init__(self, flow_of: Callable[[Item], Flow], weight_of: Callable[[Item], int]) -> None:
        self._flow_of = flow_of
        self._weight_of = weight_of
        self._items: dict[Flow, deque[tuple[Item, int]]] = {}  # with its weight; no flow is without any
        self._weights: dict[Flow, int] = {}
        self.count = 0
        self.weight = 0

    def add(self, item: Item) -> None:
        flow, weight = self._flow_of(item), self._weight_of(item)
        self._items.setdefault(flow, deque()).append((item, weight))
        self._weigh(flow, 1, weight)

    def counts(self) -> Mapping[Flow, int]:
        """How many items each flow has; those without any aren't in it."""
        return {flow: len(items) for flow, items in self._items.items()}

    def oldest(self, flow: Flow, most: int) -> Sequence[Item]:
        """The oldest of a flow, which stay."""
        return [item for item, _ in islice(self._items.get(flow, ()), most)]

    def take_out(self, flow: Flow, index: int = 0) -> None:
        """Removes an item of a flow: the oldest, if no other index is given."""
        items = self._items[flow]
        _, weight = items[index]
        del items[index]
        self._weigh(flow, -1, -weight)
        if not items:
            del self._items[flow], self._weights[flow]

    def take_all(self) -> list[Item]:
        """Removes all items; those of each flow are in order."""
        items = [item for item, _ in chain.from_iterable(self._items.values())]
        self._items, self._weights = {}, {}
        self.count = self.weight = 0
        return items

    def drop(self, most: int, most_weight: int, held: Mapping[Flow, int] | None = None) -> int:
        """Drops items until there are ``most``, of ``most_weight`` bytes, or none is left to drop; the answer is how
        many. It takes the oldest of the flow that is to lose first, but not the oldest ``held`` ones of each flow."""
        held = held or {}
        before = self.count
        while self.count > most or self.weight > most_weight:
            free = {flow: self._weights[flow] for flow, items in self._items.items() if len(items) > held.get(flow, 0)}
            if not free:
                break
            flow = first_to_lose(free)
            self.take_out(flow, held.get(flow, 0))
        return before - self.count

    def _weigh(self, flow: Flow, count: int, weight: int) -> None:
        self._weights[flow] = self._weights.get(flow, 0) + weight
        self.count += count
        self.weight += weight
