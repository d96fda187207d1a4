"""Floods: matches that the kernel decides are counted, and no events of others are lost during a flood."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace

from live_support.filter_rules import rules_of
from live_support.flooded import FOLDER, RULES, child, in_child, open_often
from live_support.updating import update

from tiercel_agent.filter.rule_counters import SEVERAL_CGROUPS
from tiercel_engine.matching.matcher import Matcher
from tiercel_engine.matching.requirements import Requirements
from tiercel_engine.resources.node_agent import LossCause
from tiercel_engine.rule import Origin, Rule


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
    what = {(loss.cause, loss.rule) for loss in lost}
    assert what <= {(LossCause.RATE_LIMIT, "in two ways")}  # what a slow machine doesn't take in time
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
    assert (loss.cause, loss.rule) == (LossCause.RATE_LIMIT, "asks")
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
    assert {(loss.cause, loss.rule) for loss in run.lost()} == {(LossCause.RATE_LIMIT, "")}


def test_the_events_of_the_old_rules_are_counted_after_a_change_too(flooded):
    run = flooded(20)
    pid = in_child(("decided", 5000))
    os.waitpid(pid, 0)
    rules = rules_of(RULES)
    for event in update(run.detector, Requirements.of(rules), rules):
        run.reported.update(rule.name for rule, _ in run.matcher.match(event))
    assert run.reported["decided"] + run.suppressed()["decided"] == 5000


def test_in_a_flood_what_differs_is_reported_one_by_one(flooded):
    """An attacker who floods a rule with the same file hides none of the others that it opens meanwhile."""
    run = flooded(20)
    names = [f"folder/secret-{number}" for number in range(15)]  # fewer than the limit

    def attack() -> None:
        for name in names:
            open_often(("folder/cover", 1000), (name, 1))
        open_often(("end", 1))

    pid = child(attack)
    run.until_end()
    os.waitpid(pid, 0)
    told = Counter(str(event["fd.name"]) for event in run.events)
    assert {name for name in names if told[f"{FOLDER}/{name}"] != 1} == set()
    covers = told[f"{FOLDER}/folder/cover"]
    assert covers + run.suppressed()["decided of a folder"] == 15_000
    assert not run.lost()


def test_alerts_that_differ_are_bounded_too(flooded):
    run = flooded(20)
    pid = child(lambda: open_often(*((f"folder/{number}", 1) for number in range(20_000)), ("end", 1)))
    run.until_end()
    os.waitpid(pid, 0)
    reported = run.reported["decided of a folder"]
    assert reported + run.suppressed()["decided of a folder"] == 20_000
    assert 20 < reported < 10_000
    assert not run.lost()


def test_a_namespace_without_room_for_counters_takes_none_of_others(monkeypatch, flooded):
    """Where rules of a namespace have more counters than it may have, its matches are counted by rule; those of the
    system's rules go on being counted by rule and cgroup."""
    monkeypatch.setattr("tiercel_agent.filter.rule_counters._ROOM", 40)  # 20 of them for the namespace
    of_tenant = {f"tenant {number}": f"fd.name = {FOLDER}/tenant-{number}" for number in range(30)}
    origin = Origin("shop", "many")

    def rules() -> list[Rule]:
        made = rules_of({**of_tenant, "decided": RULES["decided"], "end": RULES["end"]})
        return [replace(rule, origin=origin) if rule.name in of_tenant else rule for rule in made]

    run = flooded(5, rules())
    run.matcher = Matcher([replace(rule, origin=None) for rule in rules()])  # it matches in the tenant's pods alone
    pid = in_child(*((f"tenant-{number}", 200) for number in range(30)), ("decided", 200), ("end", 1))
    run.until_end()
    os.waitpid(pid, 0)
    cgroups, counts = {}, Counter(run.reported)
    for each in run.detector.suppressed():
        cgroups.setdefault(each.rule.removeprefix("shop/"), set()).add(each.cgroup)
        counts[each.rule.removeprefix("shop/")] += each.count
    assert {counts[name] for name in (*of_tenant, "decided")} == {200}
    assert SEVERAL_CGROUPS not in cgroups["decided"]
    assert sum(SEVERAL_CGROUPS in cgroups[name] for name in of_tenant) == 10
