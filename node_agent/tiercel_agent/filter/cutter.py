"""A rule's condition cut into clauses: conjunctions of parts, each of which one signal of the kernel decides, as far as
possible.

``a and (b or c)`` is the clauses ``a and b``, ``a and c`` if ``b`` and ``c`` are decided by different signals. Where
that would make more clauses than allowed, it stays one clause, which the kernel rules out less often. The number is
known before anything is multiplied out, so that time and memory are bounded whatever the condition is.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, product

from tiercel_agent.filter.decidability import NAME_SIGNALS, DecidableFields, Signal
from tiercel_agent.filter.name_tests import name_test
from tiercel_engine.condition import Atom, ListConstants
from tiercel_engine.evaluation.graph import TRUE, Graph, Junction, Negation

_DEEPEST = 60
_MOST_PARTS = 2000
"""Conditions of more nodes than this aren't cut: they are one clause."""

Alternatives = Sequence[tuple[int, ...]]
"""A disjunction of conjunctions of nodes."""


@dataclass(frozen=True, slots=True)
class Clause:
    """A conjunction: it holds if all of ``parts`` do, which are nodes of the graph. ``rule`` is the rule's position; it
    is -1 for a clause of several rules.

    ``exact``: it is decided by ``signals`` alone, provided that their values are known.
    """

    rule: int
    parts: tuple[int, ...]
    exact: bool
    signals: frozenset[Signal] = frozenset()


class Cutter:
    """Cuts conditions by what is decidable for one kind of call. ``most``: how many clauses one rule may become."""

    def __init__(self, graph: Graph, decidable: DecidableFields, most: int) -> None:
        self._graph = graph
        self._decidable = decidable
        self._most = most
        self._signals: dict[int, Signal | None] = {}
        self._under: dict[int, frozenset[Signal | None]] = {}
        self._exact: dict[int, bool] = {}
        self._cut: dict[int, Alternatives] = {}

    def clauses(self, rule: int, root: int) -> list[Clause]:
        """The clauses of one rule, whose condition is ``root``."""
        if next(islice(self._nodes(root), _MOST_PARTS, None), None) is not None:
            return [Clause(rule, (root,), False)]
        clauses = []
        for parts in self._alternatives(root):
            whole = tuple(part for part in parts if part != TRUE)
            exact = all(len(self._signals_under(part)) == 1 and self._is_exact(part) for part in whole)
            signals = frozenset(signal for part in whole for signal in self._signals_under(part) if signal is not None)
            clauses.append(Clause(rule, whole, exact, signals))
        return clauses

    def size(self, root: int, most: int) -> int:
        """How many nodes a condition has, and constants of its own that these compare with; ``most + 1`` if there are
        more than ``most``. Those of long lists are shared by all conditions, and don't count."""
        size = 0
        for node in self._nodes(root):
            part = self._graph.parts[node]
            size += 1
            if isinstance(part, Atom) and isinstance(part.right, tuple) and not isinstance(part.right, ListConstants):
                size += len(part.right)
            if size > most:
                return most + 1
        return size

    def _nodes(self, root: int) -> Iterator[int]:
        """The node and all nodes that it is made of, as far as they are asked for."""
        reached = {root}
        stack = [root]
        while stack:
            node = stack.pop()
            yield node
            new = {operand for operand in self._graph.operands(node) if operand not in reached}
            reached |= new
            stack += new

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
        for number in self._new(node, self._under):
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
        for number in self._new(node, self._exact):
            part = self._graph.parts[number]
            below = (self._exact[operand] for operand in self._graph.operands(number))
            self._exact[number] = self._is_exact_atom(number, part) if isinstance(part, Atom) else all(below)
        return self._exact[node]

    def _new(self, node: int, known: Container[int]) -> list[int]:
        """The node and all nodes that it is made of, as far as they aren't known, in ascending order. What a known node
        is made of is known too."""
        found = {node} if node not in known else set[int]()
        stack = list(found)
        while stack:
            new = {operand for operand in self._graph.operands(stack.pop()) if operand not in known} - found
            found |= new
            stack += new
        return sorted(found)

    def _is_exact_atom(self, number: int, atom: Atom) -> bool:
        signal = self._signal(number)
        if signal in (None, Signal.RAW_NAME, Signal.RAW_FLOATING_NAME):  # raw names aren't always read
            return False
        test = name_test(atom) if signal in NAME_SIGNALS else None
        return signal not in NAME_SIGNALS or (test is not None and test.exact)

    def _alternatives(self, node: int, depth: int = 0) -> Alternatives:
        """The node as a disjunction of conjunctions, as far as that separates signals and makes no more clauses than
        allowed. A node that several others are made of is cut once."""
        if node not in self._cut:
            self._cut[node] = self._cut_node(node, depth)
        return self._cut[node]

    def _cut_node(self, node: int, depth: int) -> Alternatives:
        whole = [(node,)]
        if len(self._signals_under(node)) < 2 or depth > _DEEPEST:
            return whole
        is_and, operands = self._junction(node)
        if not operands:
            return whole
        if not is_and:
            operands = self._by_signal(operands)
            if len(operands) > self._most:
                return whole
        below = [self._alternatives(operand, depth + 1) for operand in operands]
        if not is_and:
            return whole if sum(map(len, below)) > self._most else [parts for each in below for parts in each]
        factors: list[Alternatives] = []
        size = 1
        for operand, alternatives in sorted(zip(operands, below, strict=True), key=lambda pair: len(pair[1])):
            fits = size * len(alternatives) <= self._most
            size *= len(alternatives) if fits else 1
            factors.append(alternatives if fits else [(operand,)])
        return [tuple(dict.fromkeys(chain.from_iterable(chosen))) for chosen in product(*factors)]

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
