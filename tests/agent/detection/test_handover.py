"""Both sets of programs see an event: it counts once."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tiercel_agent.detection.handover import Handover
from tiercel_agent.kernel.records import EXEC, ProcessRef, Section

INSTANT = 1_000_000_000
SETTLED = INSTANT + 50_000_000


class Header(tuple):
    """The members of a record's header that matter: type, time, tid, and result and arguments at 4 to 10."""

    type = property(lambda self: self[1])
    time = property(lambda self: self[3])
    tid = property(lambda self: self[11])


def event(time, tid=7, result=3, path=b"/a", type_=257, start=5, arguments=(1, 2, 3, 4, 5, 6), **sections):
    header = Header((0, type_, 0, INSTANT + time, result, *arguments, tid))
    all_sections = {Section.PATH_0: (0, path), **{getattr(Section, kind): (0, each) for kind, each in sections.items()}}
    return SimpleNamespace(
        record=SimpleNamespace(header=header, process=ProcessRef(start, 7, 1, b"sh"), sections=all_sections)
    )


def counted(old, new):
    handover = Handover(old, INSTANT, SETTLED)
    return [one for one in new if handover.counts(one)]


def test_what_was_before_counts_for_the_old_and_what_comes_after_for_the_new():
    after = event(50)
    assert counted([event(-100), event(49)], [event(-99), after]) == [after]


def test_an_event_that_straddles_the_instant_counts_once():
    assert counted([event(-1, FILTER=b"x")], [event(1, FILTER=b"y")]) == []


def test_it_counts_once_however_long_the_processor_was_taken_away_in_between():
    assert counted([event(-20_000_000)], [event(20_000_000)]) == []


@pytest.mark.parametrize(
    ("ours", "theirs"), [({}, {"CWD": b"/"}), ({"DATA": b"x"}, {}), ({"CWD": b"/"}, {"ENV": b"A=1"})]
)
def test_it_counts_once_though_other_rules_ask_for_other_parts_of_it(ours, theirs):
    assert counted([event(-1, **ours)], [event(1, **theirs)]) == []


def test_it_counts_once_though_its_file_was_written_meanwhile():
    inode, other = (5).to_bytes(8, "little"), (6).to_bytes(8, "little")
    assert counted([event(-1, FILE=inode + b"then")], [event(1, FILE=inode + b"now.")]) == []
    another = event(1, FILE=other + b"then")
    assert counted([event(-1, FILE=inode + b"then")], [another]) == [another]


def test_an_exec_that_straddles_counts_once_though_it_has_no_arguments_of_a_call():
    assert counted([event(-1, type_=EXEC)], [event(1, type_=EXEC, arguments=(0, 9, 9, 9, 9, 9))]) == []


def test_the_next_event_of_the_thread_is_another_one():
    following = event(40)
    assert counted([event(-1), event(39)], [event(1), following]) == [following]


def test_an_equal_event_is_another_one_if_the_new_programs_saw_both():
    later = event(30)
    assert counted([event(-20), event(29)], [event(-19), later]) == [later]


def test_an_equal_event_is_another_one_if_the_new_programs_saw_only_that():
    """They weren't attached yet at the first one, or had no room for it."""
    later = event(30)
    assert counted([event(-20), event(29)], [later]) == [later]


def test_the_old_programs_records_may_be_read_in_any_order():
    """Those of execs come by a ring of their own."""
    assert counted([event(-1, type_=EXEC), event(-20)], [event(1, type_=EXEC)]) == []


def test_other_threads_processes_results_and_files_are_other_events():
    others = [event(1, tid=8), event(1, tid=7, result=4), event(2, tid=9, path=b"/b"), event(1, tid=10, start=6)]
    assert counted([event(-1), event(-1, tid=9), event(-1, tid=10)], others) == others


def test_what_comes_when_the_old_programs_had_ended_is_no_straddler():
    later = event(50_000_001)
    assert counted([event(-1)], [later]) == [later]
