"""Turns the untyped tree into the typed condition: resolves macros, lists, fields, operators and constants."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

from tiercel_engine import condition
from tiercel_engine.condition import Constant, FieldOperand, ListConstants, Node, Operator, Quantifier, Transformed
from tiercel_engine.diagnostics import Severity
from tiercel_engine.fields import FieldType, Multiplicity
from tiercel_engine.language import operators, syntax
from tiercel_engine.language.constants import ConstantError, read_constant
from tiercel_engine.language.errors import ConditionError, Problem
from tiercel_engine.language.lexer import shown
from tiercel_engine.language.named_lists import NamedLists
from tiercel_engine.language.operand_types import UnknownField, field_operand, kind, operators_for, transformed
from tiercel_engine.language.size import MAX_DEPTH, MAX_SIZE, measure
from tiercel_engine.language.suspicions import suspicions
from tiercel_engine.language.withheld import Withheld
from tiercel_engine.suggestions import Suggester

MAX_PROBLEMS = 100
"""The most problems of one condition. If there are more errors, one more says so; further warnings are left out."""

COMPILE = "LOAD_ERR_COMPILE_CONDITION"
VALIDATE = "LOAD_ERR_VALIDATE"
UNKNOWN_ITEM = "LOAD_UNKNOWN_ITEM"


_Left = FieldOperand | Transformed


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of checking a condition.

    ``problems`` are all errors and warnings, in the order of the text. ``node`` is None if one of them is an error.
    """

    node: Node | None
    problems: tuple[Problem, ...]
    macros: frozenset[str]
    """Names of the macros that the condition names itself, known or not."""
    lists: frozenset[str]
    """Names of the lists that the condition names itself."""
    withheld: Withheld = field(default_factory=Withheld)
    """Its comparisons with private lists."""


def check(
    expr: syntax.Expr,
    *,
    macros: Mapping[str, Node],
    lists: Mapping[str, tuple[str, ...]],
    suggester: Suggester | None = None,
    private: Container[str] = (),
) -> Checked:
    """Checks ``expr`` and makes the typed condition. Raises nothing.

    ``macros`` are the typed conditions of the macros that may be used; their nodes are shared, not copied. ``lists``
    are the items of each list, with inner lists already replaced; many conditions share one ``NamedLists``, so that
    each list is read once. ``suggester`` gives the hints for misspelt names; many conditions share one. No problem
    tells an item of a list that is ``private``.

    The time is linear in the size of the expression and the distinct nodes of its macros, and in that of lists that
    no condition has named before. A condition that would be
    larger than ``size.MAX_SIZE`` or deeper than ``size.MAX_DEPTH`` with its macros expanded is an error.
    """
    return _Checker(macros, lists, suggester or Suggester(), private).check(expr)


class _TooMany(Exception):
    """The condition has so many errors that checking ends."""


