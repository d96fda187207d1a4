"""The untyped tree of a condition: what is written, and where.

Every node has ``start`` and ``end``, offsets in characters into the condition's text. ``==`` and ``hash`` ignore them:
trees are compared by their content, not by their places.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tiercel_engine.condition import Operator, Quantifier


@dataclass(frozen=True, slots=True)
class Word:
    """A value as written: ``bash``, ``0x1F`` or ``"a b"``; ``text`` is without quotes and escapes.

    Bytes that are not valid UTF-8 (written ``\\xff``) are surrogate escapes in ``text``. Only a bare
    (unquoted) word may be the name of a list.
    """

    text: str
    quoted: bool = False
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class WordList:
    """A list of values, which may be empty: ``(a, "b c", some_list)``."""

    words: tuple[Word, ...]
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class FieldRef:
    """The name of a field, whether or not the field exists, and its argument: ``proc.aname[2]``."""

    name: str
    argument: str | None = None
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class ArgumentList:
    """A list in parentheses among the arguments of a transformer: ``join("-", (proc.name, "x"))``."""

    items: tuple[FieldRef | Call | Word, ...]
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """A transformer applied to arguments, with the selector of ``getopt(…)[x]`` if there is one."""

    name: str
    arguments: tuple[FieldRef | Call | Word | ArgumentList, ...]
    selector: str | None = None
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class ValueOf:
    """``val(field)``: the value of another field, on the right side."""

    operand: FieldRef
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


Left = FieldRef | Call
Right = Word | WordList | ValueOf | Call


@dataclass(frozen=True, slots=True)
class Check:
    """``left operator right``. ``right`` is None for ``exists`` alone.

    ``in``, ``intersects``, ``pmatch`` and quantified operators take a WordList, or one bare Word that
    names a list.
    """

    left: Left
    operator: Operator
    right: Right | None = None
    quantifier: Quantifier | None = None
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)
    operator_start: int = field(default=0, compare=False)
    operator_end: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class MacroName:
    """The use of a macro."""

    name: str
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Not:
    """``not operand``."""

    operand: Expr
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class And:
    """Two or more operands: ``a and b and c`` is one node."""

    operands: tuple[Expr, ...]
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Or:
    """Two or more operands: ``a or b or c`` is one node."""

    operands: tuple[Expr, ...]
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


Expr = Check | MacroName | Not | And | Or
