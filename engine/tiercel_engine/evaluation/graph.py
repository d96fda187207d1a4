"""The conditions of many rules as one graph without duplicates, in which known values can be folded away.

A node is a number. Equal nodes of different rules are one node. Operands have smaller numbers than the nodes that are
made of them, so ascending order is bottom-up order, and no recursion is needed.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from tiercel_engine.condition import (
    And,
    Atom,
    Constant,
    FieldOperand,
    ListConstants,
    Literal,
    Node,
    Not,
    Operand,
    Operator,
    Or,
    Quantifier,
)
from tiercel_engine.evaluation.walk import postorder
from tiercel_engine.fields.model import Multiplicity

FALSE, TRUE = 0, 1


@dataclass(frozen=True, slots=True)
class Junction:
    """An ``and`` or an ``or`` of nodes."""

    is_and: bool
    operands: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Negation:
    operand: int


Part = bool | Atom | Junction | Negation


def operand_key(operand: Operand) -> Hashable:
    """A key that is equal for two operands if they have the same value for every event."""
    if isinstance(operand, FieldOperand):
        return operand.key
    if isinstance(operand, Literal):
        return type(operand.value), operand.value
    return operand.name, *(operand_key(inner) for inner in operand.operands)


def _atom_key(atom: Atom) -> Hashable:
    right: Hashable
    if isinstance(atom.right, ListConstants):  # the atom keeps it, so that its id isn't used again
        right = ListConstants, id(atom.right)
    elif isinstance(atom.right, tuple):
        right = tuple((type(constant), constant) for constant in atom.right)
    else:
        right = operand_key(atom.right)
    return operand_key(atom.left), atom.operator, right, atom.quantifier, atom.undecided


class Graph:
    """The graph. ``parts[n]`` is the content of node n."""

    def __init__(self) -> None:
        self.parts: list[Part] = [False, True]
        self._numbers: dict[Hashable, int] = {}
        # Shared nodes (macros) are visited once, by identity. Keeping the nodes keeps their ids from being reused.
        self._seen: dict[int, tuple[Node, int]] = {}

    def add(self, root: Node) -> int:
        """Adds a condition. Returns the number of its node."""
        for node in postorder(root):
            if id(node) in self._seen:
                continue
            match node:
                case Atom():
                    number = self._intern(("atom", _atom_key(node)), node)
                case Not(operand):
                    number = self.negation(self._seen[id(operand)][1])
                case And(operands):
                    number = self.join(True, (self._seen[id(operand)][1] for operand in operands))
                case Or(operands):
                    number = self.join(False, (self._seen[id(operand)][1] for operand in operands))
            self._seen[id(node)] = node, number
        return self._seen[id(root)][1]

    def fold(self, roots: Iterable[int], known: Mapping[int, bool]) -> dict[int, int]:
        """Constant folding: for each node that the roots reach, the node that is left when some values are known.

        ``known`` has the values of atoms, by node.
        """
        folded: dict[int, int] = {}
        for number in sorted(self.reachable(roots)):
            part = self.parts[number]
            if number in known:
                folded[number] = TRUE if known[number] else FALSE
            elif isinstance(part, Negation):
                folded[number] = self.negation(folded[part.operand])
            elif isinstance(part, Junction):
                folded[number] = self.join(part.is_and, (folded[operand] for operand in part.operands))
            else:
                folded[number] = number
        return folded

    def reachable(self, roots: Iterable[int]) -> set[int]:
        """The roots, and all nodes that they are made of."""
        reached: set[int] = set()
        stack = list(roots)
        while stack:
            number = stack.pop()
            if number not in reached:
                reached.add(number)
                stack.extend(self.operands(number))
        return reached

    def operands(self, number: int) -> tuple[int, ...]:
        """The operands of a node; none for atoms and constants."""
        part = self.parts[number]
        if isinstance(part, Junction):
            return part.operands
        return (part.operand,) if isinstance(part, Negation) else ()

    def _intern(self, key: Hashable, part: Part) -> int:
        number = self._numbers.setdefault(key, len(self.parts))
        if number == len(self.parts):
            self.parts.append(part)
        return number

    def negation(self, operand: int) -> int:
        """The node that holds if the operand does not."""
        part = self.parts[operand]
        if isinstance(part, bool):
            return FALSE if part else TRUE
        return part.operand if isinstance(part, Negation) else self._intern(("not", operand), Negation(operand))

    def join(self, is_and: bool, operands: Iterable[int]) -> int:
        """The node of a conjunction (``is_and``) or disjunction."""
        neutral, decisive = (TRUE, FALSE) if is_and else (FALSE, TRUE)
        kept = [operand for operand in dict.fromkeys(operands) if operand != neutral]
        if decisive in kept:
            return decisive
        if len(kept) > 1:
            kept = self._merge(is_and, kept)
        if len(kept) < 2:
            return kept[0] if kept else neutral
        return self._intern((is_and, *kept), Junction(is_and, tuple(kept)))

    def _merge(self, is_and: bool, operands: list[int]) -> list[int]:
        """The operands, with comparisons of the same field merged into one test.

        ``a = x or a in (y, z)`` becomes one test of one set, and so does ``not a = x and not a = y``.
        """
        groups: dict[Hashable, list[int]] = {}
        for operand in operands:
            part = self.parts[operand]
            if is_and:
                part = self.parts[part.operand] if isinstance(part, Negation) else False
            merging = _MERGING.get(part.operator) if isinstance(part, Atom) and _is_mergeable(part) else None
            key = (merging, operand_key(part.left), part.undecided) if merging and isinstance(part, Atom) else operand
            groups.setdefault(key, []).append(operand)
        return [self._merged(is_and, members) for members in groups.values()]

    def _merged(self, is_and: bool, members: list[int]) -> int:
        if len(members) == 1:
            return members[0]
        atoms = [
            self.parts[operand] for number in members for operand in (self.operands(number) if is_and else (number,))
        ]
        constants: dict[Hashable, Constant] = {}
        for atom in atoms:
            assert isinstance(atom, Atom)
            assert isinstance(atom.right, tuple)
            constants.update(((type(constant), constant), constant) for constant in atom.right)
        first = atoms[0]
        assert isinstance(first, Atom)
        merged = replace(first, right=tuple(constants.values()), **_MERGING[first.operator]._asdict())
        number = self._intern(("atom", _atom_key(merged)), merged)
        return self.negation(number) if is_and else number


class _Merging(NamedTuple):
    """The operator and quantifier of a merged test, which tests for several constants at once."""

    operator: Operator
    quantifier: Quantifier | None


_MERGING = {
    Operator.EQ: _Merging(Operator.IN, None),
    Operator.IN: _Merging(Operator.IN, None),
    Operator.STARTSWITH: _Merging(Operator.STARTSWITH, Quantifier.ANY_OF),
    Operator.ENDSWITH: _Merging(Operator.ENDSWITH, Quantifier.ANY_OF),
}


def _is_mergeable(atom: Atom) -> bool:
    """Whether the atom holds as soon as it holds for one of its constants (not so for ``in`` with a LIST field), and
    these are its own: a list is shared, and would be copied."""
    return (
        isinstance(atom.right, tuple)
        and not isinstance(atom.right, ListConstants)
        and (atom.quantifier in (None, Quantifier.ANY_OF) or len(atom.right) == 1)
        and atom.left.multiplicity is not Multiplicity.LIST
    )
