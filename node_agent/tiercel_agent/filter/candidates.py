"""Which clauses a look leaves possible: the rows that the kernel joins (bpf/decide.h)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from tiercel_agent.filter.clauses import Clauses, Space
from tiercel_agent.filter.decidability import Look
from tiercel_engine.condition import Atom
from tiercel_engine.evaluation.graph import Graph, Negation

Value = bool | None
"""Of a condition: None is undecided."""


class Possible:
    """Of one space and some looks: what of its clauses they leave, by the atoms that hold.

    Work is done for those clauses only of which an atom holds; for the others it has been done once.
    """

    def __init__(self, clauses: Clauses, space: Space, looks: Collection[Look]) -> None:
        self._clauses = clauses
        self._space = space
        self._atoms = frozenset(atom for atom, look in space.looks.items() if look in looks)
        self._orders: dict[int, list[int]] = {}
        self._bits_of: dict[int, list[int]] = {}
        self._none = 0
        for bit, clause in enumerate(space.clauses):
            order = sorted(clauses.graph.reachable(clause.parts))
            touched = [number for number in order if number in self._atoms]
            for atom in touched:
                self._bits_of.setdefault(atom, []).append(bit)
            if touched:
                self._orders[bit] = order
            if not touched or self._is_possible(bit, frozenset()):
                self._none |= 1 << bit

    def row(self, holding: Iterable[int]) -> int:
        """The clauses that are possible where these atoms hold and the looks' others don't, as a bit set."""
        held = self._atoms.intersection(holding)
        row = self._none
        for bit in {bit for atom in held for bit in self._bits_of.get(atom, ())}:
            if self._is_possible(bit, held):
                row |= 1 << bit
            else:
                row &= ~(1 << bit)
        return row

    def _is_possible(self, bit: int, held: frozenset[int]) -> bool:
        values = evaluate(self._clauses.graph, self._orders[bit], lambda atom: self._atom(atom, held))
        return all(values[part] is not False for part in self._space.clauses[bit].parts)

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
    """The values of nodes, given bottom-up, by Kleene's logic."""
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


def words(row: int, count: int) -> list[int]:
    """A bit set as so many words of 64 bits."""
    return [row >> 64 * word & 0xFFFF_FFFF_FFFF_FFFF for word in range(count)]
