"""What is said where the kernel has refused a part: which rules that concerns, once, and in bounded words."""

from __future__ import annotations

from live_support.watching import rule_set

from tiercel_agent.detection.partial import ReportedParts, describe, partial_alert, unwatched
from tiercel_agent.detection.source import Concerned, Unwatched
from tiercel_engine.priority import Priority

WHY = "kernel 5.10.0 refuses the program message (Invalid argument; unknown func foo#9)"


def rules(**conditions: str):
    return rule_set(
        "".join(
            f"- rule: {name}\n  desc: d\n  condition: {condition}\n  output: o\n  priority: INFO\n"
            for name, condition in conditions.items()
        )
    )


def parts(missing: dict[str, str], **conditions: str) -> tuple[Unwatched, ...]:
    loaded = rules(**conditions)
    return unwatched(missing, loaded.rules, loaded.requirements.event_types)


def test_rules_are_named_with_how_much_they_miss():
    (part,) = parts(
        {"message": WHY},
        all="evt.type in (sendto, recvfrom)",
        some="evt.type in (sendto, openat, connect)",
        none="evt.type = openat",
    )
    assert part.rules == (Concerned("all", 2, 2), Concerned("some", 1, 3))
    assert describe(part) == (
        f"{WHY}: sendto, recvfrom can't be seen; rules concerned: 'all' (2 of its 2 event types), "
        "'some' (1 of its 3 event types)"
    )


def test_a_rule_for_every_type_misses_some_of_them():
    (part,) = parts({"message": WHY}, every="proc.name = x")
    (concerned,) = part.rules
    assert (concerned.missing, concerned.types > 60) == (6, True)


def test_an_exec_that_succeeds_is_seen_without_the_program_of_those_that_fail():
    (part,) = parts({"exec_failed": WHY}, spawned="evt.type in (execve, execveat)")
    start = f"{WHY}: execve, execveat can't be seen where they fail; rules concerned: 'spawned' ("
    assert describe(part).startswith(start)


def test_the_end_of_processes_is_told_by_a_program_of_its_own():
    assert parts({"plain": WHY}, ended="evt.type = procexit") == ()


def test_what_nobody_asks_for_is_left_out_but_not_what_all_depend_on():
    assert [part.part for part in parts({"message": "m", "on_rename": "r"}, file="evt.type = openat")] == ["on_rename"]
    assert parts({"on_rename": "why"}, file="evt.type = openat")[0].rules == ()


def test_a_thousand_rules_are_counted_and_the_first_named():
    (part,) = parts({"message": WHY}, **{f"r{number}": "evt.type = sendto" for number in range(1000)})
    told = describe(part)
    assert told.endswith("'r9' (1 of its 1 event types) and 990 more")
    alert = partial_alert([part], "node-1", 1)
    assert alert.output == f"This kernel doesn't let everything be watched: {told}"
    assert str(alert.output_fields["unwatched.rules"]).endswith("r98, r99 and 900 more")
    assert len(alert.output_fields) == 3


def test_the_alert_is_critical_where_rules_miss_something():
    lost = Unwatched("message", WHY, "", ("sendto",), (Concerned("shop/r", 1, 2),))
    dear = Unwatched("on_rename", "why", "more calls come", (), ())
    assert partial_alert([dear], "node-1", 1).priority is Priority.WARNING
    alert = partial_alert([lost, dear], "node-1", 1)
    assert (alert.priority, alert.source, alert.hostname, alert.time) == (Priority.CRITICAL, "internal", "node-1", 1)
    assert alert.output_fields == {
        "unwatched.parts": "message, on_rename",
        "unwatched.calls": "sendto",
        "unwatched.rules": "shop/r",
    }


def test_each_part_is_told_once_and_again_for_a_rule_that_comes_later():
    told = ReportedParts()
    one = Unwatched("message", WHY, "", ("sendto",), (Concerned("a", 1, 1),))
    two = Unwatched("message", WHY, "", ("sendto",), (Concerned("a", 1, 1), Concerned("b", 1, 1)))
    assert told.news([]) == []
    assert told.news([one]) == [one]
    assert told.news([one]) == []
    assert told.news([two]) == [two]
    assert told.news([one]) == [], "a rule that goes is no news"
    assert told.news([two]) == [two]
