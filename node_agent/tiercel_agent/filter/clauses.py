"""Rules cut into clauses: conjunctions of parts, each of which one signal of the kernel decides, as far as possible.

``a and (b or c)`` is the clauses ``a and b``, ``a and c`` if ``b`` and ``c`` are decided by different signals. Where
that would make too many clauses, it stays one clause, which the kernel rules out less often. Kinds of calls to which
the same parts of rules apply share a partition, a range of clause numbers.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tiercel_agent.events.syscalls import SYSCALLS, Syscall, known_numbers
from tiercel_agent.filter.decidability import NAME_SIGNALS, DecidableFields, Signal, decidable_fields
from tiercel_agent.filter.name_tests import NameTest, name_test
from tiercel_engine.condition import Atom
from tiercel_engine.evaluation.graph import FALSE, TRUE, Graph, Junction, Negation
from tiercel_engine.evaluation.operators import compile_test
from tiercel_engine.matching.requirements import tests_event_type
from tiercel_engine.rule import Rule

MOST_CLAUSES = 64 * 64
"""In a partition (MAX_WORDS of bpf/decide.h)."""
_MOST_OF_A_RULE = 16
_DEEPEST = 60
_MOST_PARTS = 2000
"""Conditions of more nodes than this aren't cut, and the kernel decides nothing of them but the type of the event."""


@dataclass(frozen=True, slots=True)
class Clause:
    """A conjunction: it holds if all of ``parts`` do, which are nodes of the graph. ``rule`` is the rule's position.

    ``exact``: it is decided by ``signals`` alone, provided that their values are known.
    """

    rule: int
    parts: tuple[int, ...]
    exact: bool
    signals: frozenset[Signal] = frozenset()


@dataclass(frozen=True, eq=False)
class Partition:
    """The clauses of all rules for some kinds of calls. ``signals`` has the signal that decides each decidable atom."""

    calls: tuple[Syscall, ...]
    decidable: DecidableFields
    clauses: tuple[Clause, ...]
    signals: Mapping[int, Signal]

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
    """All rules as clauses. ``left_out`` are the keys of the rules for which the kernel's tables had no room: calls
    that they ask for always go to user space."""

    graph: Graph
    partitions: tuple[Partition, ...]
    name_tests: Mapping[int, NameTest]
    """By atom, for the atoms that the name of a file decides, as it is or as it was passed."""
    left_out: tuple[str, ...]


def make_clauses(rules: Sequence[Rule], calls: Sequence[Syscall] = SYSCALLS) -> Clauses:
    """The clauses of these rules for these calls. Calls that no rule can match belong to no partition."""
    graph = Graph()
    roots = [graph.add(rule.condition) for rule in rules]
    types = [
        (number, compile_test(part))
        for number, part in enumerate(graph.parts)
        if isinstance(part, Atom) and tests_event_type(part)
    ]
    alike: dict[tuple[tuple[tuple[int, int], ...], DecidableFields], list[Syscall]] = {}
    for call in calls:
        folded = graph.fold(roots, {number: test(call.name) for number, test in types})
        left = tuple((rule, folded[root]) for rule, root in enumerate(roots) if folded[root] != FALSE)
        if left:
            alike.setdefault((left, decidable_fields(call)), []).append(call)
    partitions = []
    left_out: dict[str, None] = {}
    for (left, decidable), of_partition in alike.items():
        cutter = _Cutter(graph, decidable)
        clauses: list[Clause] = []
        for rule, root in left:
            of_rule = cutter.clauses(rule, root)
            if len(clauses) + len(of_rule) >= MOST_CLAUSES:
                left_out[rules[rule].key] = None
            else:
                clauses += of_rule
        if left_out:
            clauses.append(Clause(-1, (), False))
        partitions.append(Partition(tuple(of_partition), decidable, tuple(clauses), cutter.signals_of(clauses)))
    tests: dict[int, NameTest] = {}
    for partition in partitions:
        for atom, signal in partition.signals.items():
            if signal in NAME_SIGNALS and atom not in tests:
                part = graph.parts[atom]
                assert isinstance(part, Atom)
                test = name_test(part)
                assert test is not None
                tests[atom] = test
    return Clauses(graph, tuple(partitions), tests, tuple(left_out))


