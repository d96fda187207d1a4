"""Output templates: the text of a rule's ``output`` with the fields that it names.

``%field``, ``%field[argument]``, ``%transformer(field)``, and a width as in ``%20proc.name``, which
pads and cuts. A ``*`` before the whole text asks for what happens anyway: a field without a value
prints ``<NA>``. Falco's formatter (libsinsp, eventformatter.cpp) is the model, but a field that
is followed by more text without a boundary isn't guessed at by ever shorter names, only by parts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any

from tiercel_engine.condition import FieldOperand, Operand, Transformed
from tiercel_engine.evaluation.transformers import value_of
from tiercel_engine.evaluation.walk import field_operands
from tiercel_engine.event import Event, Value
from tiercel_engine.fields import lookup, similar
from tiercel_engine.fields.model import Argument, ArgumentKind, FieldType, Multiplicity

MISSING = "<NA>"

_MAX_NESTING = 16
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*")
_WIDTH = re.compile(r"[0-9]{0,4}")
_ARGUMENT = re.compile(r"""\["([^"\n]*)"\]|\['([^'\n]*)'\]|\[([^\[\]\s"']+)\]""")
_TEXT = (FieldType.STRING, FieldType.FLAGS)
_TRANSFORMERS: Mapping[str, tuple[FieldType, ...]] = {
    "tolower": _TEXT,
    "toupper": _TEXT,
    "basename": _TEXT,
    "b64": (*_TEXT, FieldType.BYTES),
    "len": (*_TEXT, FieldType.BYTES),
}
"""Transformers of one field, with the types that they take; ``len`` takes lists of any type."""


class OutputError(Exception):
    """What is wrong with an output at ``start`` to ``end`` (offsets in characters), and what would be right."""

    def __init__(self, message: str, start: int, end: int, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.start = start
        self.end = end
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One value in an output. ``text`` is its name in ``output_fields``: ``proc.aname[2]``, ``tolower(proc.name)``."""

    text: str
    operand: Operand
    width: int = 0


@dataclass(frozen=True, slots=True)
class Output:
    """A template. ``parts`` are literal text and placeholders, as they follow each other."""

    parts: tuple[str | Placeholder, ...]

    @property
    def fields(self) -> frozenset[str]:
        """The keys in an ``Event`` that the output reads."""
        return frozenset(
            operand.key
            for part in self.parts
            if isinstance(part, Placeholder)
            for operand in field_operands(part.operand)
        )

    def values(self, event: Event) -> dict[str, Value | None]:
        """What the placeholders stand for, by their text, in their order; None for a field without a value."""
        return {part.text: value_of(part.operand, event) for part in self.parts if isinstance(part, Placeholder)}

    def format(self, event: Event) -> str:
        """The output for an event: unescaped, whatever the values hold."""
        return self.render(self.values(event))

    def render(self, values: Mapping[str, Value | None]) -> str:
        """The output with the values that ``values`` gave."""
        return "".join(
            part if isinstance(part, str) else _padded(format_value(values[part.text], part.operand.type), part.width)
            for part in self.parts
        )


def _padded(text: str, width: int) -> str:
    return text[:width].ljust(width) if width else text


def format_value(value: Any, kind: FieldType) -> str:
    """A value as an output shows it: lists as ``(a,b)``, times in RFC 3339, bytes as the text that they may be."""
    if value is None:
        return MISSING
    if isinstance(value, list):
        return f"({','.join(format_value(member, kind) for member in value)})" if value else MISSING
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if kind is FieldType.TIME and isinstance(value, int):
        return rfc3339(value)
    return str(value)


def rfc3339(time: int) -> str:
    """Nanoseconds since the epoch as ``2026-11-23T11:00:00.123456789Z``; beyond year 9999 the number itself."""
    seconds, nanoseconds = divmod(time, 1_000_000_000)
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"
    except (ValueError, OverflowError, OSError):
        return str(time)


def compile_output(text: str) -> Output:
    """The template that a rule's ``output`` describes. Raises OutputError."""
    parts: list[str | Placeholder] = []
    position = 1 if text.startswith("*") else 0
    while (percent := text.find("%", position)) >= 0:
        if percent > position:
            parts.append(text[position:percent])
        placeholder, position = _placeholder(text, percent)
        parts.append(placeholder)
    if position < len(text):
        parts.append(text[position:])
    return Output(tuple(parts))


def _placeholder(text: str, percent: int) -> tuple[Placeholder, int]:
    match = _WIDTH.match(text, percent + 1)
    assert match is not None
    operand, shown, end = _operand(text, match.end(), percent, 0)
    return Placeholder(shown, operand, int(match[0] or 0)), end


def _operand(text: str, start: int, percent: int, depth: int) -> tuple[FieldOperand | Transformed, str, int]:
    """The field or transformer at ``start``, its text, and the offset behind it."""
    match = _NAME.match(text, start)
    if match is None:
        raise OutputError(
            "% must be followed by a field", percent, percent + 1, "such as %proc.name; write `percent` for the sign"
        )
    if text.startswith("(", match.end()):
        return _transformed(text, match, percent, depth)
    name = match[0]
    while (field := lookup(name)) is None and "." in name:
        name = name.rpartition(".")[0]
    if field is None:
        meant = similar(match[0], 1)
        raise OutputError(f"unknown field {match[0]}", start, match.end(), f"did you mean {meant[0]}?" if meant else "")
    end = start + len(name)
    argument = _ARGUMENT.match(text, end)
    if argument is None or field.argument is Argument.NONE:
        if field.argument is Argument.REQUIRED:
            raise OutputError(f"{name} needs an argument", start, end, f"such as %{name}[1]")
        operand = FieldOperand(field)
        return operand, operand.key, end
    value = next(group for group in argument.groups() if group is not None)
    if field.argument_kind is ArgumentKind.INDEX:
        if not (value.isascii() and value.isdecimal() and len(value) < 10):
            raise OutputError(f"the argument of {name} must be a number", end, argument.end(), f"such as %{name}[1]")
        value = str(int(value))
    operand = FieldOperand(field, value)
    return operand, operand.key, argument.end()


def _transformed(text: str, name: re.Match[str], percent: int, depth: int) -> tuple[Transformed, str, int]:
    types = _TRANSFORMERS.get(name[0])
    if types is None:
        meant = get_close_matches(name[0], _TRANSFORMERS, 1)
        hint = f"did you mean {meant[0]}?" if meant else f"one of {', '.join(_TRANSFORMERS)}"
        raise OutputError(f"{name[0]} is no transformer of an output", name.start(), name.end(), hint)
    if depth == _MAX_NESTING:
        raise OutputError(f"transformers nest deeper than {_MAX_NESTING} levels", name.start(), name.end())
    inner, shown, end = _operand(text, name.end() + 1, percent, depth + 1)
    if not text.startswith(")", end):
        raise OutputError(f"the parenthesis of {name[0]} is not closed", name.start(), end, f"%{name[0]}({shown})")
    counts = name[0] == "len" and inner.multiplicity is not Multiplicity.ONE
    if inner.type not in types and not counts:
        raise OutputError(
            f"{name[0]} can't be applied to {shown}, which is of type {inner.type.value}", name.start(), end
        )
    kind = FieldType.INTEGER if name[0] == "len" else inner.type
    multiplicity = Multiplicity.ONE if name[0] == "len" else inner.multiplicity
    return Transformed(name[0], (inner,), kind, multiplicity), f"{name[0]}({shown})", end + 1
