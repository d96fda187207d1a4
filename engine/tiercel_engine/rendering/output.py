"""Output templates: the text of a rule's ``output`` with placeholders for fields.

Placeholders are ``%field``, ``%field[argument]`` and ``%transformer(field)``, written as in conditions. A width, as in
``%20proc.name``, pads or cuts the value. A field without a value prints ``<NA>``; a ``*`` before the whole text asks
for that in Falco, and has no effect here. As in Falco (libsinsp, eventformatter.cpp), text may directly follow a
field: ``%proc.names`` is ``%proc.name`` and an s. That gives a remark.
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
from tiercel_engine.suggestions import Suggester
from tiercel_engine.units import rfc3339

MISSING = "<NA>"
MOST_PLACES = 256
"""The largest number of placeholders in one output."""
LONGEST = 1 << 16
"""The most characters of an alert's text; the rest is cut, because alerts of tenants wait in memory too."""

_LONGEST_NAME = 256
# Older rules name this, and Falco still accepts it and prints nothing for it.
_DROPPED = "container.info"

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*")
_WIDTH = re.compile(r"[0-9]{0,4}")
_ARGUMENT = re.compile(r"""\["([^"\n]*)"\]|\['([^'\n]*)'\]|\[([^\[\]\s"']+)\]""")
_SELECTOR = re.compile(r"\[[^\[\]\s]\]")
# The characters that decide where the arguments of a transformer end. The branches begin differently: linear time.
_BRACKETS = re.compile(r"""[()"']|\\.""", re.DOTALL)


class OutputError(Exception):
    """An output is wrong from ``start`` to ``end`` (offsets in characters); ``hint`` says what would be right.

    ``unknown_field`` is true if a field is not known: ``skip-if-unknown-filter`` allows that.
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
    """A warning about an output that can be used nevertheless. ``code`` is the code of one of Falco's warnings."""

    code: str
    message: str
    start: int
    end: int
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One placeholder. ``text`` is its name in ``output_fields``: ``proc.aname[2]``, ``tolower(proc.name)``.

    ``width`` is the number of characters that it is padded or cut to, 0 for no change.
    """

    text: str
    operand: Operand
    width: int = 0


@dataclass(frozen=True, slots=True)
class Output:
    """A compiled output. ``parts`` are the literal texts and the placeholders in their order."""

    parts: tuple[str | Placeholder, ...]
    remarks: tuple[Remark, ...] = ()

    @property
    def fields(self) -> frozenset[str]:
        """The keys of the fields that the output reads from an ``Event``."""
        return frozenset(
            operand.key
            for part in self.parts
            if isinstance(part, Placeholder)
            for operand in field_operands(part.operand)
        )

    def values(self, event: Event) -> dict[str, Value | None]:
        """The values of the placeholders for an event, by their text and in their order; None for a missing value."""
        return {part.text: value_of(part.operand, event) for part in self.parts if isinstance(part, Placeholder)}

    def format(self, event: Event) -> str:
        """The text for an event. It is not escaped: values appear as they are."""
        return self.render(self.values(event))

    def render(self, values: Mapping[str, Value | None]) -> str:
        """The text with values as the method ``values`` gives them, cut to ``LONGEST`` characters."""
        text = "".join(
            part if isinstance(part, str) else _padded(format_value(values[part.text], part.operand.type), part.width)
            for part in self.parts
        )
        return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _padded(text: str, width: int) -> str:
    return text[:width].ljust(width) if width else text


def format_value(value: Any, kind: FieldType) -> str:
    """A value as outputs show it: lists as ``(a,b)``, times in RFC 3339, bytes decoded as UTF-8 text."""
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


def compile_output(text: str, suggester: Suggester | None = None) -> Output:
    """Compiles the text of a rule's ``output``. Raises OutputError.

    ``suggester`` gives the hints for misspelt fields. It is shared by many outputs, so that their number is limited.
    """
    suggester = suggester or Suggester()
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
        placeholder, position = _placeholder(text, percent, remarks, suggester)
        parts.append(placeholder)
    if position < len(text):
        parts.append(text[position:])
    return Output(tuple(parts), tuple(remarks))


def _placeholder(text: str, percent: int, remarks: list[Remark], suggester: Suggester) -> tuple[Placeholder, int]:
    match = _WIDTH.match(text, percent + 1)
    assert match is not None
    operand, name, end = _operand(text, match.end(), percent, remarks, suggester)
    if any(inner.field.name == "evt.dir" for inner in field_operands(operand)):
        message = "evt.dir is always <, since an event is a system call at its return"
        remarks.append(Remark("LOAD_DEPRECATED_ITEM", message, match.end(), end, "leave it out"))
    return Placeholder(name, operand, int(match[0] or 0)), end


def _operand(
    text: str, start: int, percent: int, remarks: list[Remark], suggester: Suggester
) -> tuple[FieldOperand | Transformed, str, int]:
    """The field or transformer at ``start``, its name in ``output_fields``, and the offset after it."""
    match = _NAME.match(text, start)
    if match is None:
        raise OutputError("% must be followed by a field", percent, percent + 1, "such as %proc.name")
    if text.startswith("(", match.end()):
        end = _end_of_call(text, match)
        return _transformer(text, start, end, suggester), text[start:end], end
    written = match[0]
    name = written[:_LONGEST_NAME]
    while (field := lookup(name)) is None and name:
        name = name[:-1]
    end = start + len(name)
    if field is None or (end < match.end() and text[end] != "."):
        hint = suggester.field(f"%{written}")
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
        operand = field_operand(FieldRef(name, value, start, end))
    except ConditionError as error:
        raise OutputError(error.message, error.start, error.end, error.hint) from None
    return operand, operand.key, end


def _end_of_call(text: str, name: re.Match[str]) -> int:
    """The offset after the transformer that begins with ``name``. Raises OutputError if it does not end."""
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


def _transformer(text: str, start: int, end: int, suggester: Suggester) -> Transformed:
    # Transformers are written as in a condition, so this is read as the left side of a condition.
    try:
        check = parse(f"{text[start:end]} exists")
        assert isinstance(check, Check)
        assert isinstance(check.left, Call)
        return transformed(check.left)
    except ConditionError as error:
        unknown = isinstance(error, UnknownField)
        hint = suggester.field(error.name) if isinstance(error, UnknownField) else error.hint
        place = start + error.start, min(start + error.end, end)
        raise OutputError(error.message, *place, hint, unknown_field=unknown) from None
