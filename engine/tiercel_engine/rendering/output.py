"""Output templates: the text of a rule's ``output`` with the fields that it names.

``%field``, ``%field[argument]``, ``%transformer(field)`` as in conditions, and a width as in ``%20proc.name``, which
pads and cuts. A ``*`` before the whole text asks for what happens anyway: a field without a value
prints ``<NA>``. As in Falco (libsinsp, eventformatter.cpp), a field may touch the text behind it:
``%proc.names`` is ``%proc.name`` and an s, which is worth a remark.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tiercel_engine.condition import FieldOperand, Operand, Transformed
from tiercel_engine.evaluation.transformers import value_of
from tiercel_engine.evaluation.walk import field_operands
from tiercel_engine.event import Event, Value
from tiercel_engine.fields import lookup
from tiercel_engine.fields.model import Argument, FieldType
from tiercel_engine.language.errors import ConditionError
from tiercel_engine.language.lexer import shown
from tiercel_engine.language.operand_types import UnknownField, field_operand, transformed
from tiercel_engine.language.parser import parse
from tiercel_engine.language.syntax import Call, Check, FieldRef
from tiercel_engine.suggestions import Guesses
from tiercel_engine.units import rfc3339

MISSING = "<NA>"
MOST_PLACES = 256
"""Placeholders of one output."""
LONGEST = 1 << 16
"""Characters of an alert's text; what is beyond is cut. Alerts wait in memory, and outputs are tenants' too."""

_LONGEST_NAME = 256
# What older rules name, and Falco still accepts and drops.
_DROPPED = "container.info"

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*")
_WIDTH = re.compile(r"[0-9]{0,4}")
_ARGUMENT = re.compile(r"""\["([^"\n]*)"\]|\['([^'\n]*)'\]|\[([^\[\]\s"']+)\]""")
_SELECTOR = re.compile(r"\[[^\[\]\s]\]")
# What the end of a transformer's arguments depends on. One branch each character, so linear.
_BRACKETS = re.compile(r"""[()"']|\\.""", re.DOTALL)


class OutputError(Exception):
    """What is wrong with an output at ``start`` to ``end`` (offsets in characters), and what would be right.

    ``unknown_field``: a field is not known, which ``skip-if-unknown-filter`` forgives.
    """

    def __init__(self, message: str, start: int, end: int, hint: str = "", *, unknown_field: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.start = start
        self.end = end
        self.hint = hint
        self.unknown_field = unknown_field


@dataclass(frozen=True, slots=True)
class Remark:
    """Something odd in an output that can be printed all the same; ``code`` is one of Falco's warnings."""

    code: str
    message: str
    start: int
    end: int
    hint: str = ""


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
    remarks: tuple[Remark, ...] = ()

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
        """The output with the values that ``values`` gave, cut at ``LONGEST``."""
        text = "".join(
            part if isinstance(part, str) else _padded(format_value(values[part.text], part.operand.type), part.width)
            for part in self.parts
        )
        return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


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


def compile_output(text: str, guesses: Guesses | None = None) -> Output:
    """The template that a rule's ``output`` describes. Raises OutputError.

    ``guesses`` gives the hints for misspelt fields: many outputs share one.
    """
    guesses = guesses or Guesses()
    parts: list[str | Placeholder] = []
    remarks: list[Remark] = []
    position = 1 if text.startswith("*") else 0
    places = 0
    while (percent := text.find("%", position)) >= 0:
        if percent > position:
            parts.append(text[position:percent])
        if text.startswith(_DROPPED, percent + 1):
            position = percent + 1 + len(_DROPPED)
            message = f"%{_DROPPED} is deprecated and prints nothing"
            hint = "write %container.id and %container.name"
            remarks.append(Remark("LOAD_DEPRECATED_ITEM", message, percent, position, hint))
            continue
        places += 1
        if places > MOST_PLACES:
            raise OutputError(f"there are more than {MOST_PLACES} fields", percent, percent + 1, "leave some out")
        placeholder, position = _placeholder(text, percent, remarks, guesses)
        parts.append(placeholder)
    if position < len(text):
        parts.append(text[position:])
    return Output(tuple(parts), tuple(remarks))


def _placeholder(text: str, percent: int, remarks: list[Remark], guesses: Guesses) -> tuple[Placeholder, int]:
    match = _WIDTH.match(text, percent + 1)
    assert match is not None
    operand, name, end = _operand(text, match.end(), percent, remarks, guesses)
    if any(inner.field.name == "evt.dir" for inner in field_operands(operand)):
        message = "evt.dir is always <, since an event is a system call at its return"
        remarks.append(Remark("LOAD_DEPRECATED_ITEM", message, match.end(), end, "leave it out"))
    return Placeholder(name, operand, int(match[0] or 0)), end


def _operand(
    text: str, start: int, percent: int, remarks: list[Remark], guesses: Guesses
) -> tuple[FieldOperand | Transformed, str, int]:
    """The field or transformer at ``start``, its name in ``output_fields``, and the offset behind it."""
    match = _NAME.match(text, start)
    if match is None:
        raise OutputError("% must be followed by a field", percent, percent + 1, "such as %proc.name")
    if text.startswith("(", match.end()):
        end = _end_of_call(text, match)
        operand = _transformer(text, start, end, guesses)
        return operand, text[start:end], end
    written = match[0]
    name = written[:_LONGEST_NAME]
    while (field := lookup(name)) is None and name:
        name = name[:-1]
    end = start + len(name)
    if field is None or (end < match.end() and text[end] != "."):
        hint = guesses.field(f"%{written}")
        message = f"there is no field {shown(written)}"
        if field is None:
            raise OutputError(message, start, match.end(), hint, unknown_field=True)
        rest = written[len(name) :]
        message += f": it is read as %{name} with the text {shown(rest)} behind it"
        remarks.append(Remark("LOAD_COMPILE_CONDITION", message, start, match.end(), hint))
    argument = None if field.argument is Argument.NONE else _ARGUMENT.match(text, end)
    value = None
    if argument is not None:
        value = next(group for group in argument.groups() if group is not None)
        end = argument.end()
    try:
        found = field_operand(FieldRef(name, value, start, end))
    except ConditionError as error:
        raise OutputError(error.message, error.start, error.end, error.hint) from None
    return found, found.key, end


def _end_of_call(text: str, name: re.Match[str]) -> int:
    """The offset behind the transformer that begins with ``name``."""
    depth, quote = 0, ""
    for match in _BRACKETS.finditer(text, name.end()):
        character = match[0]
        if quote:
            quote = "" if character == quote else quote
        elif character in ("'", '"'):
            quote = character
        elif character in ("(", ")"):
            depth += 1 if character == "(" else -1
            if depth == 0:
                selector = _SELECTOR.match(text, match.end()) if name[0] == "getopt" else None
                return selector.end() if selector else match.end()
    raise OutputError(f"the parenthesis of {name[0]} is not closed", name.start(), name.end() + 1)


def _transformer(text: str, start: int, end: int, guesses: Guesses) -> Transformed:
    # A transformer is written as in a condition, so it is read as the left side of one.
    try:
        check = parse(f"{text[start:end]} exists")
        assert isinstance(check, Check)
        assert isinstance(check.left, Call)
        return transformed(check.left)
    except ConditionError as error:
        unknown = isinstance(error, UnknownField)
        hint = guesses.field(error.name) if isinstance(error, UnknownField) else error.hint
        place = start + error.start, min(start + error.end, end)
        raise OutputError(error.message, *place, hint, unknown_field=unknown) from None
