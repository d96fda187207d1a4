"""The meaning of each operator: from an atom to a function that tests a value.

The functions are not called for a field without a value: a comparison with such a field is false, also for ``!=``.
Values have the type that the registry gives their field.
"""

from __future__ import annotations

import operator as python
from collections.abc import Callable
from typing import Any

from tiercel_engine.condition import Atom, Constant, ListConstants, Operator, Quantifier
from tiercel_engine.evaluation.addresses import compile_addresses
from tiercel_engine.fields.model import FieldType, Multiplicity
from tiercel_engine.patterns import compile_glob, compile_path_prefixes, compile_regex
from tiercel_engine.regexes import REGEXES, PatternError, Regexes

Test = Callable[[Any], bool]

_ORDER = {Operator.LT: python.lt, Operator.LE: python.le, Operator.GT: python.gt, Operator.GE: python.ge}
_ADDRESSES = (FieldType.ADDRESS, FieldType.NETWORK)
_TO_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
_TO_UPPER = {lower: upper for upper, lower in _TO_LOWER.items()}


def lower(text: str) -> str:
    """The text with ASCII letters in lower case, like C's tolower. Other letters and the length stay the same."""
    return text.lower() if text.isascii() else text.translate(_TO_LOWER)


def upper(text: str) -> str:
    """The text with ASCII letters in upper case."""
    return text.upper() if text.isascii() else text.translate(_TO_UPPER)


def compile_test(atom: Atom, regexes: Regexes = REGEXES) -> Test:
    """The function that tests the left value of an atom with constants on the right. Its patterns are some of
    ``regexes``.

    It is called with a value that is not None; for a field of several values (ANY, LIST), with a list that is not
    empty. Raises ``regexes.PatternError`` for a pattern that is refused.
    """
    right = atom.right
    assert isinstance(right, tuple)
    of_left = atom.left.type, atom.left.multiplicity
    if not isinstance(right, ListConstants):
        return _test(*of_left, atom.operator, right, atom.quantifier, regexes)
    key = *of_left, atom.operator, atom.quantifier, regexes
    test: Test | None = right.made.get(key)
    if test is None:
        test = right.made[key] = _test(*of_left, atom.operator, right, atom.quantifier, regexes)
    return test


def members(constants: tuple[Constant, ...]) -> frozenset[Constant]:
    """The constants as a set, which those of a list are made only once."""
    return constants.members if isinstance(constants, ListConstants) else frozenset(constants)


def compile_comparison(atom: Atom, regexes: Regexes = REGEXES) -> Callable[[Any, Any], bool]:
    """The function that tests the left and the right value of an atom with an operand on the right.

    Neither value is None. The members of the right value are the constants. If the right value should be a pattern and
    is not a valid one, the comparison is false.
    """
    kind, multiplicity, operator, quantifier = atom.left.type, atom.left.multiplicity, atom.operator, atom.quantifier
    if multiplicity is Multiplicity.ONE and kind not in _ADDRESSES and operator in _ORDER:
        order: Callable[[Any, Any], bool] = _ORDER[operator]
        return lambda left, right: order(left, right[0] if isinstance(right, list) else right)

    def compare(left: Any, right: Any) -> bool:
        constants = tuple(right) if isinstance(right, list) else (right,)
        try:
            return _test(kind, multiplicity, operator, constants, quantifier, regexes)(left)
        except PatternError:
            return False

    return compare


def _test(
    kind: FieldType,
    multiplicity: Multiplicity,
    operator: Operator,
    constants: tuple[Constant, ...],
    quantifier: Quantifier | None,
    regexes: Regexes,
) -> Test:
    if operator is Operator.EXISTS:
        return lambda _value: True
    if operator is Operator.NE and quantifier is None:
        equal = _test(kind, multiplicity, Operator.EQ, constants, None, regexes)
        return lambda value: not equal(value)
    member = _quantified(kind, operator, constants, quantifier, regexes)
    if multiplicity is Multiplicity.ONE:
        return member
    if operator is Operator.NE or (operator is Operator.IN and multiplicity is Multiplicity.LIST):
        return lambda values: all(map(member, values))
    return lambda values: any(map(member, values))


