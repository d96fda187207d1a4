"""Parses the text of a condition to its untyped tree.

``and``, ``or``, ``not`` and parentheses are read in a loop with its own stack, so that neither deep nor wide
conditions exhaust Python's stack. Transformers are read by recursion, which MAX_DEPTH limits.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tiercel_engine.language.errors import ConditionError
from tiercel_engine.language.lexer import Lexer, shown
from tiercel_engine.language.operands import CheckParser
from tiercel_engine.language.syntax import And, Check, Expr, MacroName, Not, Or, Word

MAX_LENGTH = 1 << 20
"""The most characters of a condition."""
MAX_DEPTH = 100
"""The most levels of parentheses, including those of transformers."""

_LOGICAL_HINTS = {
    "&": "write `and`",
    "&&": "write `and`",
    "|": "write `or`",
    "||": "write `or`",
    "!": "write `not`",
}


@dataclass(slots=True)
class _Group:
    """The part of one pair of parentheses, or of the whole text, that has been read."""

    start: int
    nots_outside: list[int]
    """The offsets of the ``not``s before the parenthesis."""
    alternatives: list[Expr] = field(default_factory=list)
    conjuncts: list[Expr] = field(default_factory=list)

    def end_conjunction(self) -> None:
        conjuncts = self.conjuncts
        self.alternatives.append(
            conjuncts[0] if len(conjuncts) == 1 else And(tuple(conjuncts), conjuncts[0].start, conjuncts[-1].end)
        )
        self.conjuncts = []

    def finish(self) -> Expr:
        self.end_conjunction()
        alternatives = self.alternatives
        if len(alternatives) == 1:
            return alternatives[0]
        return Or(tuple(alternatives), alternatives[0].start, alternatives[-1].end)


def parse(text: str) -> Expr:
    """The tree of a condition. Raises ConditionError and nothing else, for every text.

    Time and memory are linear in the length, which MAX_LENGTH limits. ``a or b or c`` is one node, ``not not a`` is
    ``a`` as in Falco, and parentheses have no nodes of their own.
    """
    if len(text) > MAX_LENGTH:
        raise ConditionError(
            f"the condition has {len(text)} characters, more than the {MAX_LENGTH} that are read",
            0,
            1,
            "split it into macros, or move values into lists",
        )
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise ConditionError("this character is not valid Unicode text", error.start, error.end) from None
    return _Parser(text).parse()


class _Parser:
    __slots__ = ("_checks", "_groups", "_lexer")

    def __init__(self, text: str) -> None:
        self._lexer = Lexer(text)
        self._groups = [_Group(0, [])]
        self._checks = CheckParser(self._lexer, MAX_DEPTH)

    def parse(self) -> Expr:
        lexer = self._lexer
        if lexer.skip_blanks() == len(lexer.text):
            raise ConditionError("the condition is empty", 0, len(lexer.text), "such as `evt.type = openat`")
        after = ""
        while True:
            nots = self._nots()
            start = lexer.position
            if lexer.take("("):
                self._groups.append(_Group(start, nots))
                if len(self._groups) > MAX_DEPTH + 1:
                    raise ConditionError(f"parentheses nest deeper than {MAX_DEPTH} levels", start, start + 1)
                after = "("
                continue
            self._expect_expression(after if not nots else "not", nots[-1] if nots else None)
            operand = _negated(self._checks.check_or_macro(len(self._groups) - 1), nots)
            after = self._connective(operand)
            if after == "":
                return self._groups[0].finish()

    def _nots(self) -> list[int]:
        lexer = self._lexer
        positions: list[int] = []
        while True:
            start = lexer.skip_blanks()
            if not lexer.keyword("not"):
                return positions
            positions.append(start)

    def _connective(self, operand: Expr) -> str:
        """Reads closing parentheses and the connective after an operand.

        Returns ``and`` or ``or``, or ``""`` at the end of the text. Raises ConditionError.
        """
        lexer = self._lexer
        while True:
            group = self._groups[-1]
            group.conjuncts.append(operand)
            start = lexer.skip_blanks()
            if lexer.at_end():
                if len(self._groups) > 1:
                    raise ConditionError("this `(` is never closed", group.start, group.start + 1, "add `)`")
                return ""
            if lexer.keyword("and"):
                self._after_connective("and", start)
                return "and"
            if lexer.keyword("or"):
                self._after_connective("or", start)
                group.end_conjunction()
                return "or"
            if not lexer.take(")"):
                raise self._unexpected(operand)
            if len(self._groups) == 1:
                raise ConditionError("this `)` closes nothing", start, start + 1, "remove it, or add `(`")
            self._groups.pop()
            operand = _negated(group.finish(), group.nots_outside)

    def _after_connective(self, word: str, start: int) -> None:
        if not self._lexer.at_boundary():
            raise ConditionError(f"`{word}` must be followed by a blank or `(`", start, self._lexer.position)
        end = self._lexer.position
        self._lexer.skip_blanks()
        if self._lexer.at_end():
            raise ConditionError(f"`{word}` must be followed by an expression", start, end)

    def _expect_expression(self, after: str, not_at: int | None) -> None:
        """Raises ConditionError if no check can begin here. ``after`` is the word before the position."""
        lexer = self._lexer
        start, name = lexer.position, lexer.peek_name()
        if name and name not in ("and", "or"):
            return
        if lexer.at_end():
            if after == "(":
                raise ConditionError("this `(` is never closed", self._groups[-1].start, self._groups[-1].start + 1)
            at = start if not_at is None else not_at
            raise ConditionError(f"`{after}` must be followed by an expression", at, start)
        place = f" after `{after}`" if after else ""
        width = len(name) or len(lexer.peek_symbols()) or 1
        lexeme = shown(lexer.text[start : start + width])
        hint = _LOGICAL_HINTS.get(lexeme, "")
        if after == "(" and lexeme == ")":
            hint = "empty parentheses say nothing: remove them"
        elif lexeme in ('"', "'"):
            hint = "a check begins with a field, such as `proc.name = …`"
        raise ConditionError(f"expected an expression{place}, not `{lexeme}`", start, start + width, hint)

    def _unexpected(self, operand: Expr) -> ConditionError:
        lexer = self._lexer
        start, name = lexer.position, lexer.peek_name()
        symbols = lexer.peek_symbols()
        lexeme = name or symbols or lexer.next
        hint = _LOGICAL_HINTS.get(symbols, "")
        last = operand.operand if isinstance(operand, Not) else operand
        if name.lower() in ("and", "or"):
            hint = f"write `{name.lower()}`"
        elif not hint and isinstance(last, MacroName) and (symbols or lexer.at_operator()):
            hint = f"`{shown(last.name)}` is read as a macro; the name of a field has a dot, such as `proc.name`"
        elif isinstance(last, Check) and isinstance(last.right, Word) and not hint:
            if not last.right.quoted and last.right.text in ("and", "or"):
                return ConditionError(
                    f"`{last.operator.value}` must be followed by a value",
                    last.operator_start,
                    last.operator_end,
                    f'write "{last.right.text}" in quotes if that is the value',
                )
            if lexeme == ",":
                hint = "several values are written `in (a, b)`"
            elif not last.right.quoted:
                hint = "a value with blanks, quotes, `=`, `,`, `(` or `)` in it is written in quotes"
        return ConditionError(
            f"expected `and`, `or` or the end after `{shown(lexer.text[last.start : last.end])}`,"
            f" not `{shown(lexeme)}`",
            start,
            start + len(lexeme),
            hint,
        )


def _negated(operand: Expr, nots: list[int]) -> Expr:
    return Not(operand, nots[0], operand.end) if len(nots) % 2 else operand
