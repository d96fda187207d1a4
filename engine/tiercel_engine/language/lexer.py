"""Reads the tokens of a condition at the parser's position. Which tokens are possible depends on that position.

``>`` is an operator after a field, and a value after ``evt.dir =``. So the text is not split into tokens in advance.
All patterns are single character classes, which take linear time for every text. The forms of tokens are those of
Falco's filter grammar (falcosecurity/libs, filter/parser.h).
"""

from __future__ import annotations

import re

from tiercel_engine.language.errors import ConditionError
from tiercel_engine.language.operators import WORDS
from tiercel_engine.language.syntax import Word
from tiercel_engine.printable import printable

_BLANK = r" \t\n\v\f\r\x08"
_BLANKS = re.compile(rf"[{_BLANK}]*")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z][A-Za-z0-9_]*)*")
_NAME_LIKE = re.compile(rf"[^{_BLANK}()\[\],=!<>\"']+")
_BARE_VALUE = re.compile(rf"[^{_BLANK}(),=\"']+")
_BARE_ARGUMENT = re.compile(rf"[^{_BLANK}\[\]\"']+")
_SYMBOLS = re.compile(r"[=!<>~&|]+")

_ESCAPES = {"b": b"\b", "f": b"\f", "n": b"\n", "r": b"\r", "t": b"\t", "\\": b"\\", "/": b"/", '"': b'"', "'": b"'"}
# Falco reads an escaped blank as a backslash, because old rules need that.
_ESCAPES[" "] = b"\\"
_HEX = frozenset("0123456789abcdefABCDEF")

_SHOWN = 60


def shown(text: str) -> str:
    """A text of a condition as messages show it: short, in one line, and printable."""
    return printable(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")


def is_bare_value(text: str) -> bool:
    """Whether ``text`` can be written as a value without quotes."""
    return _BARE_VALUE.fullmatch(text) is not None


def is_bare_argument(text: str) -> bool:
    """Whether ``text`` can be written between ``[`` and ``]`` without quotes."""
    return _BARE_ARGUMENT.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """Whether ``text`` can be the name of a macro or, with dots, of a field."""
    return _NAME.fullmatch(text) is not None


class Lexer:
    """A position in a text, and methods that read the token there."""

    __slots__ = ("position", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def skip_blanks(self) -> int:
        """Moves past blanks. Returns the new position."""
        match = _BLANKS.match(self.text, self.position)
        assert match is not None
        self.position = match.end()
        return self.position

    @property
    def next(self) -> str:
        """The character at the position, ``""`` at the end."""
        return self.text[self.position : self.position + 1]

    def at_end(self) -> bool:
        """Whether the position is at the end of the text."""
        return self.position >= len(self.text)

    def at_boundary(self) -> bool:
        """Whether a keyword may end here: before a blank, a parenthesis or the end of the text."""
        return self.next in ("", "(", ")") or self.next in " \t\n\v\f\r\x08"

    def take(self, character: str) -> bool:
        """Moves past ``character`` if it is here. Returns whether it is."""
        if self.text.startswith(character, self.position):
            self.position += len(character)
            return True
        return False

    def peek_name(self) -> str:
        """The characters here that may be meant as a name or keyword, ``""`` if there are none."""
        match = _NAME_LIKE.match(self.text, self.position)
        return match[0] if match else ""

    def peek_symbols(self) -> str:
        """The characters of operators here, ``""`` if there are none."""
        match = _SYMBOLS.match(self.text, self.position)
        return match[0] if match else ""

    def at_operator(self) -> bool:
        """Whether an operator that is a word is here."""
        return self.peek_name() in WORDS

    def keyword(self, word: str) -> bool:
        """Moves past ``word`` if it is here as a whole word. Returns whether it is."""
        if self.peek_name() != word:
            return False
        self.position += len(word)
        return True

    def bare_value(self) -> Word | None:
        """Reads a value without quotes; None if there is none here."""
        match = _BARE_VALUE.match(self.text, self.position)
        if match is None:
            return None
        self.position = match.end()
        return Word(match[0], False, match.start(), match.end())

    def bare_argument(self) -> str | None:
        """Reads an argument without quotes; None if there is none here."""
        match = _BARE_ARGUMENT.match(self.text, self.position)
        if match is None:
            return None
        self.position = match.end()
        return match[0]

    def quoted(self) -> Word | None:
        """Reads a quoted string with its escapes; None if there is no quote here. Raises ConditionError.

        The escapes are ``\\\\ \\" \\' \\/ \\b \\f \\n \\r \\t`` and ``\\xHH`` for one byte.
        """
        quote = self.next
        if quote not in ("'", '"') or quote == "":
            return None
        text, start = self.text, self.position
        end = text.find(quote, start + 1)
        backslash = text.find("\\", start + 1, end if end >= 0 else len(text))
        if backslash < 0:
            if end < 0:
                raise self._never_closed(quote, start)
            self.position = end + 1
            return Word(text[start + 1 : end], True, start, end + 1)
        return self._escaped(quote, start)

    def _escaped(self, quote: str, start: int) -> Word:
        text, at = self.text, start + 1
        special = re.compile(rf"[\\{quote}]")
        pieces: list[bytes] = []
        while True:
            match = special.search(text, at)
            if match is None:
                raise self._never_closed(quote, start)
            pieces.append(text[at : match.start()].encode("utf-8", "surrogateescape"))
            at = match.end()
            if match[0] == quote:
                self.position = at
                value = b"".join(pieces).decode("utf-8", "surrogateescape")
                return Word(value, True, start, at)
            escape = text[at : at + 1]
            if escape == "x":
                digits = text[at + 1 : at + 3]
                if len(digits) != 2 or not _HEX.issuperset(digits):
                    raise ConditionError(
                        "`\\x` must be followed by two hexadecimal digits",
                        at - 1,
                        min(at + 1, len(text)),
                        'such as "\\xff"',
                    )
                pieces.append(bytes.fromhex(digits))
                at += 3
            elif escape in _ESCAPES:
                pieces.append(_ESCAPES[escape])
                at += 1
            elif escape == "":
                raise self._never_closed(quote, start)
            else:
                raise ConditionError(
                    f"`\\{shown(escape)}` is not an escape sequence",
                    at - 1,
                    at + 1,
                    f"write \\\\{shown(escape)} for a backslash",
                )

    def _never_closed(self, quote: str, start: int) -> ConditionError:
        return ConditionError(f"this {quote} is never closed", start, start + 1, f"add {quote} where the value ends")
