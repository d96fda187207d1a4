"""Generates Python code that evaluates many conditions at once.

A node that is used more than once is computed when it is first needed, at most once for each event; its value is
kept in a slot of a list ``s``. The value of a field is kept in a local variable of each function that needs it; the
event itself remembers the values that it had to compute. Conditions that have a conjunct in common are put under one
``if``. No text of a rule becomes part of the code: constants are in the namespace of the functions, under names like
``c12``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from tiercel_engine.condition import Atom, FieldOperand, Literal, Operand, Operator, Quantifier
from tiercel_engine.evaluation.graph import FALSE, TRUE, Graph, Junction, Negation, operand_key
from tiercel_engine.evaluation.operators import compile_comparison, compile_test, members
from tiercel_engine.evaluation.transformers import FUNCTIONS
from tiercel_engine.evaluation.uncertainty import compile_bounded_comparison, compile_bounded_test, transform
from tiercel_engine.event import Event
from tiercel_engine.fields.model import FieldType, Multiplicity
from tiercel_engine.regexes import REGEXES, Regexes

Program = Callable[[Event], list[int]]
"""Gives the positions of the conditions that hold for an event, in no particular order."""

# Expressions that nest deeper become functions of their own: Python's parser allows 200 nested parentheses.
_MAX_DEPTH = 24
# If functions call each other more deeply, the inner ones are called first, whether they are needed or not: Python
# limits recursion too.
_MAX_CALLS = 200
# Expressions with more operands are cut into functions.
_MAX_WIDTH = 250
# Functions are compiled in portions of this many characters: Python's compiler takes two hundred times the memory of
# the text that it compiles at once.
_PORTION = 1 << 16
# How deeply `if` statements for common conjuncts are nested.
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
    """The value, or None for an empty list: a field with an empty list has no value."""
    return None if isinstance(value, list) and not value else value


def compile_program(
    graph: Graph, conditions: Sequence[tuple[int, int]], regexes: Regexes = REGEXES, *, bounded: bool = False
) -> Program:
    """A function that evaluates the conditions, which are given as pairs of a position and a node of the graph. Their
    patterns are some of ``regexes``.

    ``bounded``: they are bounds, for events with values that are known only in part.
    """
    return _CodeWriter(graph, regexes, bounded).program(conditions)


@dataclass(frozen=True, slots=True)
class _Expression:
    """An expression in Python and the variables that it assigns.

    ``depth`` is how deeply its parentheses nest, ``calls`` how deeply the functions that it calls nest.
    """

    text: str
    variables: frozenset[str] = frozenset()
    depth: int = 0
    calls: int = 0


class _CodeWriter:
    def __init__(self, graph: Graph, regexes: Regexes, bounded: bool) -> None:
        self._graph = graph
        self._regexes = regexes
        self._function_of = transform if bounded else FUNCTIONS.__getitem__
        self._namespace: dict[str, Any] = {"present": _present}
        self._functions: list[str] = []
        self._slots: dict[Hashable, int] = {}
        self._calls: dict[int, int] = {}
        self._variables: dict[Hashable, str] = {}
        self._nodes: dict[int, _Expression] = {FALSE: _Expression("False"), TRUE: _Expression("True")}

    def program(self, conditions: Sequence[tuple[int, int]]) -> Program:
        demands = [(position, self._conjuncts(node)) for position, node in conditions]
        roots = [node for _, conjuncts in demands for node in conjuncts]
        prologue = self._write_nodes(roots)
        body = list(self._tests(demands, 1))
        variables = frozenset[str]().union(*(self._nodes[node].variables for node in roots))
        lines = [
            "def program(e):",
            " s = slots[:]",
            " matched = []",
            _unread(variables),
            *prologue,
            *body,
            " return matched",
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
        """Makes the expression of each node. Returns the lines of code that compute some of them in advance."""
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
                    expression = _Expression(expression.text)
            self._nodes[node] = expression
        return ahead

    def _tests(self, demands: Sequence[tuple[int, tuple[int, ...]]], level: int) -> Iterable[str]:
        """Statements that append the positions of conditions whose conjuncts all hold; common ones are tested once."""
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
            yield f"{indent}if {condition}: matched.append({position})"

    def _expression(self, node: int) -> _Expression:
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
        """Whether evaluating the node again costs no more than remembering its value."""
        part = self._graph.parts[node]
        if isinstance(part, Negation):
            return True
        return isinstance(part, Atom) and (
            (part.operator is Operator.EXISTS and part.undecided is None)
            or (_is_plain(part) and part.operator in _CHEAP)
        )

    def _atom(self, atom: Atom) -> _Expression:
        left = self._value(atom.left)
        depth, calls = left.depth + 2, left.calls
        if atom.operator is Operator.EXISTS and atom.undecided is None:
            return _Expression(f"({left.text} is not None)", left.variables, depth, calls)
        if not isinstance(atom.right, tuple):
            right = self._value(atom.right)
            comparison = self._constant(_comparison(atom, self._regexes))
            test = f"(w := {right.text}) is not None and {comparison}(v, w)"
            text = f"((v := {left.text}) is not None and {test})"
            return _Expression(
                text, left.variables | right.variables, max(depth, right.depth + 2), max(calls, right.calls)
            )
        # None equals no constant and is in no set, so these need no test whether there is a value.
        if _is_plain(atom) and atom.operator in (Operator.EQ, Operator.IN):
            several = len(atom.right) > 1
            constant = self._constant(members(atom.right) if several else atom.right[0])
            return _Expression(f"({left.text} {'in' if several else '=='} {constant})", left.variables, depth, calls)
        if _is_plain(atom) and atom.operator in _PLAIN_TESTS:
            constant = self._constant(atom.right if atom.operator in _PREFIXES else atom.right[0])
            test = _PLAIN_TESTS[atom.operator].format(constant)
        else:
            test = f"{self._constant(_test(atom, self._regexes))}(v)"
        return _Expression(f"((v := {left.text}) is not None and {test})", left.variables, depth, calls)

    def _value(self, operand: Operand) -> _Expression:
        """An expression for the value of an operand; its value is None if the operand has none."""
        if isinstance(operand, Literal):
            return _Expression(self._constant(operand.value))
        key = operand_key(operand)
        if isinstance(operand, FieldOperand):
            variable = self._variables.setdefault(key, f"f{len(self._variables)}")
            read = f"e[{self._constant(operand.key)}]"
            if operand.multiplicity is not Multiplicity.ONE:
                read = f"present({read})"
            return _Expression(
                f"({variable} if {variable} is not ... else ({variable} := {read}))", frozenset({variable}), 2
            )
        if key in self._slots:
            return self._slot(key)
        values = [self._value(inner) for inner in operand.operands]
        names = [f"a{index}" for index in range(len(values))]
        given = " and ".join(f"({name} := {value.text}) is not None" for name, value in zip(names, values, strict=True))
        call = f"present({self._constant(self._function_of(operand.name))}({', '.join(names)}))"
        variables = frozenset[str]().union(*(value.variables for value in values))
        calls = max(value.calls for value in values)
        return self._remembered(key, _Expression(f"{call} if {given} else None", variables, calls=calls))

    def _remembered(self, key: Hashable, expression: _Expression) -> _Expression:
        """An expression with the value of ``expression``, which is computed once for an event, when first needed."""
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

    def _slot(self, key: Hashable) -> _Expression:
        slot = self._slots[key]
        return _Expression(f"(s[{slot}] if s[{slot}] is not ... else s{slot}(e, s))", frozenset(), 1, self._calls[slot])

    def _constant(self, value: object) -> str:
        name = f"c{len(self._namespace)}"
        self._namespace[name] = value
        return name


def _combined(text: str, operands: Sequence[_Expression]) -> _Expression:
    """An expression with this text, which is made of the operands."""
    return _Expression(
        text,
        frozenset[str]().union(*(operand.variables for operand in operands)),
        max(operand.depth for operand in operands) + 1,
        max(operand.calls for operand in operands),
    )


def _joined(connective: str, operands: Sequence[_Expression]) -> _Expression:
    return _combined(f"({connective.join(operand.text for operand in operands)})", operands)


def _portions(functions: Iterable[str]) -> Iterable[str]:
    """The code of the functions in portions, which are compiled one by one."""
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
    """A statement that marks the variables as not read yet."""
    return f" {' = '.join(sorted(variables))} = ..." if variables else " pass"


def _test(atom: Atom, regexes: Regexes) -> Callable[[Any], bool]:
    return compile_test(atom, regexes) if atom.undecided is None else compile_bounded_test(atom, regexes)


def _comparison(atom: Atom, regexes: Regexes) -> Callable[[Any, Any], bool]:
    return compile_comparison(atom, regexes) if atom.undecided is None else compile_bounded_comparison(atom, regexes)


def _is_plain(atom: Atom) -> bool:
    """Whether an operator of Python itself does the same as the atom's operator."""
    left = atom.left
    return (
        isinstance(atom.right, tuple)
        and len(atom.right) > 0
        and atom.undecided is None
        and (atom.quantifier is None or (atom.quantifier is Quantifier.ANY_OF and atom.operator in _PREFIXES))
        and left.multiplicity is Multiplicity.ONE
        and left.type not in (*_ADDRESSES, FieldType.BYTES)
    )
