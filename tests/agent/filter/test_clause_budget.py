"""However many rules tenants have, the clauses of others stay, and nothing is passed on for processes outside of the
pods of who has too many."""

from __future__ import annotations

from collections import Counter

import pytest
from engine_support.evaluation import atom, rule
from hypothesis import given
from hypothesis import strategies as st

from tiercel_agent.events.syscalls import BY_NAME
from tiercel_agent.filter.budget import BUDGET, FilterBudget, fair_shares
from tiercel_agent.filter.clauses import Clauses, make_clauses
from tiercel_agent.filter.cutter import Clause
from tiercel_engine.condition import And, Node, Or
from tiercel_engine.matching.owners import namespace_of
from tiercel_engine.rule import Origin, Rule
from tiercel_engine.scope import Scope

OPENS = (BY_NAME["openat"],)
SYSTEM = [
    rule(And((atom("evt.type", "=", "openat"), atom("fd.name", "=", f"/etc/{n}"))), name=f"system {n}")
    for n in range(5)
]


def tenants(namespace: str, count: int, condition: Node | None = None) -> list[Rule]:
    """Rules of one namespace, each of which becomes 16 clauses unless there is another condition."""
    scope = Scope(namespaces=frozenset({namespace}), pods=()).condition
    assert scope is not None
    return [
        rule(
            And((atom("evt.type", "=", "openat"), condition or multiplied(f"{namespace}{n}"), scope)),
            name=f"r{n}",
            origin=Origin(namespace, "many"),
        )
        for n in range(count)
    ]


def multiplied(word: str) -> Node:
    pairs = (
        Or((atom(*one, f"{word}-{n}"), atom(*other, f"{word}-{n}")))
        for n in range(2)
        for one, other in (
            (("fd.name", "="), ("proc.name", "=")),
            (("evt.arg.flags", "="), ("proc.pname", "=")),
        )
    )
    return And(tuple(pairs))


def by_namespace(clauses: Clauses, rules: list[Rule]) -> Counter[str]:
    (partition,) = clauses.partitions
    return Counter(namespace_of(rules[each.rule]) for each in partition.clauses if each.rule >= 0)


def of_several(clauses: Clauses) -> list[Clause]:
    (partition,) = clauses.partitions
    return [clause for clause in partition.clauses if clause.rule < 0]


def test_a_namespace_with_too_many_rules_costs_its_own_pods() -> None:
    rules = [*SYSTEM, *tenants("shop", 300), *tenants("bank", 10)]
    clauses = make_clauses(rules, OPENS)
    (partition,) = clauses.partitions
    assert len(partition.clauses) <= BUDGET.shared
    assert by_namespace(clauses, rules) == {"": 5, "shop": BUDGET.namespace, "bank": 160}
    assert clauses.left_out == ()
    assert {name: len(keys) for name, keys in clauses.over_budget.items()} == {"shop": 300 - BUDGET.namespace}
    (wide,) = of_several(clauses)
    (scope,) = wide.parts
    assert clauses.graph.parts[scope] == atom("k8s.ns.name", "in", "shop")


def test_conditions_are_taken_whole_before_they_are_given_up() -> None:
    rules = tenants("shop", 200)
    clauses = make_clauses(rules, OPENS)
    assert (clauses.over_budget, of_several(clauses)) == ({}, [])
    assert by_namespace(clauses, rules) == {"shop": 200}


