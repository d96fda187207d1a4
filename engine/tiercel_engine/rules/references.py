"""What a condition refers to, found in its tree without checking it."""

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
    """``words`` are the bare values, each where it stands first: those that name a list stand for its items."""

    fields: tuple[FieldRef, ...]
    macros: tuple[MacroName, ...]
    words: Mapping[str, Word]


def find_references(expr: Expr) -> References:
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
    """The fields and values in an operand. Transformers nest no deeper than the parser allows."""
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