def _quantified(
    kind: FieldType,
    operator: Operator,
    constants: tuple[Constant, ...],
    quantifier: Quantifier | None,
    regexes: Regexes,
) -> Test:
    """The test of one member of a value.

    ``oneof`` holds if exactly one of the constants fits, ``anyof`` if one or more do. Without constants nothing holds,
    not even ``allof`` (as in Falco: sinsp_filter_check::compare_rhs_with_mod).
    """
    if not constants and quantifier is not None:
        return lambda _value: False
    if quantifier is None or len(constants) == 1:
        return _scalar(kind, operator, constants, regexes)
    if quantifier is Quantifier.ANY_OF:
        if operator is Operator.EQ:
            return _scalar(kind, Operator.IN, constants, regexes)
        if operator in (Operator.STARTSWITH, Operator.ENDSWITH):
            return _scalar(kind, operator, constants, regexes)
    if operator is Operator.ICONTAINS:  # the value is folded once, and not for each constant
        folded = tuple(lower(str(constant)) for constant in constants)
        contains = _quantified(kind, Operator.CONTAINS, folded, quantifier, regexes)
        return lambda value: contains(lower(value))
    tests = [_scalar(kind, operator, (constant,), regexes) for constant in constants]
    match quantifier:
        case Quantifier.ONE_OF:
            return lambda value: sum(test(value) for test in tests) == 1
        case Quantifier.ANY_OF:
            return lambda value: any(test(value) for test in tests)
        case Quantifier.ALL_OF:
            return lambda value: all(test(value) for test in tests)


def _scalar(kind: FieldType, operator: Operator, constants: tuple[Any, ...], regexes: Regexes) -> Test:
    """The test of one scalar. With several constants it holds if the operator holds for one of them."""
    if kind is FieldType.BYTES:
        constants = tuple(_to_bytes(constant) for constant in constants)
    if kind in _ADDRESSES:
        contains = compile_addresses(constants)
        return (lambda value: not contains(value)) if operator is Operator.NE else contains
    if not constants:
        return lambda _value: False
    match operator:
        case Operator.REGEX:
            return compile_regex(constants[0], regexes=regexes)
        case Operator.GLOB:
            return compile_glob(constants[0], regexes=regexes)
        case Operator.IGLOB:
            return compile_glob(constants[0], ignore_case=True, regexes=regexes)
        case Operator.PMATCH:
            return compile_path_prefixes(constants, regexes=regexes)
        case _:
            return _MAKERS[operator](constants)


def _ordered(order: Callable[[Any, Any], bool]) -> Callable[[tuple[Any, ...]], Test]:
    return lambda constants: lambda value: order(value, constants[0])


def _icontains(constants: tuple[Any, ...]) -> Test:
    folded = lower(constants[0])
    return lambda value: folded in lower(value)


def _contains(constants: tuple[Any, ...]) -> Test:
    constant = constants[0]
    return lambda value: constant in value


def _member(constants: tuple[Any, ...]) -> Test:
    return members(constants).__contains__


_MAKERS: dict[Operator, Callable[[tuple[Any, ...]], Test]] = {
    Operator.EXISTS: lambda _constants: lambda _value: True,
    Operator.EQ: _member,
    Operator.IN: _member,
    Operator.INTERSECTS: _member,
    Operator.NE: _ordered(python.ne),
    Operator.LT: _ordered(python.lt),
    Operator.LE: _ordered(python.le),
    Operator.GT: _ordered(python.gt),
    Operator.GE: _ordered(python.ge),
    Operator.CONTAINS: _contains,
    Operator.BCONTAINS: _contains,
    Operator.ICONTAINS: _icontains,
    Operator.STARTSWITH: lambda constants: lambda value: bool(value.startswith(constants)),
    Operator.BSTARTSWITH: lambda constants: lambda value: bool(value.startswith(constants)),
    Operator.ENDSWITH: lambda constants: lambda value: bool(value.endswith(constants)),
}
"""Makes the test for each operator that takes no patterns."""


def _to_bytes(constant: Any) -> Any:
    return constant.encode("utf-8", "surrogateescape") if isinstance(constant, str) else constant