@pytest.mark.parametrize(("namespaces", "each"), [(40, 10), (400, 1), (400, 3)])
def test_all_fit_however_many_namespaces_there_are(namespaces: int, each: int) -> None:
    budget = FilterBudget(shared=300, system=100)
    names = [f"ns-{n:04}" for n in range(namespaces)]
    rules = [*SYSTEM, *(one for name in names for one in tenants(name, each))]
    clauses = make_clauses(rules, OPENS, budget)
    (partition,) = clauses.partitions
    counts = by_namespace(clauses, rules)
    assert len(partition.clauses) <= budget.shared
    assert counts[""] == 5
    assert all(clause.parts for clause in partition.clauses)
    assert clauses.over_budget.keys() | {name for name in names if counts[name]} == set(names)
    room = budget.for_namespaces(5)
    assert min(counts[name] for name in names) >= min(each, room // namespaces)


def test_who_asks_for_little_loses_nothing_to_who_asks_for_much() -> None:
    little = tenants("little", 1)
    budget = FilterBudget(shared=120, system=20)
    rules = [*SYSTEM, *little, *(one for n in range(5) for one in tenants(f"much-{n}", 100))]
    clauses = make_clauses(rules, OPENS, budget)
    assert by_namespace(clauses, rules)["little"] == 16
    assert "little" not in clauses.over_budget


def test_the_systems_rules_have_a_budget_that_no_tenant_takes() -> None:
    budget = FilterBudget(shared=64, system=40)
    system = [
        rule(And((atom("evt.type", "=", "openat"), atom("fd.name", "=", f"/{n}"))), name=f"s{n}") for n in range(40)
    ]
    rules = [*(one for n in range(50) for one in tenants(f"a{n}", 10)), *system]
    clauses = make_clauses(rules, OPENS, budget)
    assert by_namespace(clauses, rules)[""] == 40
    assert clauses.left_out == ()


def test_rules_of_the_system_beyond_its_budget_are_left_to_user_space() -> None:
    clauses = make_clauses([*SYSTEM, *tenants("shop", 3)], OPENS, FilterBudget(system=4))
    assert clauses.left_out == ("system 4",)
    assert Clause(-1, (), False) in of_several(clauses)


def test_only_the_calls_that_are_asked_for_are_widened() -> None:
    """A namespace that has too many rules for one kind of call keeps those for another."""
    scope = Scope(namespaces=frozenset({"shop"}), pods=()).condition
    assert scope is not None
    unlink = And((atom("evt.type", "=", "unlink"), atom("proc.name", "=", "x"), scope))
    rules = [*tenants("shop", 300), rule(unlink, name="other", origin=Origin("shop", "other"))]
    clauses = make_clauses(rules)
    (of_unlink,) = [each for each in clauses.partitions if BY_NAME["unlink"] in each.calls]
    assert [clause.rule for clause in of_unlink.clauses] == [300]
    assert "shop/other" not in clauses.over_budget["shop"]


def test_large_conditions_cost_more_of_the_budget() -> None:
    several = Or(tuple(And((atom("fd.name", "=", f"/{n}"), atom("proc.name", "=", f"{n}"))) for n in range(200)))
    budget = FilterBudget(namespace=20, parts=100)
    assert not make_clauses(tenants("shop", 20, atom("proc.name", "=", "x")), OPENS, budget).over_budget
    wide = atom("proc.name", "in", *map(str, range(1000)))
    assert len(make_clauses(tenants("shop", 20, wide), OPENS, budget).over_budget["shop"]) == 19
    rules = [one for n in range(20) for one in tenants("shop", 1, And((several, atom("proc.exe", "=", f"{n}"))))]
    clauses = make_clauses(rules, OPENS, budget)
    assert by_namespace(clauses, rules)["shop"] < 20
    assert clauses.over_budget


def test_a_condition_that_multiplies_out_does_not_do_so() -> None:
    """It has 2 to the power of 50 alternatives, and as many places where its parts are named."""
    nested: Node = Or((atom("fd.name", "=", "/a"), atom("proc.name", "=", "a")))
    for n in range(50):
        names = (atom("fd.name", "=", f"/{n}"), atom("proc.name", "=", f"{n}"))
        nested = And((Or((nested, names[0])), Or((nested, names[1]))))
    (partition,) = make_clauses([rule(nested)], OPENS).partitions
    assert 0 < len(partition.clauses) <= 16


NEEDS = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 300))


@given(NEEDS, st.integers(0, 600))
def test_shares_are_fair(needs: dict[str, int], room: int) -> None:
    shares = fair_shares(needs, room)
    assert shares.keys() == needs.keys()
    assert all(0 <= shares[name] <= need for name, need in needs.items())
    assert sum(shares.values()) == min(room, sum(needs.values()))
    cut = [share for name, share in shares.items() if share < needs[name]]
    assert not cut or max(shares.values()) <= min(cut) + 1
    assert shares == fair_shares(dict(reversed(needs.items())), room)
