"""How large a condition is with its macros expanded, computed without expanding them."""

from __future__ import annotations

from tiercel_engine.condition import And, Atom, Node, Not, Or

MAX_SIZE = 1_000_000
"""Nodes of a condition, those of a macro counted for each time it is named; and constants, likewise."""
MAX_DEPTH = 500
"""Levels of and, or and not, macros included."""


def measure(root: Node) -> tuple[int, int]:
    """Size and depth of a condition; a size above MAX_SIZE is ``MAX_SIZE + 1``, however much above.

    Linear in the distinct nodes: shared ones are measured once and counted each time.
    """
    measured: dict[int, tuple[int, int]] = {}
    todo: list[tuple[Node, bool]] = [(root, False)]
    while todo:
        node, ready = todo.pop()
        if id(node) in measured:
            continue
        operands = _operands(node)
        if not ready:
            todo.append((node, True))
            todo += [(operand, False) for operand in operands]
            continue
        size, depth = 1, 1
        for operand in operands:
            inner_size, inner_depth = measured[id(operand)]
            size += inner_size
            depth = max(depth, inner_depth + 1)
        measured[id(node)] = min(size, MAX_SIZE + 1), depth
    return measured[id(root)]


def _operands(node: Node) -> tuple[Node, ...]:
    match node:
        case And(operands) | Or(operands):
            return operands
        case Not(operand):
            return (operand,)
        case Atom():
            return ()
