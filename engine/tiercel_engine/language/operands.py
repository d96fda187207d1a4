"""Parses one check of a condition: a field or transformer, an operator, and its right side."""

from __future__ import annotations

from tiercel_engine.condition import Operator, Quantifier
from tiercel_engine.language import operators
from tiercel_engine.language.errors import ConditionError
from tiercel_engine.language.lexer import Lexer, is_name, shown
from tiercel_engine.language.syntax import (
    ArgumentList,
    Call,
    Check,
    FieldRef,
    Left,
    MacroName,
    Right,
    ValueOf,
    Word,
    WordList,
)

_NOT_OPERATORS = frozenset({"=~", "===", "!==", "<>"})


class CheckParser:
    """Parses checks at the position of a lexer.

    ``max_depth`` limits nested parentheses, including those around the check.
    """

    __slots__ = ("_lexer", "_max_depth")

    def __init__(self, lexer: Lexer, max_depth: int) -> None:
        self._lexer = lexer
        self._max_depth = max_depth

    def check_or_macro(self, depth: int) -> Check | MacroName:
        """Reads the check or macro that begins here, inside ``depth`` levels of parentheses. Raises ConditionError."""
        lexer = self._lexer
        start, name = lexer.position, lexer.peek_name()
        left = self._call_here(depth) or self._field_here()
        if left is not None:
            return self._check(left, depth)
        if not is_name(name):
            raise ConditionError(
                f"`{shown(name)}` is neither a field nor a macro",
                start,
                start + len(name),
                "a name has letters, digits and `_`; the parts of a field's name are joined by dots",
            )
        lexer.position += len(name)
        return MacroName(name, start, lexer.position)

    # Operators

    def _check(self, left: Left, depth: int) -> Check:
        lexer = self._lexer
        start = lexer.skip_blanks()
        operator = self._operator(left)
        end = lexer.position
        right: Right | None = None
        quantifier: Quantifier | None = None
        lexer.skip_blanks()
        if operator in operators.SET:
            right = self._list_or_operand(operator, start, end, depth)
        elif operator is not Operator.EXISTS:
            if operator in operators.QUANTIFIABLE:
                quantifier = self._quantifier()
            if quantifier is not None:
                right = self._list(quantifier.value, start, lexer.position)
            else:
                right = self._value_or_operand(operator, start, end, depth)
        check_end = right.end if right is not None else end
        return Check(left, operator, right, quantifier, left.start, check_end, start, end)

    def _operator(self, left: Left) -> Operator:
        lexer = self._lexer
        start = lexer.position
        subject = shown(lexer.text[left.start : left.end])
        symbols = lexer.peek_symbols()
        for written, operator in operators.SYMBOLS.items():
            if symbols.startswith(written):
                if symbols in _NOT_OPERATORS and self._stands_alone(symbols):
                    break
                lexer.position += len(written)
                return operator
        word = lexer.peek_name()
        if not symbols and word in operators.WORDS:
            operator = operators.WORDS[word]
            lexer.position += len(word)
            if lexer.next in ('"', "'") or (lexer.next == "(" and operator not in operators.SET):
                raise ConditionError(
                    f"`{word}` must be followed by a blank", start, lexer.position, f"write `{word} {lexer.next}`"
                )
            return operator
        lexeme = symbols or word or lexer.next
        if lexeme in ("", ")") or word in ("and", "or"):
            hint = f"such as `{subject} = value`, `{subject} in (a, b)` or `{subject} exists`"
            raise ConditionError(f"expected an operator after {subject}", left.start, left.end, hint)
        if word == "not":
            hint = f"write `not {subject} …`: `not` stands before the field"
        elif lexeme == "[":
            hint = "no blank stands before `[`"
        else:
            hint = operators.similar_operator(lexeme)
        raise ConditionError(
            f"expected an operator after {subject}, not `{shown(lexeme)}`", start, start + len(lexeme), hint
        )

    def _stands_alone(self, symbols: str) -> bool:
        """Whether no value directly follows: ``fd.name =~/x`` is the operator ``=`` with the value ``~/x``."""
        lexer = self._lexer
        after = lexer.position + len(symbols)
        return lexer.text[after : after + 1] in ("", '"', "'", " ", "\n", "\t")

    def _quantifier(self) -> Quantifier | None:
        """Reads a quantifier, or gives None. ``anyof`` without a list after it is an ordinary value."""
        lexer = self._lexer
        start = lexer.position
        quantifier = operators.QUANTIFIERS.get(lexer.peek_name())
        if quantifier is None:
            return None
        lexer.position += len(quantifier.value)
        lexer.skip_blanks()
        if lexer.next == "(" or (is_name(lexer.peek_name()) and lexer.peek_name() not in ("and", "or", "not")):
            return quantifier
        lexer.position = start
        return None

    # The right side

    def _value_or_operand(self, operator: Operator, start: int, end: int, depth: int) -> Right:
        operand = self._operand_on_the_right(depth)
        if operand is not None:
            return operand
        word = self._word()
        if word is not None:
            return word
        sign, lexeme = operator.value, self._lexer.next
        if lexeme == "(":
            if operator in operators.NUMERIC:
                hint = ""
            elif operator in (Operator.EQ, Operator.NE):
                negation = "not " if operator is Operator.NE else ""
                hint = f"write `{negation}field in (…)`"
            else:
                hint = f"write `{sign} anyof (…)`"
            raise ConditionError(f"`{sign}` takes one value, not a list", start, self._lexer.position + 1, hint)
        raise ConditionError(f"`{sign}` must be followed by a value", start, end, 'an empty value is written ""')

    def _list_or_operand(self, operator: Operator, start: int, end: int, depth: int) -> Right:
        operand = None if self._lexer.next == "(" else self._operand_on_the_right(depth)
        return operand if operand is not None else self._list(operator.value, start, end)

    def _list(self, taker: str, start: int, end: int) -> WordList | Word:
        """Reads a list, or the bare word that names one. ``taker`` is the operator or quantifier before it."""
        lexer = self._lexer
        if lexer.next == "(":
            return self._word_list()
        word = self._word()
        if word is None:
            raise ConditionError(f"`{taker}` must be followed by a list", start, end, "such as `(a, b)`")
        if word.quoted:
            written = shown(lexer.text[word.start : word.end])
            raise ConditionError(f"`{taker}` takes a list", word.start, word.end, f"write `{taker} ({written})`")
        return word

    def _word(self) -> Word | None:
        """Reads a value, or gives None. A bare value directly before ``(`` was meant as a transformer: an error."""
        lexer = self._lexer
        word = lexer.quoted() or lexer.bare_value()
        if word is not None and not word.quoted and lexer.next == "(":
            if word.text in (*operators.TRANSFORMERS, operators.VAL):
                raise ConditionError(f"`{word.text}(…)` cannot stand in a list", word.start, word.end)
            raise ConditionError(
                f"`{shown(word.text)}` is no transformer",
                word.start,
                word.end,
                operators.similar_transformer(word.text),
            )
        return word

    def _word_list(self) -> WordList:
        lexer = self._lexer
        start = lexer.position
        lexer.take("(")
        words: list[Word] = []
        lexer.skip_blanks()
        if lexer.take(")"):
            return WordList((), start, lexer.position)
        while True:
            at = lexer.skip_blanks()
            word = self._word()
            if word is None:
                self._expect_more(start)
                raise ConditionError(
                    f"expected a value, not `{shown(lexer.next)}`", at, at + 1, 'an empty value is written ""'
                )
            words.append(word)
            at = lexer.skip_blanks()
            if lexer.take(")"):
                return WordList(tuple(words), start, lexer.position)
            if not lexer.take(","):
                self._expect_more(start)
                raise ConditionError(
                    f"expected `,` or `)`, not `{shown(lexer.next)}`",
                    at,
                    at + 1,
                    'a value with blanks or quotes in it is written in quotes: "a b"',
                )

    def _operand_on_the_right(self, depth: int) -> Call | ValueOf | None:
        lexer = self._lexer
        start = lexer.position
        if lexer.peek_name() != operators.VAL or not lexer.text.startswith("(", start + len(operators.VAL)):
            return self._call_here(depth, known_only=True)
        lexer.position += len(operators.VAL) + 1
        at = lexer.skip_blanks()
        field = self._field_here()
        if field is None:
            self._expect_more(start)
            raise ConditionError(
                "`val(…)` takes the name of a field",
                at,
                at + max(1, len(lexer.peek_name())),
                "such as `val(proc.pname)`",
            )
        self._close_call(start, "val")
        return ValueOf(field, start, lexer.position)

    # Fields and transformers

    def _field_here(self) -> FieldRef | None:
        """Reads a field with its argument. None if there is no name with a dot here."""
        lexer = self._lexer
        start, name = lexer.position, lexer.peek_name()
        if "." not in name or not is_name(name):
            return None
        lexer.position += len(name)
        argument = self._bracketed()
        return FieldRef(name, argument, start, lexer.position)

    def _bracketed(self) -> str | None:
        """Reads an argument in brackets, or gives None."""
        lexer = self._lexer
        start = lexer.position
        if not lexer.take("["):
            return None
        quoted = lexer.quoted()
        argument = quoted.text if quoted is not None else lexer.bare_argument()
        if argument is None:
            hint = "no blanks stand within `[` and `]`" if lexer.next.isspace() else "such as `[1]` or `[name]`"
            raise ConditionError("expected an argument after `[`", start, start + 1, hint)
        if not lexer.take("]"):
            raise ConditionError(
                "expected `]` after the argument",
                start,
                max(start + 1, lexer.position),
                "an argument with blanks, quotes or brackets in it is written in quotes",
            )
        return argument

    def _call_here(self, depth: int, *, known_only: bool = False) -> Call | None:
        """Reads a transformer with its arguments. None if there is no name directly before ``(`` here."""
        lexer = self._lexer
        start, name = lexer.position, lexer.peek_name()
        if not name or not lexer.text.startswith("(", start + len(name)):
            return None
        if name not in operators.TRANSFORMERS:
            if known_only:
                return None
            if name == operators.VAL:
                raise ConditionError("`val(…)` stands on the right of an operator only", start, start + len(name))
            raise ConditionError(
                f"`{shown(name)}` is no transformer", start, start + len(name), operators.similar_transformer(name)
            )
        if depth + 1 > self._max_depth:
            raise ConditionError(f"parentheses nest deeper than {self._max_depth} levels", start, start + len(name))
        lexer.position += len(name) + 1
        arguments: list[FieldRef | Call | Word | ArgumentList] = []
        while True:
            at = lexer.skip_blanks()
            if lexer.take("("):
                arguments.append(self._argument_list(at, depth + 1))
            else:
                arguments.append(self._argument(name, start, depth + 1))
            lexer.skip_blanks()
            if not lexer.take(","):
                break
        self._close_call(start, name)
        selector = self._bracketed()
        return Call(name, tuple(arguments), selector, start, lexer.position)

    def _argument_list(self, start: int, depth: int) -> ArgumentList:
        lexer = self._lexer
        items: list[FieldRef | Call | Word] = []
        lexer.skip_blanks()
        if lexer.take(")"):
            return ArgumentList((), start, lexer.position)
        while True:
            lexer.skip_blanks()
            items.append(self._argument("", start, depth))
            at = lexer.skip_blanks()
            if lexer.take(")"):
                return ArgumentList(tuple(items), start, lexer.position)
            if not lexer.take(","):
                self._expect_more(start)
                raise ConditionError(f"expected `,` or `)`, not `{shown(lexer.next)}`", at, at + 1)

    def _argument(self, transformer: str, start: int, depth: int) -> FieldRef | Call | Word:
        lexer = self._lexer
        at = lexer.position
        argument = lexer.quoted() or self._call_here(depth) or self._field_here()
        if argument is not None:
            return argument
        self._expect_more(start)
        name = lexer.peek_name()
        if name.lstrip("+-")[:1].isdecimal() and name.isascii():
            lexer.position += len(name)
            return Word(name, False, at, lexer.position)
        lexeme = name or lexer.next
        hint = f'write "{lexeme}" in quotes if that is text' if is_name(name) and len(name) < 40 else ""
        what = (
            f"`{transformer}(` takes fields, transformers and quoted text"
            if transformer
            else "expected a field or text"
        )
        raise ConditionError(f"{what}, not `{shown(lexeme)}`", at, at + len(lexeme), hint)

    def _close_call(self, start: int, name: str) -> None:
        at = self._lexer.skip_blanks()
        if not self._lexer.take(")"):
            self._expect_more(start)
            raise ConditionError(
                f"expected `)` to close `{name}(`, not `{shown(self._lexer.peek_name() or self._lexer.next)}`",
                at,
                at + max(1, len(self._lexer.peek_name())),
            )

    def _expect_more(self, opened: int) -> None:
        """Raises ConditionError at the end of the text, for the parenthesis that is not closed."""
        if self._lexer.at_end():
            opening = self._lexer.text.index("(", opened)
            raise ConditionError("this `(` is never closed", opening, opening + 1, "add `)`")
