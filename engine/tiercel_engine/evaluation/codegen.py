"""Python code for many conditions at once.

The generated function keeps what it has computed in a list ``s``, one slot a field and a node that
is used more than once: each is computed when it is first needed, and once. Nothing that a rule says
becomes part of the text: constants stand in the function's namespace under names like ``c12``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from tiercel_engine.condition import Atom, FieldOperand, Literal, Operand, Operator
from tiercel_engine.evaluation.graph import Graph, Junction, Negation, operand_key
from tiercel_engine.evaluation.operators import comparison_of, test_of
from tiercel_engine.evaluation.transformers import FUNCTIONS
from tiercel_engine.event import Event
from tiercel_engine.fields.model import FieldType, Multiplicity

Program = Callable[[Event], list[int]]
"""The positions of the conditions that hold for an event."""

# Expressions nested deeper than this move into functions of their own: Python's parser has a limit of 200 parentheses.
_MAX_DEPTH = 24
# Functions that call each other deeper than this are begun from below, needed or not: recursion has a limit too.
_MAX_CALLS = 200
_UNREAD = "..."
_PLAIN_TESTS = {
    Operator.NE: "v != {}",
    Operator.LT: "v < {}",
    Operator.LE: "v <= {}",
    Operator.GT: "v > {}",
    Operator.GE: "v >= {}",
    Operator.CONTAINS: "{} in v",
    Operator.STARTSWITH: "v.startswith({})",
    Operator.ENDSWITH: "v.endswith({})",
}
_ADDRESSES = (FieldType.ADDRESS, FieldType.NETWORK)


def _present(value: Any) -> Any:
    """A list without members is a field without a value."""
    return None if isinstance(value, list) and not value else value


def compile_program(graph: Graph, conditions: Sequence[tuple[int, int]], *, first_only: bool = False) -> Program:
    """A function that evaluates conditions, given as (position, node of the graph), in their order.

    With ``first_only`` it stops at the first that holds.
    """
    return _Writer(graph, conditions, first_only).program()


@dataclass(frozen=True, slots=True)
class _Text:
    """The expression of a node, how deep it nests, and how deep the functions that it calls do."""

    text: str
    depth: int
    calls: int


class _Writer:
    def __init__(self, graph: Graph, conditions: Sequence[tuple[int, int]], first_only: bool) -> None:
        self._graph = graph
        self._conditions = conditions
        self._first_only = first_only
        self._namespace: dict[str, Any] = {"present": _present}
        self._lines: list[str] = []
        self._slots: dict[Hashable, int] = {}
        self._operands: dict[Hashable, str] = {}
        self._text: dict[int, _Text] = {}

    def program(self) -> Program:
        roots = [node for _, node in self._conditions]
        nodes = sorted(self._graph.reachable(roots))
        uses = Counter(operand for node in nodes for operand in self._graph.operands(node))
        uses.update(roots)
        prologue: list[str] = []
        for node in nodes:
            text, depth = self._expression(node)
            below = max((self._text[operand].calls for operand in self._graph.operands(node)), default=1)
            if (uses[node] > 1 and not self._is_cheap(node)) or depth > _MAX_DEPTH:
                text = self._remembered(("node", node), text)
                depth, below = 1, below + 1
                if below > _MAX_CALLS:
                    prologue.append(f" {text}")
                    below = 0
            self._text[node] = _Text(text, depth, below)
        self._lines += ["def program(e):", " s = slots[:]", " found = []", *prologue]
        for position, node in self._conditions:
            action = f"return [{position}]" if self._first_only else f"found.append({position})"
            self._lines.append(f" if {self._text[node].text}: {action}")
        self._lines.append(" return found")
        self._namespace["slots"] = [...] * len(self._slots)
        exec(compile("\n".join(self._lines), "<conditions>", "exec"), self._namespace)  # noqa: S102
        return cast(Program, self._namespace["program"])

    def _expression(self, node: int) -> tuple[str, int]:
        part = self._graph.parts[node]
        if isinstance(part, bool):
            return str(part), 0
        operands = [self._text[operand] for operand in self._graph.operands(node)]
        depth = 1 + max((operand.depth for operand in operands), default=1)
        if isinstance(part, Negation):
            return f"(not {operands[0].text})", depth
        if isinstance(part, Junction):
            return f"({(' and ' if part.is_and else ' or ').join(operand.text for operand in operands)})", depth
        return self._atom(part), depth

    def _is_cheap(self, node: int) -> bool:
        """Whether to evaluate anew costs no more than to remember."""
        part = self._graph.parts[node]
        if isinstance(part, Negation):
            return True
        return isinstance(part, Atom) and (
            part.operator is Operator.EXISTS or (self._is_plain(part) and part.operator in (Operator.EQ, Operator.IN))
        )

    def _is_plain(self, atom: Atom) -> bool:
        """Whether a Python operator on the value does what the atom's operator means."""
        left = atom.left
        return (
            isinstance(atom.right, tuple)
            and atom.quantifier is None
            and len(atom.right) > 0
            and left.multiplicity is Multiplicity.ONE
            and left.type not in (*_ADDRESSES, FieldType.BYTES)
        )

    def _atom(self, atom: Atom) -> str:
        value = self._value(atom.left)
        if atom.operator is Operator.EXISTS:
            return f"({value} is not None)"
        if not isinstance(atom.right, tuple):
            test = self._constant(comparison_of(atom))
            return f"((v := {value}) is not None and (w := {self._value(atom.right)}) is not None and {test}(v, w))"
        plain = self._is_plain(atom)
        # None equals no constant and is in no set: these need no test for a value.
        if plain and atom.operator in (Operator.EQ, Operator.IN):
            if len(atom.right) > 1:
                return f"({value} in {self._constant(frozenset(atom.right))})"
            return f"({value} == {self._constant(atom.right[0])})"
        if plain and atom.operator in _PLAIN_TESTS:
            test = _PLAIN_TESTS[atom.operator].format(self._constant(atom.right[0]))
        else:
            test = f"{self._constant(test_of(atom))}(v)"
        return f"((v := {value}) is not None and {test})"

    def _value(self, operand: Operand) -> str:
        """An expression for an operand's value, None if it has none."""
        key = operand_key(operand)
        if key not in self._operands:
            if isinstance(operand, Literal):
                text = self._constant(operand.value)
            elif isinstance(operand, FieldOperand):
                read = f"e[{self._constant(operand.key)}]"
                text = self._remembered(key, read if operand.multiplicity is Multiplicity.ONE else f"present({read})")
            else:
                values = [self._value(inner) for inner in operand.operands]
                names = [f"a{index}" for index in range(len(values))]
                given = [f"({name} := {value}) is not None" for name, value in zip(names, values, strict=True)]
                call = f"present({self._constant(FUNCTIONS[operand.name])}({', '.join(names)}))"
                text = self._remembered(key, f"{call} if {' and '.join(given)} else None")
            self._operands[key] = text
        return self._operands[key]

    def _remembered(self, key: Hashable, text: str) -> str:
        """An expression that computes ``text`` when it is first evaluated for an event, and only then."""
        slot = self._slots.setdefault(key, len(self._slots))
        self._lines += [f"def s{slot}(e, s):", f" s[{slot}] = r = {text}", " return r"]
        return f"(s[{slot}] if s[{slot}] is not {_UNREAD} else s{slot}(e, s))"

    def _constant(self, value: object) -> str:
        name = f"c{len(self._namespace)}"
        self._namespace[name] = value
        return name
