"""Events wait for the rules of their namespaces: in turns, and in bounded memory."""

from __future__ import annotations

from engine_support.rules import event

from tiercel_agent.evaluation.namespace_queues import NamespaceQueues
from tiercel_engine.event import Event


def numbered(number: int) -> Event:
    return event(**{"proc.pid": number})


def taken(queues: NamespaceQueues) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    while queues:
        namespace, each = queues.take()
        found.append((namespace, each["proc.pid"]))
    return found


def test_namespaces_take_turns_and_each_keeps_its_order() -> None:
    queues = NamespaceQueues()
    for number in range(3):
        assert queues.put("shop", numbered(number), 10)
    assert queues.put("bank", numbered(7), 10)
    assert taken(queues) == [("shop", 0), ("bank", 7), ("shop", 1), ("shop", 2)]
    assert not queues


def test_a_flood_leaves_room_for_the_events_of_others() -> None:
    queues = NamespaceQueues(most=1000)
    assert sum(queues.put("shop", numbered(number), 10) for number in range(1000)) == 100
    assert sum(queues.put("bank", numbered(number), 10) for number in range(1000)) == 50
    assert sum(queues.put("mill", numbered(number), 10) for number in range(1000)) == 33
    assert not queues.put("shop", numbered(1), 10)


def test_it_never_has_more_than_twice_its_size() -> None:
    queues = NamespaceQueues(most=1000)
    for number in range(1000):
        while queues.put(f"ns-{number}", numbered(number), 1):
            pass
    assert len(taken(queues)) == 2000


def test_what_was_taken_makes_room() -> None:
    queues = NamespaceQueues(most=100)
    for number in range(1000):
        assert queues.put("shop", numbered(number), 100)
        assert not queues.put("shop", numbered(number), 100)
        assert taken(queues) == [("shop", number)]
