"""All rules as clauses, within the budgets of their namespaces.

Kinds of calls to which the same parts of rules apply share a partition, a range of clause numbers. Where the rules of a
namespace have more clauses than it may have there, its conditions are first taken whole, one clause a rule. Rules that
are too many even then are widened: in place of their clauses there is one that holds for all processes in the pods
of such namespaces, so that their calls go to user space, and nobody else's do. Rules of the system may watch anything:
in place of those that are too many for its own budget, there is a clause that holds for all calls.

The clauses of the system's rules come first: so the kernel knows of a call whether it may concern them.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from tiercel_agent.events.syscalls import SYSCALLS, Syscall, known_numbers
from tiercel_agent.filter.budget import BUDGET, FilterBudget, fair_shares
from tiercel_agent.filter.cutter import Clause, Cutter
from tiercel_agent.filter.decidability import NAME_SIGNALS, DecidableFields, Signal, decidable_fields
from tiercel_agent.filter.name_tests import NameTest, name_test
from tiercel_engine.condition import Atom
from tiercel_engine.evaluation.graph import FALSE, Graph
from tiercel_engine.evaluation.operators import compile_test
from tiercel_engine.event_types import SYSCALL_EVENT_TYPES
from tiercel_engine.matching.owners import SYSTEM, namespace_of
from tiercel_engine.matching.requirements import named_event_types, tests_event_type
from tiercel_engine.rule import Rule
from tiercel_engine.scope import Scope

_MOST_OF_A_RULE = 16
"""Clauses of one rule in a partition."""

Conditions = tuple[tuple[int, int], ...]
"""Positions of rules, each with the node that is left of its condition for some calls."""


@dataclass(frozen=True, eq=False)
class Partition:
    """The clauses of all rules for some kinds of calls. ``signals`` has the signal that decides each decidable atom."""

    calls: tuple[Syscall, ...]
    decidable: DecidableFields
    clauses: tuple[Clause, ...]
    signals: Mapping[int, Signal]
    of_system: int
    """How many of the clauses, the first ones, are of the system's rules."""

    @cached_property
    def words(self) -> int:
        """The words of 64 bits that a candidate set of the partition has."""
        return -(-len(self.clauses) // 64)

    @cached_property
    def asks_for_names(self) -> bool:
        return not NAME_SIGNALS.isdisjoint(self.signals.values())

    @cached_property
    def asks_for_raw_names(self) -> bool:
        return not {Signal.RAW_NAME, Signal.RAW_FLOATING_NAME}.isdisjoint(self.signals.values())

    def numbers(self) -> list[int]:
        """The numbers by which the calls are known on this machine."""
        return [number for call in self.calls for number in known_numbers(call, platform.machine())]


@dataclass(frozen=True, slots=True)
class Clauses:
    """All rules as clauses."""

    graph: Graph
    namespaces: tuple[str, ...]
    """By the position of a rule, whose it is: ``SYSTEM``, or a namespace's."""
    partitions: tuple[Partition, ...]
    name_tests: Mapping[int, NameTest]
    """By atom, for the atoms that the name of a file decides, as it is or as it was passed."""
    left_out: tuple[str, ...]
    """The keys of the system's rules for which there was no room: calls that they ask for always go to user space."""
    over_budget: Mapping[str, tuple[str, ...]]
    """The same for the rules of other namespaces, by namespace: more calls of its pods go to user space."""


def make_clauses(rules: Sequence[Rule], calls: Sequence[Syscall] = SYSCALLS, budget: FilterBudget = BUDGET) -> Clauses:
    """The clauses of these rules for these calls. Calls that no rule can match belong to no partition."""
    graph = Graph()
    roots = [graph.add(rule.condition) for rule in rules]
    namespaces = tuple(map(namespace_of, rules))
    named = {position: named_event_types(rule.condition) for position, rule in enumerate(rules)}
    left_for = [
        _LeftConditions(
            graph, tuple((rule, root) for rule, root in enumerate(roots) if namespaces[rule] == namespace), named
        )
        for namespace in dict.fromkeys(namespaces)
    ]
    alike: dict[tuple[Conditions, DecidableFields], list[Syscall]] = {}
    of_parts: dict[tuple[Conditions, ...], Conditions] = {}
    for call in calls:
        parts = tuple(left.conditions(call) for left in left_for)
        if parts not in of_parts:
            of_parts[parts] = tuple(sorted(chain.from_iterable(parts)))
        conditions = of_parts[parts]
        if conditions:
            alike.setdefault((conditions, decidable_fields(call)), []).append(call)
    partitions = []
    left: dict[str, dict[str, None]] = {}
    for (conditions, decidable), of_partition in alike.items():
        cutters = tuple(Cutter(graph, decidable, most) for most in (_MOST_OF_A_RULE, 1))
        of_system, of_namespaces, too_many = _admitted(graph, cutters, rules, conditions, budget)
        clauses = (*of_system, *of_namespaces)
        signals = cutters[0].signals_of(clauses)
        partitions.append(Partition(tuple(of_partition), decidable, clauses, signals, len(of_system)))
        for namespace, positions in too_many.items():
            left.setdefault(namespace, {}).update(dict.fromkeys(rules[position].key for position in positions))
    over_budget = {namespace: tuple(keys) for namespace, keys in sorted(left.items())}
    tests = _name_tests(graph, partitions)
    return Clauses(graph, namespaces, tuple(partitions), tests, over_budget.pop(SYSTEM, ()), over_budget)


class _LeftConditions:
    """What is left of the conditions of one namespace's rules for calls of each type. Only types that these rules tell
    apart are looked at one by one: how many others name makes no difference."""

    def __init__(self, graph: Graph, conditions: Conditions, named: Mapping[int, frozenset[str]]) -> None:
        """``named`` has by the position of a rule the event types that it names."""
        self._graph = graph
        self._conditions = conditions
        self._named = named
        self._types = [
            (number, compile_test(part))
            for number in sorted(graph.reachable(root for _, root in conditions))
            if isinstance(part := graph.parts[number], Atom) and tests_event_type(part)
        ]
        self._known: dict[tuple[Conditions, tuple[bool, ...]], Conditions] = {}

    def conditions(self, call: Syscall) -> Conditions:
        asked = self._conditions
        if call.name not in SYSCALL_EVENT_TYPES:  # these are for rules that name them
            asked = tuple(each for each in asked if call.name in self._named[each[0]])
            if not asked:
                return ()
        results = tuple(test(call.name) for _, test in self._types)
        if (asked, results) not in self._known:
            known = dict(zip((number for number, _ in self._types), results, strict=True))
            folded = self._graph.fold([root for _, root in asked], known)
            self._known[asked, results] = tuple((rule, folded[root]) for rule, root in asked if folded[root] != FALSE)
        return self._known[asked, results]


def _name_tests(graph: Graph, partitions: Sequence[Partition]) -> dict[int, NameTest]:
    tests: dict[int, NameTest] = {}
    for partition in partitions:
        for atom, signal in partition.signals.items():
            if signal in NAME_SIGNALS and atom not in tests:
                part = graph.parts[atom]
                assert isinstance(part, Atom)
                test = name_test(part)
                assert test is not None
                tests[atom] = test
    return tests


def _admitted(
    graph: Graph, cutters: Sequence[Cutter], rules: Sequence[Rule], conditions: Conditions, budget: FilterBudget
) -> tuple[list[Clause], list[Clause], dict[str, list[int]]]:
    """The clauses of a partition, those of the system's rules and those of namespaces', with those of one rule behind
    each other; and by namespace, the positions of the rules that are too many."""
    by_namespace: dict[str, list[tuple[int, int]]] = {}
    for rule, root in conditions:
        by_namespace.setdefault(namespace_of(rules[rule]), []).append((rule, root))
    fitted = {SYSTEM: _fit(cutters, by_namespace.pop(SYSTEM, ()), budget.for_system, None)}
    room = budget.for_namespaces(len(fitted[SYSTEM].clauses))
    wanted = {name: _fit(cutters, each, budget.namespace, budget.parts) for name, each in by_namespace.items()}
    shares = fair_shares({name: fit.cost for name, fit in wanted.items()}, room)
    for name, fit in wanted.items():
        fits = fit.cost <= shares[name]
        fitted[name] = fit if fits else _fit(cutters, by_namespace[name], shares[name], budget.parts)
    too_many = {name: [rule for rule, _ in fit.left] for name, fit in fitted.items() if fit.left}
    of_system = _in_order(fitted.pop(SYSTEM).clauses)
    of_namespaces = _in_order(chain.from_iterable(fit.clauses for fit in fitted.values()))
    widened = frozenset(too_many) - {SYSTEM}
    if widened:
        inside = Scope(namespaces=widened, pods=()).condition
        assert inside is not None
        of_namespaces.append(Clause(-1, (graph.add(inside),), False))
    if SYSTEM in too_many:
        of_system.append(Clause(-1, (), False))
    return of_system, of_namespaces, too_many


def _in_order(clauses: Iterable[Clause]) -> list[Clause]:
    return sorted(clauses, key=lambda clause: clause.rule)


@dataclass(frozen=True, slots=True)
class _Fit:
    """The clauses of the first rules of a namespace, as many as fit, and what they cost. ``left`` are the others."""

    clauses: Sequence[Clause]
    cost: int
    left: Sequence[tuple[int, int]]


def _fit(cutters: Sequence[Cutter], conditions: Sequence[tuple[int, int]], most: int, parts: int | None) -> _Fit:
    """What fits into ``most`` clauses, cut by the first of the cutters by which all rules fit, else by the last. A
    clause counts as one for each ``parts`` parts of its rule's condition, if these are to count."""
    for cutter in cutters:
        clauses: list[Clause] = []
        cost = 0
        left: Sequence[tuple[int, int]] = ()
        for position, (rule, root) in enumerate(conditions):
            of_rule = cutter.clauses(rule, root)
            weight = 1 if parts is None else -(-cutter.size(root, parts * (most - cost)) // parts)
            if cost + len(of_rule) * weight > most:
                left = conditions[position:]
                break
            clauses += of_rule
            cost += len(of_rule) * weight
        if not left:
            break
    return _Fit(clauses, cost, left)
