"""Floods: matches that the kernel decides are counted, and no events of others are lost during a flood."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress

import pytest
from live_support.filter_rules import rules_of

from tiercel_agent.detection.detector import open_detector
from tiercel_agent.kernel.errors import DetectorError
from tiercel_agent.loss import Loss
from tiercel_engine.matching.matcher import Matcher
from tiercel_engine.matching.requirements import Requirements
from tiercel_engine.resources.node_agent import LossCause

RULES = {
    "decided": "fd.name = /tiercel-flood/decided",
    "decided elsewhere": "fd.name = /tiercel-flood/elsewhere",
    "asks": "fd.name = /tiercel-flood/asks and not user.name = nobody-of-that-name",
    "another that asks": "fd.name = /tiercel-flood/another and not user.name = nobody-of-that-name",
    "in two ways": "fd.name = /tiercel-flood/twice and (evt.is_open_read = true or not proc.name = nobody)",
    "end": "fd.name = /tiercel-flood/end",
}


class Flooded:
    """A detector, and how often each rule was reported, suppressed and lost."""

    def __init__(self, flood_limit):
        rules = rules_of(RULES)
        self.matcher = Matcher(rules)
        self.detector = open_detector(Requirements.of(rules), rules, flood_limit)
        self.reported = Counter()

    def take(self):
        for event in self.detector.poll(0.1):
            self.reported.update(rule.name for rule, _ in self.matcher.match(event))
            self.detector.evaluated(event)

    def until_end(self):
        while not self.reported["end"]:
            self.take()

    def suppressed(self):
        counts = Counter()
        for suppressed in self.detector.suppressed():
            counts[suppressed.rule] += suppressed.count
        return counts


@pytest.fixture
def flooded():
    opened = []

    def start(flood_limit=20):
        try:
            opened.append(Flooded(flood_limit))
        except DetectorError as error:
            pytest.skip(f"live tests need eBPF: {error}")
        return opened[-1]

    yield start
    for each in opened:
        each.detector.close()


def open_often(*names_and_counts):
    for name, count in names_and_counts:
        for _ in range(count):
            with suppress(OSError):
                os.close(os.open(f"/tiercel-flood/{name}", os.O_RDONLY))


def in_child(*names_and_counts):
    pid = os.fork()
    if pid == 0:
        open_often(*names_and_counts)
        os._exit(0)
    return pid


def test_every_match_of_a_flood_is_reported_or_counted(flooded):
    run = flooded(20)
    pid = in_child(("decided", 30_000), ("elsewhere", 3), ("end", 1))
    run.until_end()
    os.waitpid(pid, 0)
    suppressed = run.suppressed()
    assert run.reported["decided"] + suppressed["decided"] == 30_000
    assert run.reported["decided"] >= 20
    assert suppressed["decided"] > 1000  # the whole flood can't have taken the fifty seconds in which none would be
    assert run.reported["decided elsewhere"] == 3
    assert not run.detector.counters().lost


def test_a_match_in_two_ways_is_counted_once(flooded):
    run = flooded(20)
    pid = in_child(("twice", 5000), ("end", 1))
    run.until_end()
    os.waitpid(pid, 0)
    suppressed = run.suppressed()
    lost = run.detector.counters().lost
    assert lost.keys() <= {Loss(LossCause.RATE_LIMIT, rule="in two ways")}  # what a slow machine doesn't take in time
    assert run.reported["in two ways"] + suppressed["in two ways"] + sum(lost.values()) == 5000


def test_without_a_limit_every_match_is_reported(flooded):
    run = flooded(0)
    pid = in_child(("decided", 2000), ("end", 1))
    run.until_end()
    os.waitpid(pid, 0)
    assert (run.reported["decided"], run.suppressed()) == (2000, Counter())


def test_what_user_space_decides_is_not_suppressed(flooded):
    run = flooded(20)
    pid = in_child(("asks", 2000), ("end", 1))
    run.until_end()
    os.waitpid(pid, 0)
    assert (run.reported["asks"], run.suppressed()) == (2000, Counter())


def test_a_flood_that_nobody_reads_leaves_room_for_others_and_is_counted_by_rule(flooded):
    run = flooded(20)
    os.waitpid(in_child(("asks", 50_000), ("another", 1), ("decided", 1), ("end", 1)), 0)
    run.until_end()
    run.suppressed()
    lost = run.detector.counters().lost
    (loss,) = lost
    assert loss == Loss(LossCause.RATE_LIMIT, rule="asks")
    assert run.reported["asks"] + lost[loss] == 50_000
    assert run.reported["asks"] > 1000
    assert (run.reported["another that asks"], run.reported["decided"]) == (1, 1)


def test_calls_of_which_too_little_is_known_hide_no_match(flooded):
    """A name that is too long for the filter may match any rule."""
    run = flooded(20)
    os.waitpid(in_child(("x" * 200 + "/" + "y" * 200 + "/" + "z" * 200, 40_000), ("decided", 1), ("end", 1)), 0)
    run.until_end()
    assert not run.suppressed()
    assert run.reported["decided"] == 1
    assert set(run.detector.counters().lost) <= {Loss(LossCause.RATE_LIMIT)}


def test_the_events_of_the_old_rules_are_counted_after_a_change_too(flooded):
    run = flooded(20)
    pid = in_child(("decided", 5000))
    os.waitpid(pid, 0)
    rules = rules_of(RULES)
    for event in run.detector.update(Requirements.of(rules), rules):
        run.reported.update(rule.name for rule, _ in run.matcher.match(event))
    assert run.reported["decided"] + run.suppressed()["decided"] == 5000
