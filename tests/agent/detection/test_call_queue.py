"""Records wait in turns, and in bounded memory."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tiercel_agent.detection.call_queue import CallQueue
from tiercel_agent.kernel import records

SIZE = records.SECTIONS_OFFSET


def record(group: int, session: int, number: int, size: int = SIZE) -> bytes:
    """The number stands in the place of the time."""
    fields = dict.fromkeys(records.Header._fields, 0) | {"comm": b"", "cgroup": group, "sid": session, "time": number}
    return records._HEADER.pack(*fields.values()).ljust(size, b"\0")


def taken(queue: CallQueue, most: int = 1_000_000) -> list[tuple[int, int, int]]:
    found = []
    while queue and len(found) < most:
        _, raw, _ = queue.take()
        header = records.header(raw)
        found.append((header.cgroup, header.sid, header.time))
    return found


@pytest.fixture
def queue() -> CallQueue:
    return CallQueue(enough=100 * SIZE, most=200 * SIZE)


@pytest.fixture
def put(queue: CallQueue):
    watch: Any = None
    return lambda *what, **size: queue.put(watch, record(*what, **size))


def test_control_groups_take_turns_and_so_do_their_sessions(queue: CallQueue, put) -> None:
    for number in range(4):
        put(1, 10, number)
    put(1, 11, 4)
    put(2, 20, 5)
    assert queue.oldest() == 0
    assert taken(queue) == [(1, 10, 0), (2, 20, 5), (1, 11, 4), (1, 10, 1), (1, 10, 2), (1, 10, 3)]
    assert (queue.size, queue.oldest(), bool(queue)) == (0, None, False)
    with pytest.raises(StopIteration):
        queue.take()


def test_one_record_comes_soon_however_many_wait_of_others(queue: CallQueue, put) -> None:
    for number in range(90):
        put(1, number % 3, number)
    put(2, 1, 1000)
    assert (2, 1, 1000) in taken(queue, 2)


def test_there_is_room_until_there_is_enough(queue: CallQueue, put) -> None:
    for number in range(100):
        assert queue.room == (100 - number) * SIZE
        put(1, 1, number)
    assert queue.room == 0
    put(1, 1, 100)
    assert queue.room == 0


def test_who_has_most_loses_its_oldest(queue: CallQueue, put) -> None:
    for number in range(50):
        put(2, 1, number)
    for number in range(1000):
        put(1, 1, number)
    assert queue.lost.keys() == {1}
    left = taken(queue)
    counts = Counter(group for group, _, _ in left)
    assert counts[2] == 50
    assert 140 <= counts[1] <= 150
    assert counts[1] + queue.lost[1] == 1000
    assert [number for group, _, number in left if group == 1][-1] == 999


def test_a_record_larger_than_all_room_is_lost(queue: CallQueue, put) -> None:
    put(1, 1, 0, size=1000 * SIZE)
    assert (queue.lost, bool(queue), queue.size) == ({1: 1}, False, 0)
