"""Which clauses the values of some signals leave as candidates: the sets that the kernel intersects (bpf/decide.h)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from cachetools import LRUCache

from tiercel_agent.filter.clauses import Clauses, Partition
from tiercel_agent.filter.decidability import Signal
from tiercel_engine.condition import Atom
from tiercel_engine.evaluation.graph import Graph, Negation

_MOST_KNOWN = 64
"""Sets that are kept, by what holds. Processes of the same programs have the same sets, and computing one takes most of
the time that a new process costs."""

Value = bool | None
"""The value of a condition; None where it is undecided."""


class CandidateSets:
    """The candidate sets of one partition by some signals.

    A set is computed only for the clauses of which a test holds. All others come out the same each time, and are
    computed once.
    """

    def __init__(self, clauses: Clauses, partition: Partition, signals: Collection[Signal]) -> None:
        self._clauses = clauses
        self._partition = partition
        self._atoms = frozenset(atom for atom, signal in partition.signals.items() if signal in signals)
        self._orders: dict[int, list[int]] = {}
        self._bits_of: dict[int, list[int]] = {}
        self._where_none_holds = 0
        self._known: LRUCache[tuple[frozenset[int], frozenset[int]], int] = LRUCache(_MOST_KNOWN)
        for bit, clause in enumerate(partition.clauses):
            order = sorted(clauses.graph.reachable(clause.parts))
            touched = [number for number in order if number in self._atoms]
            for atom in touched:
                self._bits_of.setdefault(atom, []).append(bit)
            if touched:
                self._orders[bit] = order
            if not touched or self._is_candidate(bit, frozenset()):
                self._where_none_holds |= 1 << bit

    def of(self, holding: Iterable[int], undecided: Iterable[int] = ()) -> int:
        """The candidate set, as an integer's bits, where of the signals' atoms these hold, these are undecided, since
        values are known only in part, and the others don't hold."""
        key = self._atoms.intersection(holding), self._atoms.intersection(undecided)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._computed(*key)
        return known

    def _computed(self, held: frozenset[int], open_: frozenset[int]) -> int:
        candidates = self._where_none_holds
        for bit in {bit for atom in held | open_ for bit in self._bits_of.get(atom, ())}:
            if self._is_candidate(bit, held, open_):
                candidates |= 1 << bit
            else:
                candidates &= ~(1 << bit)
        return candidates

    def _is_candidate(self, bit: int, held: frozenset[int], undecided: frozenset[int] = frozenset()) -> bool:
        values = evaluate(
            self._clauses.graph,
            self._orders[bit],
            lambda atom: None if atom in undecided else self._atom(atom, held),
        )
        return all(values[part] is not False for part in self._partition.clauses[bit].parts)

    def _atom(self, atom: int, held: frozenset[int]) -> Value:
        if atom not in self._atoms:
            return None
        test = self._clauses.name_tests.get(atom)
        if test is None:
            return atom in held
        value: Value = atom in held
        if value and not test.exact:
            value = None
        return value if value is None or not test.negated else not value


def evaluate(graph: Graph, order: Iterable[int], atom: Callable[[int], Value]) -> dict[int, Value]:
    """The values of nodes by Kleene's three-valued logic. ``order`` has operands before what they are operands of."""
    values: dict[int, Value] = {}
    for number in order:
        part = graph.parts[number]
        if isinstance(part, bool):
            values[number] = part
        elif isinstance(part, Atom):
            values[number] = atom(number)
        elif isinstance(part, Negation):
            value = values[part.operand]
            values[number] = None if value is None else not value
        else:
            below = [values[operand] for operand in part.operands]
            decisive = not part.is_and
            values[number] = decisive if decisive in below else None if None in below else part.is_and
    return values


def to_words(candidates: int, count: int) -> list[int]:
    """A candidate set as so many words of 64 bits, the lowest bits first."""
    return [candidates >> 64 * word & 0xFFFF_FFFF_FFFF_FFFF for word in range(count)]
