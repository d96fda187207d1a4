"""From events to rules: dispatch, views, order, what is read, and conditions of absurd size."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from engine_support.evaluation import atom, event, holds_for, rule
from engine_support.rules import STOCK_FOLDER, STOCK_SYSCALL

from tiercel_engine.condition import And, Node, Not, Or
from tiercel_engine.evaluation import codegen
from tiercel_engine.event import Event, Value
from tiercel_engine.event_types import SYSCALL_EVENT_TYPES
from tiercel_engine.matching import programs
from tiercel_engine.matching.matcher import Matcher
from tiercel_engine.matching.requirements import Requirements, event_types, fields
from tiercel_engine.regexes import OutOfTime
from tiercel_engine.rule import Origin, Rule
from tiercel_engine.rules import load, read_rules
from tiercel_engine.scope import Scope

OPENS = atom("evt.type", "in", "open", "openat")
CAT = atom("proc.name", "=", "cat")


def names(matcher: Matcher, made: Event) -> list[str]:
    return [matched.name for matched, _ in matcher.match(made)]


def test_all_rules_match_in_their_order_or_only_the_first() -> None:
    rules = [rule(CAT, "a"), rule(And((OPENS, CAT)), "b"), rule(Not(CAT), "c"), rule(CAT, "off", enabled=False)]
    made = event({"proc.name": "cat"})
    assert names(Matcher(rules), made) == ["a", "b"]
    assert names(Matcher(rules, first_only=True), made) == ["a"]
    assert names(Matcher(rules[::-1], first_only=True), made) == ["b"]
    assert names(Matcher([]), made) == []


def test_rules_see_events_of_their_own_source_only() -> None:
    matcher = Matcher([rule(CAT, "calls"), rule(CAT, "audit", source="k8s_audit")])
    assert names(matcher, event({"proc.name": "cat"}, source="k8s_audit")) == ["audit"]
    assert names(matcher, event({"proc.name": "cat"})) == ["calls"]
    assert names(matcher, event({"proc.name": "cat"}, source="unheard-of")) == []


@pytest.mark.parametrize("unknown", ["made_up", "", None, "open\n", "x" * 5000])
def test_events_of_unknown_type_are_still_evaluated(unknown: str | None) -> None:
    rules = [
        rule(CAT, "any type"),
        rule(And((CAT, OPENS)), "opens"),
        rule(And((CAT, Not(OPENS))), "all but opens"),
        rule(atom("evt.type", "startswith", "made"), "made"),
    ]
    expected = ["any type", "all but opens"] + (["made"] if unknown == "made_up" else [])
    assert names(Matcher(rules), event({"evt.type": unknown, "proc.name": "cat"})) == expected


def test_a_type_that_only_a_rule_knows() -> None:
    assert holds_for(atom("evt.type", "=", "made_up"), {"evt.type": "made_up"})
    assert not holds_for(atom("evt.type", "!=", "made_up"), {"evt.type": "made_up"})


def test_alternatives_on_a_list_are_not_one_set() -> None:
    either = Or((atom("fd.types", "in", "file"), atom("fd.types", "in", "ipv4")))
    assert not holds_for(either, {"fd.types": ["file", "ipv4"]})
    assert holds_for(either, {"fd.types": ["file", "file"]})


def test_every_ancestor_must_differ_from_one_of_the_names() -> None:
    condition = atom("proc.aname", "!=", "a", "b", quantifier="allof")
    assert not holds_for(condition, {"proc.aname": ["c", "a"]})
    assert holds_for(condition, {"proc.aname": ["c", "d"]})


# Views: a file under its two names


READS_SHADOW = And((OPENS, atom("fd.name", "=", "/etc/shadow"), Not(atom("fd.name", "startswith", "/tmp/ok/"))))


def test_an_alert_shows_the_name_that_matched() -> None:
    made = event({"fd.name": "/tmp/link", "fd.directory": "/tmp", "fd.filename": "link", "fd.realname": "/etc/shadow"})
    ((_, view),) = Matcher([rule(READS_SHADOW)]).match(made)
    assert (view["fd.name"], view["fd.directory"], view["fd.filename"]) == ("/etc/shadow", "/etc", "shadow")
    assert made["fd.name"] == "/tmp/link"


def test_an_exception_that_one_name_satisfies_excuses_nothing() -> None:
    made = event({"fd.name": "/tmp/ok/link", "fd.realname": "/etc/shadow"})
    assert len(Matcher([rule(READS_SHADOW)]).match(made)) == 1


def test_no_rule_mixes_both_names() -> None:
    both = And((atom("fd.name", "=", "/tmp/link"), atom("fd.filename", "=", "shadow")))
    made = event({"fd.name": "/tmp/link", "fd.filename": "link", "fd.realname": "/etc/shadow"})
    assert Matcher([rule(both)]).match(made) == []


def test_a_rule_that_matches_under_both_names_gives_one_alert_for_the_name_as_given() -> None:
    made = event({"fd.name": "/tmp/link", "fd.realname": "/etc/shadow"})
    ((_, view),) = Matcher([rule(OPENS)]).match(made)
    assert view["fd.name"] == "/tmp/link"


def test_the_first_rule_counts_under_whichever_name() -> None:
    rules = [rule(READS_SHADOW, "shadow"), rule(OPENS, "opens")]
    made = event({"fd.name": "/tmp/link", "fd.realname": "/etc/shadow"})
    assert names(Matcher(rules, first_only=True), made) == ["shadow"]
    assert names(Matcher(rules), made) == ["shadow", "opens"]


def test_names_of_renames_and_links() -> None:
    made = event(
        {
            "evt.type": "rename", "fs.path.source": "/tmp/l/a", "fs.path.target": "/tmp/b",
            "fs.path.realsource": "/etc/a", "fs.path.realtarget": "/etc/b",
        }
    )  # fmt: skip
    for key, real in (("fs.path.source", "/etc/a"), ("fs.path.target", "/etc/b")):
        assert len(Matcher([rule(atom(key, "=", real))]).match(made)) == 1
    assert [view["fs.path.name"] for view in made.views()] == [None, None]


def test_an_event_with_one_name_has_one_view() -> None:
    assert len(list(event({"fd.name": "/a"}).views())) == 1
    assert len(list(event({"fd.name": "/a", "fd.realname": "/a"}).views())) == 1
    assert len(list(event({"fd.name": "/a", "fd.realname": None}).views())) == 1


# What is read


class LazyEvent(Event):
    """An event that computes its values when asked, and counts."""

    __slots__ = ("computed", "known")

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__("syscall", 0)
        self.known = values
        self.computed: Counter[str] = Counter()

    def __missing__(self, key: str) -> Value | None:
        self.computed[key] += 1
        value: Value | None = self.known.get(key)
        self[key] = value
        return value


def test_fields_are_computed_once_and_only_if_needed() -> None:
    shared = And((atom("proc.name", "=", "cat"), atom("fd.name", "startswith", "/etc/")))
    rules = [
        rule(And((shared, atom("user.name", "=", "root"))), "a"),
        rule(And((shared, atom("proc.aname", "=", "sshd"))), "b"),
        rule(And((Not(shared), atom("proc.pname", "=", "x"))), "c"),
        rule(And((atom("evt.type", "=", "connect"), atom("fd.sip.name", "=", "x"))), "other type"),
    ]
    matcher = Matcher(rules)
    made = LazyEvent({"evt.type": "openat", "proc.name": "sh", "fd.name": "/etc/x"})
    assert names(matcher, made) == []
    assert made.computed == {"evt.type": 1, "proc.name": 1, "proc.pname": 1}
    made = LazyEvent({"evt.type": "openat", "proc.name": "cat", "fd.name": "/etc/x", "user.name": "root"})
    assert names(matcher, made) == ["a"]
    assert made.computed == dict.fromkeys(["evt.type", "proc.name", "fd.name", "user.name", "proc.aname"], 1)


# Absurd sizes


def test_a_condition_thousands_of_levels_deep() -> None:
    condition: Node = CAT
    for level in range(3000):
        other = atom("proc.pname", "!=", str(level))
        condition = (Not(condition), And((condition, other)), Or((condition, Not(other))))[level % 3]
    assert holds_for(condition, {"proc.name": "cat", "proc.pname": "x"}) is True
    assert holds_for(Not(condition), {"proc.name": "cat", "proc.pname": "x"}) is False


def test_macros_that_use_each_other_twice_stay_small() -> None:
    condition: Node = CAT
    for level in range(2000):
        left = Or((condition, atom("proc.name", "contains", f"no {level}")))
        right = Or((condition, atom("proc.pname", "contains", f"no {level}")))
        condition = And((left, right))
    matching = {"proc.name": "cat", "proc.pname": "x"}
    assert holds_for(condition, matching)
    assert not holds_for(condition, {**matching, "proc.name": "dog"})
    assert event_types(And((OPENS, condition)), "syscall") == {"open", "openat"}
    assert fields(condition) == {"proc.name", "proc.pname"}


def test_ten_thousand_alternatives() -> None:
    wide = Or(tuple(atom("proc.name", "contains", f"<{number}>") for number in range(10_000)))
    assert holds_for(wide, {"proc.name": "a <9999>"})
    assert not holds_for(wide, {"proc.name": "a <10000>"})


@pytest.mark.parametrize(
    ("width", "widest"), [(249, 250), (250, 250), (251, 250), (501, 250), (9, 3), (10, 3), (28, 3), (40, 3)]
)
def test_wide_conditions_are_evaluated_whole(width: int, widest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wider than one function takes, and than a function of functions takes."""
    monkeypatch.setattr(codegen, "_MAX_WIDTH", widest)
    rows = tuple(And((atom("proc.name", "=", f"p{n}"), atom("fd.name", "contains", f"/f{n}."))) for n in range(width))
    some_row = Or(rows)
    each_differs = And(tuple(Not(row) for row in rows))
    for number in (0, width // 2, width - 1, width):
        event_fields = {"proc.name": f"p{number}", "fd.name": f"/f{number}.x"}
        assert holds_for(some_row, event_fields) is (number < width)
        assert holds_for(each_differs, event_fields) is (number == width)


def test_constants_never_become_code() -> None:
    evil = "') or __import__('os').abort() or ('"
    for operator in ("=", "!=", "contains", "startswith", "in", "glob", "pmatch"):
        assert holds_for(atom("proc.name", operator, evil), {"proc.name": evil}) is (operator != "!=")
    key = "proc.env[\"'];abort();['\"]"
    assert holds_for(atom(key, "=", "x"), {key: "x"})


# What rules require


def test_event_types_of_conditions() -> None:
    assert event_types(OPENS, "syscall") == {"open", "openat"}
    assert event_types(CAT, "syscall") == SYSCALL_EVENT_TYPES
    assert event_types(Or((OPENS, CAT)), "syscall") == SYSCALL_EVENT_TYPES
    read = atom("evt.type", "=", "read")
    assert event_types(Or((read, CAT)), "syscall") == SYSCALL_EVENT_TYPES | {"read"}
    assert event_types(Not(read), "syscall") == SYSCALL_EVENT_TYPES
    assert event_types(atom("evt.type", "startswith", "pread"), "syscall") == {"pread", "preadv", "preadv2"}
    assert event_types(Or((And((OPENS, CAT)), atom("evt.type", "=", "connect"))), "syscall") == {
        "open",
        "openat",
        "connect",
    }
    assert event_types(Not(OPENS), "syscall") == SYSCALL_EVENT_TYPES - {"open", "openat"}
    assert event_types(And((OPENS, Not(atom("evt.type", "=", "open")))), "syscall") == {"openat"}
    assert event_types(And((OPENS, Not(And((OPENS, CAT))))), "syscall") == {"open", "openat"}
    assert event_types(atom("evt.type", "startswith", "exec"), "syscall") == {"execve", "execveat"}
    assert event_types(atom("evt.type", "in", "made_up", "open"), "syscall") == {"made_up", "open"}
    assert event_types(And((OPENS, atom("evt.type", "=", "connect"))), "syscall") == frozenset()
    assert event_types(atom("evt.type", "exists"), "syscall") == SYSCALL_EVENT_TYPES
    assert event_types(OPENS, "another source") == {"open", "openat"}


def test_requirements_of_rules() -> None:
    rules = [
        rule(And((OPENS, CAT)), output="%fd.name by %proc.aname[2]"),
        rule(And((atom("evt.type", "=", "connect"), atom("fd.sport", "=", 22))), output="%tolower(proc.pname)"),
        rule(atom("user.name", "exists"), enabled=False),
        rule(atom("proc.tty", "exists"), source="k8s_audit"),
    ]
    required = Requirements.of(rules)
    assert required.event_types == {"open", "openat", "connect"}
    assert required.condition_fields == {"evt.type", "proc.name", "fd.sport"}
    assert required.output_fields == {"fd.name", "proc.aname[2]", "proc.pname"}
    assert Requirements.of([*rules, rule(CAT)]).event_types == SYSCALL_EVENT_TYPES
    assert Requirements.of([]).event_types == frozenset()


@pytest.mark.stock
def test_stock_rules_match_what_they_are_for() -> None:
    files, problems = read_rules(STOCK_FOLDER / f"{name}.yaml" for name in STOCK_SYSCALL)
    if problems:
        pytest.skip("the stock Falco rule files are not beside the checkout")
    matcher = Matcher(load(files).rules)
    opened = {
        "evt.is_open_read": True, "fd.typechar": "f", "fd.num": 3, "evt.type": "openat", "proc.name": "cat",
        "proc.cmdline": "cat /etc/shadow", "proc.pname": "bash", "container.id": "host", "user.name": "root",
    }  # fmt: skip
    rule_name = "Read sensitive file untrusted"
    assert names(matcher, event({**opened, "fd.name": "/etc/shadow"})) == [rule_name]
    assert names(matcher, event({**opened, "fd.name": "/etc/hosts"})) == []
    assert names(matcher, event({**opened, "fd.name": "/tmp/x", "fd.realname": "/etc/shadow"})) == [rule_name]
    assert names(matcher, event({**opened, "fd.name": "/etc/shadow", "proc.name": "sshd"})) == []
    assert names(matcher, event({**opened, "fd.name": "/etc/shadow", "evt.type": "connect"})) == []


def of_namespace(namespace: str, condition: Node, name: str) -> Rule:
    scope = Scope(namespaces=frozenset({namespace}), pods=()).condition
    assert scope is not None
    return rule(And((scope, condition)), name, origin=Origin(namespace, "object"))


def test_the_systems_rules_come_first_and_a_namespaces_rules_see_its_own_pods_alone() -> None:
    rules = [
        of_namespace("bank", CAT, "bank's"),
        of_namespace("shop", CAT, "shop's"),
        rule(CAT, "system's", origin=Origin("tiercel-system", "object")),
        rule(CAT, "file's"),
    ]
    matcher, first = Matcher(rules), Matcher(rules, first_only=True)
    in_shop = event({"proc.name": "cat", "k8s.ns.name": "shop"})
    assert names(matcher, in_shop) == ["system's", "file's", "shop's"]
    assert names(first, in_shop) == ["system's"]
    assert names(matcher, event({"proc.name": "cat"})) == ["system's", "file's"]
    assert names(Matcher(rules[:2], first_only=True), in_shop) == ["shop's"]
    assert [matcher.namespace(event({"k8s.ns.name": name})) for name in ("shop", "other", None)] == ["shop", "", ""]


def test_evaluating_a_namespaces_rules_can_be_ended_between_and_within_rules() -> None:
    """By the number of programs, and by the text that patterns have read."""
    rules = [
        of_namespace("shop", Or(tuple(atom("proc.vpid", ">", 10 * n + m) for m in range(300))), f"r{n}")
        for n in range(20)
    ]
    matcher = Matcher(rules)
    made = event({"proc.vpid": 10_000, "k8s.ns.name": "shop"})
    looked = []

    def end_at(count: int) -> None:
        looked.append(1)
        if len(looked) == count:
            raise OutOfTime

    with matcher.looking("shop", lambda: end_at(3)):
        ended = matcher.match_namespace("shop", made)
    assert not ended.complete
    assert 0 < len(ended.found) < 20
    assert matcher.match_namespace("shop", made).complete

    slow = Matcher([of_namespace("shop", atom("proc.args", "regex", "[ab]*a[ab]{14}[ab]*c"), "slow")])
    looked.clear()
    long = event({"proc.args": "ab" * 100_000, "k8s.ns.name": "shop"})
    with slow.looking("shop", lambda: end_at(2)):
        assert not slow.match_namespace("shop", long).complete
    assert slow.match_namespace("shop", long).complete


def test_types_that_are_not_usual_are_for_rules_that_name_them() -> None:
    """Otherwise one rule on `read` would have all the others look at each read."""
    reads = rule(And((atom("evt.type", "in", "read", "open"), CAT)), "reads")
    matcher = Matcher([reads, rule(CAT, "any type"), rule(Not(atom("evt.type", "=", "open")), "no open")])
    cat = {"proc.name": "cat"}
    assert names(matcher, event({"evt.type": "read", **cat})) == ["reads"]
    assert names(matcher, event({"evt.type": "open", **cat})) == ["reads", "any type"]
    assert names(matcher, event({"evt.type": "close", **cat})) == ["any type", "no open"]
    assert names(matcher, event({"evt.type": "nanosleep", **cat})) == []


def test_many_types_and_many_rules_of_any_type_dont_multiply(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def note(graph: Any, conditions: Any, regexes: Any, *, bounded: bool) -> Any:
        made.append(len(graph.reachable(node for _, node in conditions)))
        return codegen.compile_program(graph, conditions, regexes, bounded=bounded)

    monkeypatch.setattr(programs, "compile_program", note)
    types = sorted(SYSCALL_EVENT_TYPES)
    rules = [
        of_namespace("shop", And((atom("evt.type", "=", name), atom("proc.name", "=", name))), name) for name in types
    ]
    rules += [of_namespace("shop", atom("proc.pid", ">", n), f"r{n}") for n in range(2000)]
    matcher = Matcher(rules)
    matcher.prepare(types)
    assert sum(made) < 2 * programs.MOST_WORK
    for name in types[::50]:
        matched = {"evt.type": name, "proc.name": name, "proc.pid": 3, "k8s.ns.name": "shop"}
        assert names(matcher, event(matched)) == [name, "r0", "r1", "r2"]
