"""Python code for many conditions at once.

A node that is used more than once is computed when it is first needed, and once an event: its value is
kept in a slot of a list ``s``. A field's value is kept in a local variable of each function that
needs it; the event itself remembers what it had to compute. Conditions that demand the same thing
stand under one ``if``. Nothing that a rule says becomes part of the text: constants stand in the
functions' namespace under names like ``c12``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from tiercel_engine.condition import Atom, FieldOperand, Literal, Operand, Operator, Quantifier
from tiercel_engine.evaluation.graph import FALSE, TRUE, Graph, Junction, Negation, operand_key
from tiercel_engine.evaluation.operators import comparison_of, test_of
from tiercel_engine.evaluation.transformers import FUNCTIONS
from tiercel_engine.event import Event
from tiercel_engine.fields.model import FieldType, Multiplicity

Program = Callable[[Event], list[int]]
"""The positions of the conditions that hold for an event, in no order."""

# Expressions nested deeper than this move into functions of their own: Python's parser has a limit of 200 parentheses.
_MAX_DEPTH = 24
# Functions that call each other deeper than this are begun from below, needed or not: recursion has a limit too.
_MAX_CALLS = 200
# Wider expressions are cut into functions, and functions compiled in portions of so many characters: Python's compiler
# takes two hundred times the memory of the text that it is given at once.
_MAX_WIDTH = 250
_PORTION = 1 << 16
# Levels of `if` that conditions with a common demand are put under.
_MAX_LEVELS = 12

_ADDRESSES = (FieldType.ADDRESS, FieldType.NETWORK)
_CHEAP = (Operator.EQ, Operator.NE, Operator.IN, Operator.LT, Operator.LE, Operator.GT, Operator.GE)
_PREFIXES = (Operator.STARTSWITH, Operator.ENDSWITH)
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


def _present(value: Any) -> Any:
    """A list without members is a field without a value."""
    return None if isinstance(value, list) and not value else value


def compile_program(graph: Graph, conditions: Sequence[tuple[int, int]]) -> Program:
    """A function that evaluates conditions, given as (position, node of the graph)."""
    return _Writer(graph).program(conditions)


@dataclass(frozen=True, slots=True)
class _Text:
    """An expression. ``depth``: of its parentheses; ``calls``: of the functions that it calls."""

    text: str
    variables: frozenset[str] = frozenset()
    depth: int = 0
    calls: int = 0


class _Writer:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._namespace: dict[str, Any] = {"present": _present}
        self._functions: list[str] = []
        self._slots: dict[Hashable, int] = {}
        self._calls: dict[int, int] = {}
        self._variables: dict[Hashable, str] = {}
        self._nodes: dict[int, _Text] = {FALSE: _Text("False"), TRUE: _Text("True")}

    def program(self, conditions: Sequence[tuple[int, int]]) -> Program:
        demands = [(position, self._conjuncts(node)) for position, node in conditions]
        roots = [node for _, conjuncts in demands for node in conjuncts]
        prologue = self._write_nodes(roots)
        body = list(self._tests(demands, 1))
        variables = frozenset[str]().union(*(self._nodes[node].variables for node in roots))
        lines = [
            "def program(e):",
            " s = slots[:]",
            " found = []",
            _unread(variables),
            *prologue,
            *body,
            " return found",
        ]
        self._namespace["slots"] = [...] * len(self._slots)
        for portion in _portions([*self._functions, "\n".join(lines)]):
            exec(compile(portion, "<conditions>", "exec"), self._namespace)  # noqa: S102
        return cast(Program, self._namespace["program"])

    def _conjuncts(self, node: int) -> tuple[int, ...]:
        part = self._graph.parts[node]
        if isinstance(part, Junction) and part.is_and and len(part.operands) <= _MAX_WIDTH:
            return part.operands
        return (node,)

    def _write_nodes(self, roots: Iterable[int]) -> list[str]:
        """Writes the expression of each node; what has to be computed ahead is returned as lines."""
        nodes = sorted(self._graph.reachable(roots) - {FALSE, TRUE})
        uses = Counter(operand for node in nodes for operand in self._graph.operands(node))
        uses.update(roots)
        ahead: list[str] = []
        for node in nodes:
            expression = self._expression(node)
            if (uses[node] > 1 and not self._is_cheap(node)) or expression.depth > _MAX_DEPTH:
                expression = self._remembered(("node", node), expression)
                if expression.calls > _MAX_CALLS:
                    ahead.append(f" {expression.text}")
                    expression = _Text(expression.text)
            self._nodes[node] = expression
        return ahead

    def _tests(self, demands: Sequence[tuple[int, tuple[int, ...]]], level: int) -> Iterable[str]:
        """Statements that append the positions whose conjuncts all hold, a common conjunct tested once."""
        indent = " " * level
        common = Counter(node for _, conjuncts in demands for node in conjuncts)
        left = dict(demands)
        holders: dict[int, list[int]] = {}
        for position, conjuncts in demands:
            for node in conjuncts:
                holders.setdefault(node, []).append(position)
        for node, count in common.most_common() if level < _MAX_LEVELS else ():
            members = (
                [(position, left[position]) for position in holders[node] if position in left] if count > 1 else []
            )
            if len(members) < 2:
                continue
            yield f"{indent}if {self._nodes[node].text}:"
            rest = [(position, tuple(other for other in conjuncts if other != node)) for position, conjuncts in members]
            yield from self._tests(rest, level + 1)
            for position, _ in members:
                del left[position]
        for position, conjuncts in left.items():
            condition = " and ".join(self._nodes[node].text for node in conjuncts) or "True"
            yield f"{indent}if {condition}: found.append({position})"

    def _expression(self, node: int) -> _Text:
        part = self._graph.parts[node]
        if isinstance(part, Atom):
            return self._atom(part)
        operands = [self._nodes[operand] for operand in self._graph.operands(node)]
        if isinstance(part, Negation):
            return _combined(f"(not {operands[0].text})", operands)
        connective = " and " if cast(Junction, part).is_and else " or "
        while len(operands) > _MAX_WIDTH:
            pieces = [operands[at : at + _MAX_WIDTH] for at in range(0, len(operands), _MAX_WIDTH)]
            operands = [
                self._remembered(("piece", node, len(pieces), number), _joined(connective, piece))
                for number, piece in enumerate(pieces)
            ]
        return _joined(connective, operands)

    def _is_cheap(self, node: int) -> bool:
        """Whether to evaluate anew costs no more than to remember."""
        part = self._graph.parts[node]
        if isinstance(part, Negation):
            return True
        return isinstance(part, Atom) and (
            part.operator is Operator.EXISTS or (_is_plain(part) and part.operator in _CHEAP)
        )

    def _atom(self, atom: Atom) -> _Text:
        left = self._value(atom.left)
        depth, calls = left.depth + 2, left.calls
        if atom.operator is Operator.EXISTS:
            return _Text(f"({left.text} is not None)", left.variables, depth, calls)
        if not isinstance(atom.right, tuple):
            right = self._value(atom.right)
            test = f"(w := {right.text}) is not None and {self._constant(comparison_of(atom))}(v, w)"
            text = f"((v := {left.text}) is not None and {test})"
            return _Text(text, left.variables | right.variables, max(depth, right.depth + 2), max(calls, right.calls))
        # None equals no constant and is in no set: these need no test for a value.
        if _is_plain(atom) and atom.operator in (Operator.EQ, Operator.IN):
            several = len(atom.right) > 1
            constant = self._constant(frozenset(atom.right) if several else atom.right[0])
            return _Text(f"({left.text} {'in' if several else '=='} {constant})", left.variables, depth, calls)
        if _is_plain(atom) and atom.operator in _PLAIN_TESTS:
            constant = self._constant(atom.right if atom.operator in _PREFIXES else atom.right[0])
            test = _PLAIN_TESTS[atom.operator].format(constant)
        else:
            test = f"{self._constant(test_of(atom))}(v)"
        return _Text(f"((v := {left.text}) is not None and {test})", left.variables, depth, calls)

    def _value(self, operand: Operand) -> _Text:
        """An expression for an operand's value, None if it has none."""
        if isinstance(operand, Literal):
            return _Text(self._constant(operand.value))
        key = operand_key(operand)
        if isinstance(operand, FieldOperand):
            variable = self._variables.setdefault(key, f"f{len(self._variables)}")
            read = f"e[{self._constant(operand.key)}]"
            if operand.multiplicity is not Multiplicity.ONE:
                read = f"present({read})"
            return _Text(f"({variable} if {variable} is not ... else ({variable} := {read}))", frozenset({variable}), 2)
        if key in self._slots:
            return self._slot(key)
        values = [self._value(inner) for inner in operand.operands]
        names = [f"a{index}" for index in range(len(values))]
        given = " and ".join(f"({name} := {value.text}) is not None" for name, value in zip(names, values, strict=True))
        call = f"present({self._constant(FUNCTIONS[operand.name])}({', '.join(names)}))"
        variables = frozenset[str]().union(*(value.variables for value in values))
        calls = max(value.calls for value in values)
        return self._remembered(key, _Text(f"{call} if {given} else None", variables, calls=calls))

    def _remembered(self, key: Hashable, expression: _Text) -> _Text:
        """An expression that computes another when it is first evaluated for an event, and only then."""
        slot = self._slots.setdefault(key, len(self._slots))
        body = [
            f"def s{slot}(e, s):",
            _unread(expression.variables),
            f" s[{slot}] = r = {expression.text}",
            " return r",
        ]
        self._functions.append("\n".join(body))
        self._calls[slot] = expression.calls + 1
        return self._slot(key)

    def _slot(self, key: Hashable) -> _Text:
        slot = self._slots[key]
        return _Text(f"(s[{slot}] if s[{slot}] is not ... else s{slot}(e, s))", frozenset(), 1, self._calls[slot])

    def _constant(self, value: object) -> str:
        name = f"c{len(self._namespace)}"
        self._namespace[name] = value
        return name


