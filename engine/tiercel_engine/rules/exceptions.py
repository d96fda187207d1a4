"""Turns the exceptions of a rule into conditions.

They are built as syntax trees, so that a value is never read as syntax.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace

from tiercel_engine.condition import Operator, Quantifier
from tiercel_engine.language import ConditionError, parse
from tiercel_engine.language.operators import QUANTIFIABLE, QUANTIFIERS, SET
from tiercel_engine.language.syntax import And, Check, Expr, Left, Or, Word, WordList
from tiercel_engine.rules.documents.decoding import VALIDATE, kind_word
from tiercel_engine.rules.documents.document import Scalar, Sequence, YamlNode
from tiercel_engine.rules.documents.items import ExceptionItem, ExceptionValue, Names
from tiercel_engine.rules.documents.report import Report
from tiercel_engine.rules.documents.source_file import SourceFile, SourceText, Span, source_text

_OPERATORS: dict[str, Operator] = {
    **{operator.value: operator for operator in Operator if operator is not Operator.EXISTS},
    "==": Operator.EQ,
}


@dataclass(frozen=True, slots=True)
class _Comparison:
    """An entry of ``comps``, such as ``in``, ``startswith`` or ``startswith anyof``."""

    operator: Operator
    quantifier: Quantifier | None = None

    @property
    def takes_a_set(self) -> bool:
        return self.operator in SET or self.quantifier is not None


@dataclass(frozen=True, slots=True)
class ExceptionCondition:
    """The condition under which an exception applies: a rule does not match such events.

    ``expr`` holds if one row of values holds. For an exception without values, ``empty`` is true and ``expr`` only
    names the fields, so that they are checked. The offsets in ``expr`` count characters of ``text``.
    """

    exception: ExceptionItem
    expr: Expr
    text: SourceText
    empty: bool


class _ExceptionError(Exception):
    def __init__(self, message: str, span: Span, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.span = span
        self.hint = hint


def exception_condition(exception: ExceptionItem, lists: Container[str], report: Report) -> ExceptionCondition | None:
    """The condition of an exception, or None after an error, which is reported at the wrong entry.

    With ``in``, ``intersects`` and ``pmatch``, a value that is the name of a list stands for its items.
    """
    try:
        return _Builder(exception, lists).build()
    except _ExceptionError as error:
        report.error(VALIDATE, error.message, error.span, ("exception", exception.name), error.hint)
        return None


class _Builder:
    def __init__(self, exception: ExceptionItem, lists: Container[str]) -> None:
        self._exception = exception
        self._lists = lists
        self._text: list[str] = []
        self._parts: list[SourceText] = []
        self._length = 0

    def build(self) -> ExceptionCondition:
        exception = self._exception
        if exception.fields is None:
            raise _ExceptionError("the exception has no fields", exception.span, "add fields: [proc.name, …]")
        comparisons = _comparisons(exception.fields, exception.comps)
        fields = [self._field(text) for text in exception.fields.texts]
        checks: list[Expr]
        if not exception.values:
            checks = [Check(field, Operator.EXISTS, start=field.start, end=field.end) for field in fields]
        elif exception.fields.single:
            words = [word for value in exception.values for word in self._single(value)]
            checks = [self._check(fields[0], comparisons[0], WordList(tuple(words), fields[0].start, fields[0].end))]
        else:
            checks = [self._row(value, fields, comparisons) for value in exception.values]
        expr = checks[0] if len(checks) == 1 else Or(tuple(checks), 0, self._length)
        return ExceptionCondition(exception, expr, self._joined(), empty=not exception.values)

    def _joined(self) -> SourceText:
        parts = []
        offset = 0
        for text in self._parts:
            parts.append(replace(text.parts[0], offset=offset))
            offset += len(text.text)
        return SourceText("".join(text.text for text in self._parts), tuple(parts))

    def _place(self, text: SourceText) -> int:
        """Appends a text to the collected ones. Returns its offset."""
        offset = self._length
        self._parts.append(text)
        self._length += len(text.text)
        return offset

    def _field(self, text: SourceText) -> Left:
        """The field that a text names, possibly with an argument or in a transformer, parsed as in a condition."""
        offset = self._place(text)
        try:
            # Blanks before it give the tree the offsets of the whole text. Fields come first, so these are few.
            expr = parse(" " * offset + text.text + " exists")
        except ConditionError:
            expr = None
        if not isinstance(expr, Check) or expr.operator is not Operator.EXISTS or expr.end < offset + len(text.text):
            place = text.span(0, len(text.text))
            raise _ExceptionError(f"{text.text[:80]!r} is not a field", place, "such as proc.name")
        return expr.left

    def _row(self, value: ExceptionValue, fields: list[Left], comparisons: list[_Comparison]) -> Expr:
        node = value.node
        if not isinstance(node, Sequence):
            hint = f"write [{', '.join('…' for _ in fields)}], or make fields a single name"
            raise _ExceptionError(f"an entry of values must be a row, not {kind_word(node)}", value.span, hint)
        if len(node.items) != len(fields):
            message = f"fields and the row of values differ in length: {len(fields)} and {len(node.items)}"
            raise _ExceptionError(message, value.span)
        checks = tuple(
            self._cell(value.source, cell, field, comparison)
            for cell, field, comparison in zip(node.items, fields, comparisons, strict=True)
        )
        return checks[0] if len(checks) == 1 else And(checks, checks[0].start, checks[-1].end)

    def _cell(self, source: SourceFile, node: YamlNode, field: Left, comparison: _Comparison) -> Check:
        if comparison.takes_a_set:
            start = self._length
            entries = node.items if isinstance(node, Sequence) else (node,)
            words = [word for entry in entries for word in self._members(source, entry)]
            return self._check(field, comparison, WordList(tuple(words), start, self._length))
        if not isinstance(node, Scalar):
            operator = comparison.operator
            hint = f"use the comparison in instead of {operator.value}" if isinstance(node, Sequence) else ""
            raise _ExceptionError(
                f"a value to compare by {operator.value} must be a single one, not {kind_word(node)}",
                Span(source, node.start, node.end),
                hint,
            )
        return self._check(field, comparison, self._word(source, node, _unquoted(node.value)))

    def _single(self, value: ExceptionValue) -> list[Word]:
        if not isinstance(value.node, Scalar):
            hint = "make fields a list to compare rows"
            message = f"fields is a single name, so an entry of values is a single value, not {kind_word(value.node)}"
            raise _ExceptionError(message, value.span, hint)
        return self._members(value.source, value.node)

    def _members(self, source: SourceFile, node: YamlNode) -> list[Word]:
        """The members that one value adds to a set: several if it is written as ``(a, b)``."""
        if not isinstance(node, Scalar):
            raise _ExceptionError(
                f"a member of a set must be a single value, not {kind_word(node)}", Span(source, node.start, node.end)
            )
        if node.value.startswith("(") and node.value.endswith(")"):
            try:
                expr = parse(f"proc.name in {node.value}")
            except ConditionError:
                expr = None
            if isinstance(expr, Check) and isinstance(expr.right, WordList):
                return [self._word(source, node, word.text, word.quoted) for word in expr.right.words]
        return [self._word(source, node, _unquoted(node.value), node.value not in self._lists)]

    def _word(self, source: SourceFile, node: Scalar, text: str, quoted: bool = True) -> Word:
        offset = self._place(source_text(source, node))
        return Word(text, quoted, offset, self._length)

    def _check(self, field: Left, comparison: _Comparison, right: Word | WordList) -> Check:
        place = right.start, right.end
        return Check(field, comparison.operator, right, comparison.quantifier, *place, *place)


def _comparisons(fields: Names, comps: Names | None) -> list[_Comparison]:
    """One comparison for each field."""
    if comps is None:
        return [_Comparison(Operator.IN if fields.single else Operator.EQ)] * len(fields.texts)
    if comps.single != fields.single:
        raise _ExceptionError("fields and comps must both be single names or both be lists", comps.span)
    if len(comps.texts) != len(fields.texts):
        message = f"fields and comps differ in length: {len(fields.texts)} and {len(comps.texts)}"
        raise _ExceptionError(message, comps.span)
    comparisons: list[_Comparison] = []
    for text in comps.texts:
        comparison = _comparison(text.text)
        place = text.span(0, len(text.text))
        if comparison is None:
            raise _ExceptionError(f"{text.text[:40]!r} is not a comparison", place, f"one of {' '.join(_OPERATORS)}")
        if fields.single and not comparison.takes_a_set:
            operator = comparison.operator.value
            hint = "one of in, pmatch, intersects; make fields a list for other comparisons"
            if comparison.operator in QUANTIFIABLE:
                hint = f"write {operator} anyof, or one of in, pmatch, intersects"
            raise _ExceptionError(f"{operator} does not take a set of values", place, hint)
        comparisons.append(comparison)
    return comparisons


def _comparison(text: str) -> _Comparison | None:
    match text.split():
        case [word]:
            operator = _OPERATORS.get(word)
            return _Comparison(operator) if operator else None
        case [word, quantifier]:
            operator = _OPERATORS.get(word)
            if operator in QUANTIFIABLE and quantifier in QUANTIFIERS:
                return _Comparison(operator, QUANTIFIERS[quantifier])
    return None


def _unquoted(value: str) -> str:
    """The value without quotes around it.

    Older rules have quotes there to protect blanks, because values were once pasted into the text of a condition.
    """
    quote = value[:1]
    if len(value) >= 2 and quote in ('"', "'") and value.endswith(quote) and quote not in value[1:-1]:
        return value[1:-1]
    return value
