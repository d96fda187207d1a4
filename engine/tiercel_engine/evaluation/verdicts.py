"""Which atoms of a graph hold for an event, and which are undecided, because values are known only in part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tiercel_engine.condition import Atom
from tiercel_engine.evaluation.codegen import Program, compile_program
from tiercel_engine.evaluation.graph import Graph
from tiercel_engine.evaluation.uncertainty import bounds
from tiercel_engine.event import Event
from tiercel_engine.regexes import REGEXES, Regexes


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Numbers of atoms; all others don't hold."""

    holding: frozenset[int]
    undecided: frozenset[int]

    def __or__(self, other: Verdicts) -> Verdicts:
        """Those on the atoms of both."""
        return Verdicts(self.holding | other.holding, self.undecided | other.undecided)


def compile_verdicts(graph: Graph, atoms: Sequence[int], regexes: Regexes = REGEXES) -> Callable[[Event], Verdicts]:
    """A function that gives the verdicts on these atoms, whose patterns are some of ``regexes``. What is needed for
    undecided ones is made when it is first needed."""
    exact = compile_program(graph, [(atom, atom) for atom in atoms], regexes)
    bounded: list[Program] = []

    def verdicts(event: Event) -> Verdicts:
        holding = frozenset(exact(event))
        if not event.uncertain:
            return Verdicts(holding, frozenset())
        if not bounded:
            bounded.extend(_bounded(graph, atoms, regexes))
        certain, possible = (frozenset(program(event)) for program in bounded)
        return Verdicts(certain, possible - certain)

    return verdicts


def _bounded(graph: Graph, atoms: Sequence[int], regexes: Regexes) -> tuple[Program, Program]:
    parts = [part for atom in atoms if isinstance(part := graph.parts[atom], Atom)]
    own = Graph()
    numbers = [(own.add(low), own.add(high)) for low, high in bounds(parts)]
    lower = [(atom, low) for atom, (low, _) in zip(atoms, numbers, strict=True)]
    upper = [(atom, high) for atom, (_, high) in zip(atoms, numbers, strict=True)]
    return compile_program(own, lower, regexes, bounded=True), compile_program(own, upper, regexes, bounded=True)