class _Cutter:
    """Cuts conditions by what is decidable for one kind of call."""

    def __init__(self, graph: Graph, decidable: DecidableFields) -> None:
        self._graph = graph
        self._decidable = decidable
        self._signals: dict[int, Signal | None] = {}
        self._under: dict[int, frozenset[Signal | None]] = {}

    def clauses(self, rule: int, root: int) -> list[Clause]:
        """The clauses of one rule, whose condition is ``root``."""
        if len(self._graph.reachable([root])) > _MOST_PARTS:
            return [Clause(rule, (root,), False)]
        clauses = []
        for parts in self._alternatives(root):
            whole = tuple(dict.fromkeys(part for part in parts if part != TRUE))
            exact = all(len(self._signals_under(part)) == 1 and self._is_exact(part) for part in whole)
            signals = frozenset(signal for part in whole for signal in self._signals_under(part) if signal is not None)
            clauses.append(Clause(rule, whole, exact, signals))
        return clauses

    def signals_of(self, clauses: Sequence[Clause]) -> dict[int, Signal]:
        """The decidable atoms of these clauses, with the signal that decides each."""
        reachable = self._graph.reachable(part for clause in clauses for part in clause.parts)
        return {
            number: signal
            for number in reachable
            if isinstance(self._graph.parts[number], Atom) and (signal := self._signal(number)) is not None
        }

    def _signal(self, number: int) -> Signal | None:
        if number not in self._signals:
            part = self._graph.parts[number]
            assert isinstance(part, Atom)
            self._signals[number] = self._decidable.signal_for(part)
        return self._signals[number]

    def _signals_under(self, node: int) -> frozenset[Signal | None]:
        if node not in self._under:
            for number in sorted(self._graph.reachable([node])):
                if number in self._under:
                    continue
                part = self._graph.parts[number]
                if isinstance(part, Atom):
                    # the two signals of a process have one candidate set in the kernel
                    signal = self._signal(number)
                    self._under[number] = frozenset({Signal.PROCESS if signal is Signal.OWN else signal})
                else:
                    below = [self._under[operand] for operand in self._graph.operands(number)]
                    self._under[number] = frozenset[Signal | None]().union(*below)
        return self._under[node]

    def _is_exact(self, node: int) -> bool:
        for number in self._graph.reachable([node]):
            part = self._graph.parts[number]
            if isinstance(part, Atom):
                signal = self._signal(number)
                if signal in (None, Signal.RAW_NAME, Signal.RAW_FLOATING_NAME):  # raw names aren't always read
                    return False
                if signal in NAME_SIGNALS:
                    test = name_test(part)
                    if test is None or not test.exact:
                        return False
        return True

    def _alternatives(self, node: int, depth: int = 0) -> list[tuple[int, ...]]:
        """The node as a disjunction of conjunctions, as far as that separates signals and makes no more clauses than
        allowed."""
        if len(self._signals_under(node)) < 2 or depth > _DEEPEST:
            return [(node,)]
        is_and, operands = self._junction(node)
        if not operands:
            return [(node,)]
        if not is_and:
            operands = self._by_signal(operands)
        below = [self._alternatives(operand, depth + 1) for operand in operands]
        if not is_and:
            together = [parts for alternatives in below for parts in alternatives]
            return together if len(together) <= _MOST_OF_A_RULE else [(node,)]
        product: list[tuple[int, ...]] = [()]
        for operand, alternatives in sorted(zip(operands, below, strict=True), key=lambda pair: len(pair[1])):
            fits = len(product) * len(alternatives) <= _MOST_OF_A_RULE
            product = [(*parts, *more) for parts in product for more in (alternatives if fits else [(operand,)])]
        return product

    def _by_signal(self, operands: Sequence[int]) -> tuple[int, ...]:
        """The operands of an ``or``, with all that the same signal decides joined to one."""
        groups: dict[object, list[int]] = {}
        for operand in operands:
            signals = self._signals_under(operand)
            groups.setdefault(signals if len(signals) == 1 else operand, []).append(operand)
        return tuple(self._graph.join(False, members) for members in groups.values())

    def _junction(self, node: int) -> tuple[bool, tuple[int, ...]]:
        """Whether the node is an ``and``, and its operands. ``not (a and b)`` is taken as ``not a or not b``."""
        part = self._graph.parts[node]
        if isinstance(part, Junction):
            return part.is_and, part.operands
        if isinstance(part, Negation):
            inner = self._graph.parts[part.operand]
            if isinstance(inner, Junction):
                return not inner.is_and, tuple(self._graph.negation(operand) for operand in inner.operands)
        return True, ()
