"""The process table: each record has the image of its own count of execs, or none."""

from __future__ import annotations

import itertools
import os
import tracemalloc
from dataclasses import dataclass, field
from typing import Any

import pytest
from agent_support.looking_up import at_once
from hypothesis import given
from hypothesis import strategies as st

from tiercel_agent.context.procfs import TICK, read_process
from tiercel_agent.context.words import whole
from tiercel_agent.events.images import NO_IMAGE, Image
from tiercel_agent.events.processes import ProcessTable
from tiercel_agent.kernel.records import ExitRecord, ForkRecord, ProcessRef

S = 1_000_000_000
SHOP, OTHER = 101, 102


def ref(pid: int, execs: int, start: int = S) -> ProcessRef:
    return ProcessRef(start, pid, execs, b"program")


def image(name: str, size: int = 0) -> Image:
    return Image(whole(name.encode() + b"\0" + b"a\0" * (size // 2)), None, f"/bin/{name}", None)


@dataclass
class Table:
    memory: int = 1 << 20
    requested: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.of = ProcessTable(at_once, self.requested.append, self.memory)

    def executes(self, process: ProcessRef, what: Image, time: int = 2 * S, cgroup: int = SHOP) -> None:
        self.of.executed(process, what, time, cgroup)


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.mark.parametrize("execs", [6, 500])
def test_a_chain_of_execs_that_is_read_late(table: Table, execs: int) -> None:
    images = [image(f"program-{number}") for number in range(execs)]
    for number, each in enumerate(images):
        table.executes(ref(7, number), each, 2 * S + number)
    assert [table.of.image(ref(7, number)) for number in range(execs)] == images


def test_what_is_not_known_is_asked_for_once_and_is_no_other_image(table: Table) -> None:
    table.executes(ref(7, 5), image("su"))
    assert [table.of.image(ref(7, 4)), table.of.image(ref(7, 6)), table.of.image(ref(7, 6))] == [NO_IMAGE] * 3
    assert (table.of.misses, table.requested) == (3, [7, 7])
    table.of.executed(ref(7, 6), image("cat"), 3 * S, SHOP, told_late=True)
    assert table.of.image(ref(7, 6)).exe_path == "/bin/cat"
    assert table.of.image(ref(7, 5)).exe_path == "/bin/su"


def test_a_process_that_runs_now_is_not_read_again(table: Table) -> None:
    """/proc tells what it executes by now, which may be a later image than the record's."""
    facts = read_process(at_once, os.getpid())
    assert facts is not None
    assert table.of.image(ref(os.getpid(), 77, facts.start_ticks * TICK + 1)) is NO_IMAGE


def test_a_reused_pid_is_another_process(table: Table) -> None:
    table.executes(ref(7, 1), image("su"))
    assert table.of.image(ref(7, 1, start=5 * S)) is NO_IMAGE


# processes that ran before the agent


def own(execs: int) -> ProcessRef:
    facts = read_process(at_once, os.getpid())
    assert facts is not None
    return ref(os.getpid(), execs, facts.start_ticks * TICK + TICK // 2)


def own_exe() -> str:
    return os.path.realpath("/proc/self/exe")


def test_a_process_that_ran_before_has_its_image_for_one_count_of_execs(table: Table) -> None:
    table.of.scan()
    assert table.of.image(own(3)).exe_path == own_exe()
    assert table.of.image(own(4)) is NO_IMAGE
    assert table.of.image(own(3)).exe_path == own_exe()


def test_a_process_that_executes_after_it_was_read(table: Table) -> None:
    table.of.scan()
    table.executes(own(4), image("su"), time=1 << 62)
    assert table.of.image(own(3)).exe_path == own_exe()
    assert table.of.image(own(4)).exe_path == "/bin/su"


def test_a_process_that_executed_before_it_was_read(table: Table) -> None:
    """The record of that exec is read later. What was read is of the later image."""
    table.of.scan()
    table.executes(own(4), image("su"), time=1)
    assert table.of.image(own(3)) is NO_IMAGE
    assert table.of.image(own(4)).exe_path == "/bin/su"


def test_a_child_of_a_process_that_was_read_before_the_fork(table: Table) -> None:
    table.of.scan()
    table.of.forked(ForkRecord(ref(1 << 22, 3, start=1 << 62), own(3)))
    assert table.of.image(ref(1 << 22, 3, start=1 << 62)).exe_path == own_exe()


def test_a_child_that_was_forked_before_its_parent_was_read(table: Table) -> None:
    """By then, the parent may have executed another program than when it forked."""
    table.of.scan()
    table.of.forked(ForkRecord(ref(1 << 22, 3, start=1), own(3)))
    assert table.of.image(ref(1 << 22, 3, start=1)) is NO_IMAGE


# leaders


def test_a_leader_is_told_as_it_was_at_that_time(table: Table) -> None:
    table.executes(ref(7, 1), image("login"), 10 * S)
    table.executes(ref(7, 2), image("bash"), 20 * S)
    table.of.exited(ExitRecord(25 * S, 0, ref(7, 2)))
    table.executes(ref(7, 3, start=26 * S), image("su"), 27 * S)
    leaders = [table.of.at(7, time * S) for time in (5, 15, 24, 28)]
    assert [leader and leader.image.exe_path for leader in leaders] == [None, "/bin/login", "/bin/bash", "/bin/su"]


def test_a_leader_is_unknown_where_an_image_in_between_is(table: Table) -> None:
    table.executes(ref(7, 1), image("login"), 10 * S)
    table.executes(ref(7, 3), image("bash"), 20 * S)
    table.of.executed(ref(7, 4), image("su"), 30 * S, SHOP, told_late=True)
    assert [table.of.at(7, 15 * S), table.of.at(7, 25 * S)] == [None, None]


# memory


def test_what_is_over_is_kept_until_half_a_minute_after_its_records_were_read(table: Table) -> None:
    table.executes(ref(7, 1), image("true"), 10 * S)
    table.of.exited(ExitRecord(11 * S, 0, ref(7, 1)))
    table.executes(ref(8, 1), image("true"), 60 * S)
    table.of.forget(40 * S)
    assert table.of.image(ref(7, 1)) is not NO_IMAGE
    table.of.forget(42 * S)
    assert table.of.image(ref(7, 1)) is NO_IMAGE
    assert (len(table.of), table.of.evicted.total()) == (1, 0)


def test_whoever_has_most_loses_first_and_what_runs_comes_last(table: Table) -> None:
    table.executes(ref(1, 1), image("other"), cgroup=OTHER)
    table.executes(ref(2, 1), image("shell"))
    for number in range(2, 5000):
        table.executes(ref(3, number), image("noise", 3000), 2 * S + number)
        assert table.of.bytes <= table.memory
    assert table.of.image(ref(1, 1)).exe_path == "/bin/other"
    assert table.of.image(ref(2, 1)).exe_path == "/bin/shell"
    assert table.of.image(ref(3, 4999)).exe_path == "/bin/noise"
    assert table.of.evicted == {SHOP: 5000 - len(table.of)}


def test_processes_that_all_run_are_bounded_too(table: Table) -> None:
    table.executes(ref(1, 1), image("other"), cgroup=OTHER)
    for pid in range(2, 5000):
        table.executes(ref(pid, 1), image("noise", 3000))
    assert table.of.image(ref(1, 1)).exe_path == "/bin/other"
    assert table.of.image(ref(4999, 1)).exe_path == "/bin/noise"
    assert 0 < table.of.bytes <= table.memory


def test_children_that_only_fork_share_an_image(table: Table) -> None:
    table.executes(ref(2, 1), image("server", 4000))
    for pid in range(3, 500):
        table.of.forked(ForkRecord(ref(pid, 1), ref(2, 1)))
    assert not table.of.evicted
    for pid in range(2, 500):
        assert table.of.image(ref(pid, 1)).exe_path == "/bin/server"
        table.of.exited(ExitRecord(3 * S, 0, ref(pid, 1)))
    table.of.forget(100 * S)
    assert (len(table.of), table.of.bytes) == (0, 0)


def test_1360_short_arguments_take_no_more_memory_than_allowed() -> None:
    """A rule asks for the environment; four execs a process."""
    table = Table(memory=8 << 20)
    tracemalloc.start()
    try:
        for pid in range(2, 3000):
            for execs in range(4):
                words = whole(b"a\0" * 1360)
                table.executes(ref(pid, execs), Image(words, whole(b"b\0" * 1360), "/bin/sh", None), pid * S // 1000)
                words.split()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 9 << 20
    assert table.of.evicted


PIDS, EXECS, STARTS = st.integers(1, 4), st.integers(0, 5), st.sampled_from([S, 2 * S])
REFS = st.builds(ref, PIDS, EXECS, STARTS)
SIZES = st.sampled_from([0, 200_000, 500_000])
OPERATIONS = st.one_of(
    st.tuples(st.just("exec"), REFS, SIZES, st.sampled_from([SHOP, OTHER]), st.booleans()),
    st.tuples(st.just("fork"), REFS, REFS),
    st.tuples(st.just("exit"), REFS),
    st.tuples(st.just("forget")),
)


@given(st.lists(OPERATIONS, max_size=40))
def test_whatever_records_come_the_bounds_hold_and_no_image_is_another_ones(operations: list[tuple[Any, ...]]) -> None:
    """Records may come twice, out of order, or not at all."""
    table = Table()
    said: dict[ProcessRef, set[str]] = {}
    for number, (what, *rest) in enumerate(operations):
        time = (3 + 7 * number) * S
        match what, rest:
            case "exec", [process, size, cgroup, late]:
                name = f"{process.pid}-{process.execs}-{process.start}"
                said.setdefault(process, set()).add(f"/bin/{name}")
                table.of.executed(process, image(name, size), time, cgroup, told_late=late)
            case "fork", [child, parent]:
                said.setdefault(child, set()).update(said.get(parent, ()))
                table.of.forked(ForkRecord(child, parent))
            case "exit", [process]:
                table.of.exited(ExitRecord(time, 0, process))
            case _:
                table.of.forget(time)
        assert table.of.bytes <= table.memory
        for process, names in said.items():
            assert table.of.image(process).exe_path in {"", *names}
    for pid, start in itertools.product(range(1, 5), (S, 2 * S)):
        for execs in range(6):
            table.of.exited(ExitRecord(0, 0, ref(pid, execs, start)))
    table.of.forget(1 << 62)
    assert table.of.bytes == 0 or len(table.of) > 0
