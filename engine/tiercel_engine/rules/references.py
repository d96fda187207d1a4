"""Finds the fields, macros and bare words that a condition refers to, without checking it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tiercel_engine.language.syntax import (
    And,
    ArgumentList,
    Call,
    Check,
    Expr,
    FieldRef,
    MacroName,
    Not,
    Or,
    ValueOf,
    Word,
    WordList,
)

_Operand = FieldRef | Call | ArgumentList | Word | WordList | ValueOf | None


@dataclass(frozen=True, slots=True)
class References:
    """What a condition refers to.

    ``words`` are the bare values at their first places. A word that is the name of a list stands for its items.
    """

    fields: tuple[FieldRef, ...]
    macros: tuple[MacroName, ...]
    words: Mapping[str, Word]


def find_references(expr: Expr) -> References:
    """The references in the tree of a condition, in the order of its text."""
    fields: list[FieldRef] = []
    macros: list[MacroName] = []
    words: dict[str, Word] = {}
    stack: list[Expr] = [expr]
    while stack:
        node = stack.pop()
        match node:
            case And() | Or():
                stack.extend(reversed(node.operands))
            case Not():
                stack.append(node.operand)
            case MacroName():
                macros.append(node)
            case Check():
                for part in (*_parts(node.left), *_parts(node.right)):
                    if isinstance(part, FieldRef):
                        fields.append(part)
                    elif not part.quoted:
                        words.setdefault(part.text, part)
    return References(tuple(fields), tuple(macros), words)


def _parts(operand: _Operand) -> Iterator[FieldRef | Word]:
    """The fields and values in an operand. Recursion is bounded: the parser limits how deeply transformers nest."""
    match operand:
        case FieldRef() | Word():
            yield operand
        case WordList():
            yield from operand.words
        case ValueOf():
            yield operand.operand
        case Call():
            for argument in operand.arguments:
                yield from _parts(argument)
        case ArgumentList():
            for item in operand.items:
                yield from _parts(item)
