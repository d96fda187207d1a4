"""Patterns of one namespace don't make it unknown whether those of others hold."""

from __future__ import annotations

import random

import pytest
from engine_support.evaluation import atom, rule

from tiercel_agent.events.syscalls import BY_NAME
from tiercel_agent.filter.budget import FilterBudget
from tiercel_agent.filter.clauses import Clauses, make_clauses
from tiercel_agent.filter.name_automata import Names, name_automata
from tiercel_engine.condition import And, Node
from tiercel_engine.rule import Origin, Rule
from tiercel_engine.scope import Scope

OPENS = (BY_NAME["openat"],)
SYSTEM = [
    rule(condition, name=f"system {number}")
    for number, condition in enumerate(
        [atom("fd.name", "startswith", "/etc/app/"), atom("fd.name", "endswith", ".pem"), atom("fd.name", "=", "/a")]
    )
]
RANDOM = random.Random(1)
LONG_LIST = atom("fd.name", "in", *(f"/data/{RANDOM.getrandbits(64):016x}/{number}" for number in range(3000)))
INDEPENDENT = [atom("fd.name", "contains", letter) for letter in "abcdefghijklmnopqrstuvwxyz"]


def of(namespace: str, *conditions: Node) -> list[Rule]:
    scope = Scope(namespaces=frozenset({namespace}), pods=()).condition
    assert scope is not None
    return [
        rule(And((condition, scope)), name=f"r{number}", origin=Origin(namespace, "object"))
        for number, condition in enumerate(conditions)
    ]


def automata(rules: list[Rule], **budget: int) -> tuple[Clauses, Names, Names]:
    return name_automata(make_clauses(rules, OPENS), rules, FilterBudget(**budget))


@pytest.mark.parametrize("conditions", [[LONG_LIST], INDEPENDENT, [LONG_LIST, *INDEPENDENT]])
def test_every_name_has_an_answer_for_the_systems_rules(conditions: list[Node]) -> None:
    rules = [*SYSTEM, *of("shop", *conditions)]
    _, *without = automata(rules[: len(SYSTEM)])
    clauses, *names = automata(rules, states=20_000)
    for names_of, names_without in zip(names, without, strict=True):
        assert names_of.automaton.complete
        assert names_of.automaton.states == names_without.automaton.states
    assert clauses.over_budget == {"shop": tuple(f"shop/r{number}" for number in range(len(conditions)))}
    assert len(clauses.name_tests) == len(SYSTEM)


def test_namespaces_with_few_patterns_keep_them() -> None:
    small = of("small", atom("fd.name", "contains", "wallet"))
    clauses, _, floating = automata([*SYSTEM, *of("a-shop", *INDEPENDENT), *small])
    assert floating.automaton.complete
    assert clauses.over_budget.keys() == {"a-shop"}
    told_apart = {clauses.graph.parts[number] for held in floating.held if held for number in held}
    assert atom("fd.name", "contains", "wallet") in told_apart


def test_a_test_that_the_system_has_too_is_kept() -> None:
    shared = atom("fd.name", "contains", "a")
    system = [*SYSTEM, rule(shared, name="shared")]
    clauses, *_ = automata([*system, *of("shop", *INDEPENDENT)])
    assert len(clauses.name_tests) == len(system)
    assert "shop/r0" not in clauses.over_budget["shop"]


def test_a_long_list_has_one_candidate_set() -> None:
    _, begun, _ = automata([*SYSTEM, *of("shop", LONG_LIST)], states=100_000)
    assert begun.automaton.complete
    assert len(begun.held) < 10


def test_clauses_without_their_tests_of_names_are_not_taken_for_certain() -> None:
    rules = [*SYSTEM, *of("shop", *INDEPENDENT)]
    clauses, *_ = automata(rules)
    (partition,) = clauses.partitions
    assert {clause.exact for clause in partition.clauses if clause.rule < len(SYSTEM)} == {True}
    assert {clause.exact for clause in partition.clauses if clause.rule >= len(SYSTEM)} == {False}
    assert partition.signals.keys() & clauses.graph.reachable(partition.clauses[-1].parts)  # its scope is decided still
