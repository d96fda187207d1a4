"""Walks over a typed condition that neither recurse nor visit a shared node twice."""

from __future__ import annotations

from collections.abc import Iterator

from tiercel_engine.condition import And, Atom, FieldOperand, Node, Not, Operand, Or, Transformed


def children(node: Node) -> tuple[Node, ...]:
    """The operands of a node."""
    match node:
        case And(operands) | Or(operands):
            return operands
        case Not(operand):
            return (operand,)
        case Atom():
            return ()


def postorder(root: Node) -> Iterator[Node]:
    """Every node of the condition once (by identity), each after its operands."""
    seen: set[int] = set()
    stack: list[tuple[Node, bool]] = [(root, False)]
    while stack:
        node, ready = stack.pop()
        if ready:
            yield node
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((child, False) for child in reversed(children(node)))


def field_operands(operand: Operand) -> Iterator[FieldOperand]:
    """The fields that an operand reads. Recursion is bounded: the parser allows about 100 nested transformers."""
    if isinstance(operand, FieldOperand):
        yield operand
    elif isinstance(operand, Transformed):
        for inner in operand.operands:
            yield from field_operands(inner)


def atom_fields(atom: Atom) -> Iterator[FieldOperand]:
    """The fields that an atom reads on both sides."""
    yield from field_operands(atom.left)
    if not isinstance(atom.right, tuple):
        yield from field_operands(atom.right)
