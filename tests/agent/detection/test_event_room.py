"""Events that wait while programs for new rules are made take bounded memory, and nobody's flood takes others' room."""

from __future__ import annotations

from tiercel_agent.detection.event_room import EventRoom

MIB = 1 << 20


def test_what_a_flood_brings_is_bounded_in_bytes_and_counted() -> None:
    room = EventRoom(MIB)
    taken = sum(room.takes(1, 7, 3 << 10) for _ in range(10_000))
    assert taken == MIB // (4 << 10)
    assert room.refused == 10_000 - taken


def test_a_control_group_that_has_little_finds_room_beside_a_flood() -> None:
    room = EventRoom(MIB)
    while room.takes(1, 7, 3 << 10):
        pass
    assert all(room.takes(cgroup, 7, 3 << 10) for cgroup in range(2, 12) for _ in range(5))
    assert not room.takes(1, 7, 3 << 10)


def test_a_process_that_has_little_finds_room_beside_a_flood_in_its_own_group() -> None:
    room = EventRoom(MIB)
    while room.takes(1, 7, 3 << 10):
        pass
    assert all(room.takes(1, pid, 3 << 10) for pid in range(8, 18) for _ in range(5))
    assert not room.takes(1, 7, 3 << 10)


def test_however_many_groups_and_processes_there_are_they_take_twice_the_room_at_most() -> None:
    room = EventRoom(MIB)
    taken = sum(room.takes(number % 10, number, 3 << 10) for number in range(10_000) for _ in range(50))
    assert taken * (4 << 10) <= 2 * MIB


def test_there_is_room_again_when_the_events_were_taken() -> None:
    room = EventRoom(MIB)
    while room.takes(1, 7, 3 << 10):
        pass
    room.clear()
    assert room.takes(1, 7, 3 << 10)
    assert room.refused == 1
