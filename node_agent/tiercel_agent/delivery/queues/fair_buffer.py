"""Items in memory, by flow. What is too much is dropped where most is."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import merge
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

from tiercel_agent.delivery.queues.flows import Flow, first_to_lose

Item = TypeVar("Item")


class _Kept(NamedTuple, Generic[Item]):
    """``number`` is the item's place in the order of all that came."""

    number: int
    item: Item
    weight: int


class FairBuffer(Generic[Item]):
    """``weight_of`` is about how many bytes of memory an item takes. Its caller holds a lock."""

    def __init__(self, flow_of: Callable[[Item], Flow], weight_of: Callable[[Item], int]) -> None:
        self._flow_of = flow_of
        self._weight_of = weight_of
        self._items: dict[Flow, deque[_Kept[Item]]] = {}  # no flow is without any
        self._weights: dict[Flow, int] = {}
        self._added = 0
        self.count = 0
        self.weight = 0

    def add(self, item: Item) -> None:
        flow = self._flow_of(item)
        kept = _Kept(self._added, item, self._weight_of(item))
        self._added += 1
        self._items.setdefault(flow, deque()).append(kept)
        self._weigh(flow, 1, kept.weight)

    def counts(self) -> Mapping[Flow, int]:
        """How many items each flow has; those without any aren't in it."""
        return {flow: len(items) for flow, items in self._items.items()}

    def oldest(self, flow: Flow, most: int) -> Sequence[Item]:
        """The oldest of a flow, which stay."""
        return [kept.item for kept in islice(self._items.get(flow, ()), most)]

    def oldest_of_all(self, most: int) -> Sequence[tuple[Flow, Item]]:
        """The oldest, in the order in which they came, with their flows. They stay."""
        return list(islice(self._in_order(), most))

    def take_out(self, flow: Flow, index: int = 0) -> None:
        """Removes an item of a flow: the oldest, if no other index is given."""
        items = self._items[flow]
        weight = items[index].weight
        del items[index]
        self._weigh(flow, -1, -weight)
        if not items:
            del self._items[flow], self._weights[flow]

    def take_all(self) -> list[Item]:
        """Removes all items, in the order in which they came."""
        items = [item for _, item in self._in_order()]
        self._items, self._weights = {}, {}
        self.count = self.weight = 0
        return items

    def drop(self, most: int, most_weight: int, hand: Iterable[Flow] = ()) -> int:
        """Drops items until there are ``most``, of ``most_weight`` bytes, or none is left to drop; the answer is how
        many. It takes the oldest of the flow that is to lose first, but none that is being sent: ``hand`` has the flow
        of each of these, which are the oldest there."""
        before = self.count
        sent: Counter[Flow] | None = None
        while self.count > most or self.weight > most_weight:
            sent = Counter(hand) if sent is None else sent
            free = {flow: self._weights[flow] for flow, items in self._items.items() if len(items) > sent[flow]}
            if not free:
                break
            flow = first_to_lose(free)
            self.take_out(flow, sent[flow])
        return before - self.count

    def _in_order(self) -> Iterator[tuple[Flow, Item]]:
        return ((flow, item) for _, flow, item in merge(*map(self._numbered, self._items)))

    def _numbered(self, flow: Flow) -> Iterator[tuple[int, Flow, Item]]:
        return ((kept.number, flow, kept.item) for kept in self._items[flow])

    def _weigh(self, flow: Flow, count: int, weight: int) -> None:
        self._weights[flow] = self._weights.get(flow, 0) + weight
        self.count += count
        self.weight += weight