def _combined(text: str, operands: Sequence[_Text]) -> _Text:
    """An expression made of operands."""
    return _Text(
        text,
        frozenset[str]().union(*(operand.variables for operand in operands)),
        max(operand.depth for operand in operands) + 1,
        max(operand.calls for operand in operands),
    )


def _joined(connective: str, operands: Sequence[_Text]) -> _Text:
    return _combined(f"({connective.join(operand.text for operand in operands)})", operands)


def _portions(functions: Iterable[str]) -> Iterable[str]:
    """The text of functions in portions to be compiled one by one."""
    portion: list[str] = []
    length = 0
    for function in functions:
        if portion and length + len(function) > _PORTION:
            yield "\n".join(portion)
            portion, length = [], 0
        portion.append(function)
        length += len(function)
    yield "\n".join(portion)


def _unread(variables: Iterable[str]) -> str:
    """A statement that marks variables as not read yet."""
    return f" {' = '.join(sorted(variables))} = ..." if variables else " pass"


def _is_plain(atom: Atom) -> bool:
    """Whether Python's own operators on the value do what the atom's operator does."""
    left = atom.left
    return (
        isinstance(atom.right, tuple)
        and len(atom.right) > 0
        and (atom.quantifier is None or (atom.quantifier is Quantifier.ANY_OF and atom.operator in _PREFIXES))
        and left.multiplicity is Multiplicity.ONE
        and left.type not in (*_ADDRESSES, FieldType.BYTES)
    )
