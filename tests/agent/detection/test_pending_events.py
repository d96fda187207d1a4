"""Events that wait for what is to be learned of their containers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tiercel_agent.detection.pending_events import PendingEvents


class World:
    """Containers by name, and which of them are settled."""

    def __init__(self, **settled: bool) -> None:
        self.settled = settled
        self.requested = frozenset({"user.name"})
        inventory = SimpleNamespace(is_settled=lambda container: self.settled[container])
        self.containers = SimpleNamespace(inventory=inventory)

    def event(self, container: str | None, number: int = 0) -> Any:
        return _Event(SimpleNamespace(container=container, context=self, number=number))


class _Event(dict):
    def __init__(self, record: SimpleNamespace) -> None:
        self.record = record
        self.read: list[str] = []

    def __missing__(self, key: str) -> str:
        self.read.append(key)
        return key


def test_only_events_of_containers_that_are_not_settled_wait() -> None:
    world = World(known=True, new=False)
    pending = PendingEvents()
    host, known, new = world.event(None), world.event("known"), world.event("new")
    assert pending.sort([host, new, known]) == [host, known]
    assert pending
    assert pending.sort([]) == []
    world.settled["new"] = True
    assert pending.sort([]) == [new]
    assert not pending


def test_the_events_of_one_container_keep_their_order() -> None:
    world = World(new=False, other=False)
    pending = PendingEvents()
    first, second, third = (world.event("new", number) for number in range(3))
    other = world.event("other")
    assert pending.sort([first, other, second]) == []
    world.settled["new"] = True
    assert pending.sort([third]) == [first, second, third]
    assert pending.release() == [other]


def test_what_a_process_may_take_with_it_is_read_at_once() -> None:
    world = World(new=False)
    event = world.event("new")
    PendingEvents().sort([event])
    assert event.read == ["user.name"]


def test_what_is_too_much_goes_out_with_what_is_known() -> None:
    world = World(new=False)
    pending = PendingEvents(most=10)
    events = [world.event("new", number) for number in range(25)]
    assert pending.sort(events) == events[:15]
    assert pending.release() == events[15:]
    assert pending.release() == []


def test_an_event_whose_wait_ends_at_any_moment_comes_out_once() -> None:
    """The clock goes on between one look and the next."""
    world = World(first=False, second=False)
    pending = PendingEvents()
    first, second = world.event("first"), world.event("second")
    assert pending.sort([first, second]) == []
    looks: list[str] = []

    def is_settled(container: str) -> bool:
        looks.append(container)
        return container == "first" or looks.count("second") > 1

    world.containers.inventory.is_settled = is_settled
    assert [*pending.sort([]), *pending.sort([]), *pending.release()] == [first, second]