class _Checker:
    def __init__(
        self,
        macros: Mapping[str, Node],
        lists: Mapping[str, tuple[str, ...]],
        suggester: Suggester,
        private: Container[str],
    ) -> None:
        self._private = private
        self._withheld = Withheld()
        self._macros = macros
        self._lists = lists if isinstance(lists, NamedLists) else NamedLists(lists)
        self._suggester = suggester
        self._problems: list[Problem] = []
        self._used_macros: set[str] = set()
        self._used_lists: set[str] = set()
        self._constants = 0

    def check(self, expr: syntax.Expr) -> Checked:
        node = None
        try:
            node = self._build(expr)
            if node is not None:
                self._bound(node, expr)
        except _TooMany:
            self._problems.append(
                Problem(Severity.ERROR, COMPILE, "there are more problems than these", expr.start, expr.end)
            )
        if any(problem.severity is Severity.ERROR for problem in self._problems):
            node = None
        used = frozenset(self._used_macros), frozenset(self._used_lists)
        return Checked(node, tuple(self._problems), *used, self._withheld)

    def _report(
        self, severity: Severity, code: str, message: str, at: syntax.Expr | syntax.Word, hint: str = ""
    ) -> None:
        self._add(Problem(severity, code, message, at.start, at.end, hint))

    def _add(self, problem: Problem) -> None:
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(problem)
        elif problem.severity is Severity.ERROR:
            raise _TooMany

    def _bound(self, node: Node, expr: syntax.Expr) -> None:
        size, depth = measure(node)
        hint = "name fewer macros within macros"
        if size > MAX_SIZE:
            message = f"with its macros expanded the condition has more than {MAX_SIZE} parts"
            self._report(Severity.ERROR, COMPILE, message, expr, hint)
        elif depth > MAX_DEPTH:
            message = f"with its macros expanded the condition is {depth} levels deep, more than {MAX_DEPTH}"
            self._report(Severity.ERROR, COMPILE, message, expr, hint)

    def _build(self, root: syntax.Expr) -> Node | None:
        """The typed tree, or None after an error. It is built from the operands upwards, without recursion."""
        built: list[Node | None] = []
        todo: list[tuple[syntax.Expr, bool]] = [(root, False)]
        while todo:
            expr, ready = todo.pop()
            match expr:
                case syntax.Check():
                    built.append(self._check(expr))
                case syntax.MacroName():
                    built.append(self._macro(expr))
                case syntax.Not(operand):
                    if ready:
                        inner = built.pop()
                        built.append(None if inner is None else condition.Not(inner))
                    else:
                        todo += [(expr, True), (operand, False)]
                case syntax.And(operands) | syntax.Or(operands):
                    if ready:
                        inners = tuple([inner for inner in built[-len(operands) :] if inner is not None])
                        del built[-len(operands) :]
                        junction = condition.And if isinstance(expr, syntax.And) else condition.Or
                        built.append(junction(inners) if len(inners) == len(operands) else None)
                    else:
                        todo.append((expr, True))
                        todo += [(operand, False) for operand in reversed(operands)]
        return built[0]

    def _macro(self, name: syntax.MacroName) -> Node | None:
        self._used_macros.add(name.name)
        node = self._macros.get(name.name)
        if node is None:
            if name.name in self._lists:
                hint = f"{shown(name.name)} is a list: write `field in ({shown(name.name)})`"
            else:
                hint = self._suggester.similar(name.name, self._macros, cutoff=0.75)
            self._report(Severity.ERROR, VALIDATE, f"there is no macro {shown(name.name)}", name, hint)
        return node

    def _check(self, check: syntax.Check) -> Node | None:
        try:
            left = _left(check.left)
            self._fits(check, left)
            right = self._right(check, left)
        except UnknownField as error:
            hint = self._suggester.field(error.name)
            self._add(Problem(Severity.ERROR, COMPILE, error.message, error.start, error.end, hint, unknown_field=True))
            return None
        except ConditionError as error:
            self._add(Problem(Severity.ERROR, COMPILE, error.message, error.start, error.end, error.hint))
            return None
        if right is None:
            return None
        atoms = tuple([condition.Atom(left, check.operator, each, check.quantifier) for each in right])
        node = atoms[0] if len(atoms) == 1 else condition.Or(atoms)
        if any(map(self._is_private, _words(check.right))):
            for part in {id(part): part for part in (node, *atoms)}.values():
                self._withheld.add_comparison(part, check)
        return node

    def _is_private(self, word: syntax.Word) -> bool:
        """Whether a word stands for the items of a list that aren't for everybody."""
        return not word.quoted and word.text in self._private and word.text in self._lists

    def _fits(self, check: syntax.Check, left: _Left) -> None:
        """Raises ConditionError if the operator does not fit the left side."""
        fitting = operators_for(left)
        if check.operator in fitting:
            return
        name = left.field.name if isinstance(left, FieldOperand) else f"{left.name}(…)"
        what = "a list" if left.multiplicity is Multiplicity.LIST else kind(left.type)
        if check.operator in (Operator.BCONTAINS, Operator.BSTARTSWITH) and Operator.CONTAINS in fitting:
            hint = f"write `{check.operator.value.removeprefix('b')}`: text is not compared as hexadecimal digits"
        else:
            hint = "it takes " + " ".join([operator.value for operator in Operator if operator in fitting])
        raise ConditionError(
            f"`{check.operator.value}` does not fit {name}, which is {what}",
            check.operator_start,
            check.operator_end,
            hint,
        )

    def _right(self, check: syntax.Check, left: _Left) -> Sequence[tuple[Constant, ...] | _Left] | None:
        """The right side, or None after an error that has been reported. Raises ConditionError for others.

        It is several ones if there are long lists among the values: the comparison holds if it holds for one of them.
        """
        match check.right:
            case None:
                return [()]
            case syntax.ValueOf(operand):
                return [_comparable(check, left, field_operand(operand), check.right)]
            case syntax.Call():
                return [_comparable(check, left, transformed(check.right), check.right)]
            case syntax.WordList(words):
                return self._constants_of(words, left, check)
            case syntax.Word():
                if check.operator in operators.SET or check.quantifier is not None:
                    return self._named_list(check.right, left, check)
                return self._one_constant(check.right, left, check)

    # Constants

    def _named_list(self, word: syntax.Word, left: _Left, check: syntax.Check) -> Sequence[tuple[Constant, ...]] | None:
        """The constants of a list that is named without parentheses: ``in shells``."""
        if word.text not in self._lists:
            hint = self._suggester.similar(word.text, self._lists, cutoff=0.75)
            hint = hint or f"write `({shown(word.text)})` if that is the value"
            message = f"there is no list {shown(word.text)}: it is taken for a value"
            self._report(Severity.WARNING, UNKNOWN_ITEM, message, word, hint)
        return self._constants_of((word,), left, check)

    def _one_constant(
        self, word: syntax.Word, left: _Left, check: syntax.Check
    ) -> Sequence[tuple[Constant, ...]] | None:
        items = None if word.quoted else self._lists.get(word.text)
        if items is None or len(items) == 1:
            return self._constants_of((word,), left, check)
        self._used_lists.add(word.text)
        name = shown(word.text)
        count = "" if word.text in self._private else f" of {len(items)}"
        message = f"`{check.operator.value}` takes one value, and {name} is a list{count}"
        hint = f'write `in ({name})`, or "{name}" in quotes for the word itself'
        self._report(Severity.ERROR, COMPILE, message, word, hint)
        return None

    def _constants_of(
        self, words: tuple[syntax.Word, ...], left: _Left, check: syntax.Check
    ) -> Sequence[tuple[Constant, ...]] | None:
        """The constants of some words, with lists replaced by their items; None after an error.

        Those of a long list stay by themselves where they can, so that all conditions that name it share them.
        """
        good = True
        parts: list[tuple[Constant, ...]] = []
        for word in words:
            try:
                part = self._constants_of_one(word, left, check)
            except ConstantError as error:
                self._report(Severity.ERROR, COMPILE, error.message, word, error.hint)
                good = False
                continue
            self._constants += len(part)
            if self._constants > MAX_SIZE:
                message = f"with its lists replaced the condition has more than {MAX_SIZE} values"
                self._report(Severity.ERROR, COMPILE, message, word)
                raise _TooMany
            parts.append(part)
        if not good:
            return None
        lists = [part for part in parts if isinstance(part, ListConstants)] if _holds_for_each(check, left) else []
        rest = [part for part in parts if not isinstance(part, ListConstants)] if lists else parts
        try:
            self._lists.count_tried(sum(map(len, parts)), check.operator, check.quantifier)
            if len(parts) == 1:
                return parts
            return [*lists, self._lists.joined(rest)] if rest or not lists else lists
        except ConstantError as error:
            self._report(Severity.ERROR, COMPILE, error.message, words[0], error.hint)
            return None

    def _constants_of_one(self, word: syntax.Word, left: _Left, check: syntax.Check) -> tuple[Constant, ...]:
        """The constant of a word, or the constants of the list that it names. Raises ConstantError."""
        name = word.text
        if word.quoted or name not in self._lists:
            self._lists.count_patterns((name,), check.operator)
            part: tuple[Constant, ...] = (read_constant(name, left.type, check.operator),)
            room = len(self._problems) < MAX_PROBLEMS  # to look for what is similar takes time
            suspicious = tuple(suspicions(left, check.operator, part)) if room else ()
        else:
            self._used_lists.add(name)
            part = self._constants_of_list(name, left, check)
            if name in self._private:
                suspicious = tuple(suspicions(left, check.operator, ()))
            else:
                suspicious = self._lists.suspicions(name, left, check.operator, part)
        for each in suspicious:
            self._report(Severity.WARNING, each.code, each.message, word, each.hint)
        return part

    def _constants_of_list(self, name: str, left: _Left, check: syntax.Check) -> tuple[Constant, ...]:
        try:
            return self._lists.constants(name, left.type, check.operator)
        except ConstantError:
            if name in self._private:
                raise ConstantError(f"list {shown(name)} has an item that can't be compared here") from None
            raise


