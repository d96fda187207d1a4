"""Conditions of which only some tests are decided: whether a rule may still match."""

from __future__ import annotations

from collections.abc import Sequence

from tiercel_engine.condition import Atom
from tiercel_engine.evaluation.codegen import Program, compile_program
from tiercel_engine.evaluation.graph import FALSE, Graph, Junction, Negation
from tiercel_engine.event import Event


class Possibilities:
    """Of one type of call: the nodes of its rules' conditions, bottom-up.

    ``decided`` are the atoms whose value is taken from the event; all others are undecided, and a rule whose value is
    undecided may match.
    """

    def __init__(self, graph: Graph, roots: Sequence[int], decided: frozenset[int]) -> None:
        self._roots = [root for root in roots if root != FALSE]
        reachable = sorted(graph.reachable(self._roots))
        self._parts = [(number, graph.parts[number]) for number in reachable]
        atoms = [number for number, part in self._parts if isinstance(part, Atom) and number in decided]
        self.decides = bool(atoms)
        self._decided = frozenset(atoms)
        self._holding: Program = compile_program(graph, [(number, number) for number in atoms])

    def may_match(self, event: Event) -> bool:
        """Whether any rule can match an event that is like this one in what is decided."""
        holding = set(self._holding(event))
        values: dict[int, bool | None] = {}
        for number, part in self._parts:
            if isinstance(part, bool):
                values[number] = part
            elif isinstance(part, Atom):
                values[number] = number in holding if number in self._decided else None
            elif isinstance(part, Negation):
                value = values[part.operand]
                values[number] = None if value is None else not value
            else:
                values[number] = _joined(part, values)
        return any(values[root] is not False for root in self._roots)


def _joined(part: Junction, values: dict[int, bool | None]) -> bool | None:
    """Kleene's and, or."""
    decisive = not part.is_and
    undecided = False
    for operand in part.operands:
        value = values[operand]
        if value is decisive:
            return decisive
        undecided = undecided or value is None
    return None if undecided else part.is_and
