"""Measures how large a condition is with its macros expanded, without expanding them."""

from __future__ import annotations

from tiercel_engine.condition import And, Atom, Node, Not, Or

MAX_SIZE = 1_000_000
"""The most nodes of a condition, and the most constants. Those of a macro count each time that it is named."""
MAX_DEPTH = 500
"""The most levels of and, or and not, including those in macros."""


def measure(root: Node) -> tuple[int, int]:
    """The size and depth of a condition. Every size above MAX_SIZE is given as ``MAX_SIZE + 1``.

    The time is linear in the number of distinct nodes: shared nodes are measured once and counted each time.
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