def _holds_for_each(check: syntax.Check, left: _Left) -> bool:
    """Whether the comparison holds exactly if it holds with some of its constants alone."""
    if check.quantifier is not None:
        return check.quantifier is Quantifier.ANY_OF and check.operator is not Operator.NE
    return check.operator in operators.SET and not (
        check.operator is Operator.IN and left.multiplicity is Multiplicity.LIST
    )


def _words(right: syntax.Right | None) -> tuple[syntax.Word, ...]:
    match right:
        case syntax.Word():
            return (right,)
        case syntax.WordList(words):
            return words
    return ()


def _left(left: syntax.Left) -> _Left:
    return field_operand(left) if isinstance(left, syntax.FieldRef) else transformed(left)


def _comparable(
    check: syntax.Check,
    left: _Left,
    right: _Left,
    at: syntax.ValueOf | syntax.Call,
) -> _Left:
    """``right``, if Falco allows a comparison of ``left`` with it. Raises ConditionError otherwise."""
    sign = check.operator.value
    constant_only = (Operator.PMATCH, Operator.REGEX, Operator.BCONTAINS, Operator.BSTARTSWITH)
    if check.operator in constant_only or left.type is FieldType.NETWORK:
        what = f"`{sign}`" if check.operator in constant_only else "a field that is tested against networks"
        raise ConditionError(f"{what} takes constants, not the value of a field", at.start, at.end)
    if Multiplicity.ANY in (left.multiplicity, right.multiplicity):
        message = "fields of which any value counts cannot be compared with each other"
        raise ConditionError(message, check.start, check.end, "name one value, such as proc.aname[1] or fd.sip")
    if right.multiplicity is Multiplicity.LIST and check.operator not in operators.SET:
        raise ConditionError(f"`{sign}` takes one value, not a list", at.start, at.end, "write `in` or `intersects`")
    if kind(left.type) != kind(right.type):
        message = f"the left side is {kind(left.type)}, the right side {kind(right.type)}"
        raise ConditionError(message, at.start, at.end)
    return right
