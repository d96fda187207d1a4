"""The automata of names, and which tests of rules hold for the names that end at each accept number.

All rules share two automata, and an automaton has a bounded number of states. Where the patterns of all rules need
more, those of the system's rules come first, then those of the namespaces that have the fewest. Tests of the others are
left to user space. So nobody's patterns make it unknown whether those of the system's rules hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from tiercel_agent.filter.automaton import UNKNOWN, Automaton, Pattern, build
from tiercel_agent.filter.budget import BUDGET, FilterBudget
from tiercel_agent.filter.clauses import Clauses, Partition
from tiercel_agent.filter.name_tests import UNCLEAN, NameTest
from tiercel_engine.evaluation.graph import Graph
from tiercel_engine.matching.owners import SYSTEM, namespace_of
from tiercel_engine.rule import Rule

UNCLEAN_MARK = 1 << 31  # bpf/automaton.h


@dataclass(frozen=True, slots=True)
class Names:
    """An automaton of names. ``held`` has by accept number the atoms that may hold, None where that isn't known.
    ``accepts`` has by state its accept number, with ``UNCLEAN_MARK`` where the name isn't clean."""

    automaton: Automaton
    held: Sequence[frozenset[int] | None]
    accepts: Sequence[int]

    @classmethod
    def of(cls, tests: Mapping[int, NameTest], budget: FilterBudget, *, floating: bool) -> Names:
        """The automaton for those of these tests, by atom, that float, or for those that don't."""
        patterns: dict[Pattern, int] = {}
        if floating:
            patterns.update((pattern, number) for number, pattern in enumerate(UNCLEAN))
        atoms_of: dict[int, list[int]] = {}
        for atom, test in tests.items():
            if test.floats is floating:
                for pattern in test.patterns:
                    atoms_of.setdefault(patterns.setdefault(pattern, len(patterns)), []).append(atom)
        most = budget.states
        if floating:
            most = min(most, budget.floating_states + 2 * sum(map(_length, patterns)))
        automaton = build(tuple(patterns), most_states=most)
        marks = [
            UNCLEAN_MARK if floating and accepted is not None and not accepted.isdisjoint(range(len(UNCLEAN))) else 0
            for accepted in automaton.accept_sets
        ]
        # Patterns of the same tests aren't told apart: a list of names has one accept number, however long it is.
        numbers: dict[frozenset[int] | None, int] = {None: UNKNOWN}
        number_of = [
            UNKNOWN
            if accepted is None
            else numbers.setdefault(
                frozenset(atom for pattern in accepted for atom in atoms_of.get(pattern, ())), len(numbers)
            )
            for accepted in automaton.accept_sets
        ]
        return cls(automaton, tuple(numbers), [number_of[each] | marks[each] for each in automaton.accepts])


def name_automata(
    clauses: Clauses, rules: Sequence[Rule], budget: FilterBudget = BUDGET
) -> tuple[Clauses, Names, Names]:
    """The clauses, without tests of names that there is no room for, and the automata of those that are left: of names
    that begin with a literal, and of the others. ``rules`` are those that the clauses were made of."""
    begun, floating = (Names.of(clauses.name_tests, budget, floating=floats) for floats in (False, True))
    if begun.automaton.complete and floating.automaton.complete:
        return clauses, begun, floating
    askers = _askers(clauses)
    namespaces = {atom: {namespace_of(rules[rule]) for rule in asking} for atom, asking in askers.items()}
    left: set[int] = set()
    if not begun.automaton.complete:
        begun, more = _fitting(clauses.name_tests, namespaces, budget, floating=False)
        left |= more
    if not floating.automaton.complete:
        floating, more = _fitting(clauses.name_tests, namespaces, budget, floating=True)
        left |= more
    concerned = sorted({rule for atom in left for rule in askers[atom]})
    return _without(clauses, left, [rules[position] for position in concerned]), begun, floating


def _length(pattern: Pattern) -> int:
    return sum(len(part) for part in pattern.elements if isinstance(part, bytes))


def _askers(clauses: Clauses) -> dict[int, set[int]]:
    """By test of a name: the positions of the rules that have it."""
    askers: dict[int, set[int]] = {}
    for partition in clauses.partitions:
        for clause in partition.clauses:
            for atom in clauses.graph.reachable(clause.parts) & clauses.name_tests.keys():
                askers.setdefault(atom, set()).add(clause.rule)
    return askers


def _fitting(
    tests: Mapping[int, NameTest], namespaces: Mapping[int, Set[str]], budget: FilterBudget, *, floating: bool
) -> tuple[Names, set[int]]:
    """The automaton of the tests that fit, and the tests that don't. The system's stay in any case."""
    alike = {atom: test for atom, test in tests.items() if test.floats is floating}
    lengths: dict[str, int] = {}
    for atom, test in alike.items():
        for namespace in namespaces[atom]:
            lengths[namespace] = lengths.get(namespace, 0) + sum(1 + _length(pattern) for pattern in test.patterns)
    lengths.pop(SYSTEM, None)
    order = sorted(lengths, key=lambda namespace: (lengths[namespace], namespace))

    def of_first(count: int) -> Names:
        kept = {SYSTEM, *order[:count]}
        tests_kept = {atom: test for atom, test in alike.items() if not kept.isdisjoint(namespaces[atom])}
        return Names.of(tests_kept, budget, floating=floating)

    fits, too_many = 0, len(order)
    names = of_first(fits)
    while names.automaton.complete and too_many - fits > 1:
        middle = (fits + too_many) // 2
        tried = of_first(middle)
        if tried.automaton.complete:
            fits, names = middle, tried
        else:
            too_many = middle
    kept = {SYSTEM, *order[:fits]}
    return names, {atom for atom in alike if kept.isdisjoint(namespaces[atom])}


def _without(clauses: Clauses, atoms: Set[int], rules: Iterable[Rule]) -> Clauses:
    """The clauses, with these tests of names, which are those of these rules, left to user space."""
    over_budget = {namespace: dict.fromkeys(keys) for namespace, keys in clauses.over_budget.items()}
    for rule in rules:
        over_budget.setdefault(namespace_of(rule), {})[rule.key] = None
    return replace(
        clauses,
        partitions=tuple(_partition_without(clauses.graph, partition, atoms) for partition in clauses.partitions),
        name_tests={atom: test for atom, test in clauses.name_tests.items() if atom not in atoms},
        over_budget={namespace: tuple(keys) for namespace, keys in sorted(over_budget.items())},
    )


def _partition_without(graph: Graph, partition: Partition, atoms: Set[int]) -> Partition:
    return replace(
        partition,
        clauses=tuple(
            replace(clause, exact=False)
            if clause.exact and not atoms.isdisjoint(graph.reachable(clause.parts))
            else clause
            for clause in partition.clauses
        ),
        signals={atom: signal for atom, signal in partition.signals.items() if atom not in atoms},
    )
