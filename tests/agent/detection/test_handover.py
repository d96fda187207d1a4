"""Both sets of programs see an event: it counts once."""

from __future__ import annotations

from types import SimpleNamespace

from tiercel_agent.detection.handover import Handover
from tiercel_agent.kernel.records import Section

INSTANT = 1_000_000_000


class Header(tuple):
    """The members of a record's header that matter: type, time, tid, and result and arguments at 4 to 10."""

    type = property(lambda self: self[1])
    time = property(lambda self: self[3])
    tid = property(lambda self: self[11])


def event(time, tid=7, result=3, path=b"/a", filtered=b""):
    header = Header((0, 257, 0, INSTANT + time, result, 1, 2, 3, 4, 5, 6, tid))
    sections = {Section.PATH_0: (0, path), Section.FILTER: (0, filtered)}
    return SimpleNamespace(record=SimpleNamespace(header=header, sections=sections))


def counted(old, new):
    handover = Handover(old, INSTANT)
    return [one for one in new if handover.counts(one)]


def test_what_was_before_counts_for_the_old_and_what_comes_after_for_the_new():
    after = event(50)
    assert counted([event(-100)], [event(-99), after]) == [after]


def test_an_event_that_straddles_the_instant_counts_once():
    assert counted([event(-1, filtered=b"x")], [event(1, filtered=b"y")]) == []


def test_the_next_event_of_the_thread_is_another_one():
    following = event(40)
    assert counted([event(-1)], [event(1), following]) == [following]


def test_an_equal_event_is_another_one_if_the_new_programs_saw_both():
    later = event(30)
    assert counted([event(-20)], [event(-19), later]) == [later]


def test_other_threads_results_and_files_are_other_events():
    others = [event(1, tid=8), event(1, tid=7, result=4), event(2, tid=9, path=b"/b")]
    assert counted([event(-1), event(-1, tid=9)], others) == others


def test_what_comes_much_later_is_no_straddler():
    later = event(20_000_000)
    assert counted([event(-1)], [later]) == [later]
