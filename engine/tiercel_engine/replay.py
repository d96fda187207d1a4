"""Recorded events: JSON Lines, which hold one event in each line.

    {"source": "syscall", "time": 1700000000000000000, "fields": {"evt.type": "openat", "fd.name": "/etc/shadow"}}

``time`` is in nanoseconds since the epoch. A field that is absent, or null, has no value. A field of several values is
an array. Bytes (``evt.buffer``) are a string of hexadecimal digits. In a string, a byte that is not valid UTF-8, for
example ff, is written as the lone surrogate ``\\udcff`` (as Python's surrogateescape does), which any JSON writer can
write. The raw byte itself is read as the same value.

An event may have ``uncertain``, an object that says of fields what is known of their text, in the words of
``uncertain.KINDS``: ``{"proc.args": "beginning"}``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, NoReturn

import orjson

from tiercel_engine.event import Event, Value
from tiercel_engine.fields import lookup
from tiercel_engine.fields.model import FAMILIES, Argument, ArgumentKind, Field, FieldType, Multiplicity
from tiercel_engine.printable import printable_json
from tiercel_engine.suggestions import Suggester
from tiercel_engine.uncertain import KINDS, Uncertain
from tiercel_engine.units import MEBIBYTE

MAX_LINE_BYTES = 16 * MEBIBYTE

_MAX_REMEMBERED = 4096
_KNOWN = {kind: name for name, kind in KINDS.items()}
_INTEGERS = (FieldType.INTEGER, FieldType.PORT, FieldType.TIME, FieldType.DURATION)
_WORDS = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    list: "an array",
    dict: "an object",
}


@dataclass(frozen=True, slots=True)
class Malformed:
    """A line that is not an event: where it stands, which field is wrong (``""`` for the line as a whole), and why.

    Texts hold what the file says: escape them before printing.
    """

    file: str
    line: int
    field: str
    message: str
    hint: str = ""
    """What would be right, "" if unknown."""
    expected: type | None = None
    """The Python type that the field's value should have had; None if the value is not what is wrong."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: {self.field + ': ' if self.field else ''}"
        return f"{place}{self.message}{'; ' + self.hint if self.hint else ''}"


class _Error(Exception):
    def __init__(self, message: str, field: str = "", hint: str = "", expected: type | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.hint = hint
        self.expected = expected


def read_lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file. Of a line longer than ``MAX_LINE_BYTES``, one byte more than that is given."""
    read = partial(file.readline, MAX_LINE_BYTES + 1)
    while line := read():
        yield line
        while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            line = read()


def read_events(lines: Iterable[bytes], file: str) -> Iterator[Event | Malformed]:
    """The event of each line in their order; for a line that is not an event, a ``Malformed``."""
    reader = _Reader()
    for number, line in enumerate(lines, 1):
        if line.isspace():
            continue
        try:
            event = reader.event(line)
        except _Error as error:
            yield Malformed(file, number, error.field, error.message, error.hint, error.expected)
        else:
            yield event


@dataclass(frozen=True, slots=True)
class _Layout:
    """The types of values that have been checked, and the conversions of fields that have another form in an event."""

    types: tuple[type, ...]
    conversions: tuple[tuple[str, Callable[[str, Any], Value | None]], ...]


class _Reader:
    """Reads events. Most lines have the same fields and types as an earlier line, and need no further check."""

    def __init__(self) -> None:
        self._layouts: dict[tuple[str, ...], _Layout] = {}
        self._accepted: set[tuple[str, type]] = set()
        self._suggester = Suggester()

    def event(self, line: bytes) -> Event:
        document = _parse(line)
        try:
            source, time, fields = document["source"], document["time"], document["fields"]
        except KeyError as error:
            raise _Error("is missing", str(error.args[0])) from None
        except TypeError:
            raise _Error("expected an object with source, time and fields") from None
        if type(source) is not str:
            raise _Error("must be a string such as syscall", "source")
        if type(time) is not int or not 0 <= time < 1 << 63:
            raise _Error("must be nanoseconds since the epoch", "time")
        if type(fields) is not dict:
            raise _Error("must be an object", "fields")
        layout = self._layouts.get(tuple(fields))
        if layout is None or layout.types != tuple(map(type, fields.values())):
            layout = self._check(fields)
        for key, convert in layout.conversions:
            fields[key] = convert(key, fields[key])
        uncertain = document.get("uncertain")
        if uncertain is not None:
            _mark_uncertain(fields, uncertain)
        event = Event(source, time, fields)
        event.uncertain = bool(uncertain)
        return event

    def _check(self, fields: Mapping[str, Any]) -> _Layout:
        """Checks the fields and remembers their layout. Raises ``_Error``."""
        conversions: list[tuple[str, Callable[[str, Any], Value | None]]] = []
        for key, value in fields.items():
            if (key, type(value)) in self._accepted:
                continue
            field = _field_of(key, self._suggester)
            if field.type is FieldType.BYTES or (field.multiplicity is not Multiplicity.ONE and key == field.name):
                conversions.append((key, partial(_convert, field)))
                continue
            _check_scalar(field, key, value)
            if len(self._accepted) < _MAX_REMEMBERED:
                self._accepted.add((key, type(value)))
        if len(self._layouts) >= _MAX_REMEMBERED:
            self._layouts.clear()
        layout = _Layout(tuple(map(type, fields.values())), tuple(conversions))
        self._layouts[tuple(fields)] = layout
        return layout


def _mark_uncertain(fields: dict[str, Any], uncertain: Any) -> None:
    """Makes texts of the fields uncertain, as the event says. Raises ``_Error``."""
    if type(uncertain) is not dict:
        raise _Error("must be an object", "uncertain")
    for key, known in uncertain.items():
        kind = KINDS.get(known) if type(known) is str else None
        if kind is None or type(fields.get(key)) is not str:
            raise _Error(f"must name a text of the event and one of {', '.join(KINDS)}", "uncertain")
        fields[key] = kind(fields[key])


def _parse(line: bytes) -> Any:
    """The JSON value of a line. Raises ``_Error``."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        if len(line) > MAX_LINE_BYTES:
            raise _Error(f"the line is longer than {MAX_LINE_BYTES // MEBIBYTE} MiB") from None
        reason = error.msg
    # Python's own parser reads lone surrogates, which orjson doesn't.
    try:
        return json.loads(line.decode("utf-8", "surrogateescape"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise _Error(f"is not JSON: {reason}") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _field_of(key: str, suggester: Suggester) -> Field:
    """The registered field of a key of an event. Raises ``_Error``."""
    name, bracket, argument = key.partition("[")
    field = lookup(name)
    if field is None:
        raise _Error("is no field", key, suggester.field(name))
    if not bracket:
        if field.argument is Argument.REQUIRED:
            raise _Error(f"needs an argument: {name}[…]", key)
        return field
    if field.argument is Argument.NONE or not argument.endswith("]"):
        raise _Error("takes no argument" if field.argument is Argument.NONE else "expected ] at the end", key)
    argument = argument[:-1]
    if name in FAMILIES:
        raise _Error(f"is written {name}.{argument}", key)
    if field.argument_kind is ArgumentKind.INDEX and not (argument.isascii() and argument.isdecimal()):
        raise _Error("the argument must be a number", key)
    return field


def _check_scalar(field: Field, key: str, value: Any) -> None:
    """Raises ``_Error`` unless the value has the type of its field, or is None."""
    if field.type in _INTEGERS:
        expected: tuple[type, ...] = (int,)
    elif field.type is FieldType.FLOAT:
        expected = (float, int)
    else:
        expected = (bool,) if field.type is FieldType.BOOLEAN else (str,)
    if value is not None and type(value) not in expected:
        raise _Error(f"must be {_WORDS[expected[0]]}, not {_WORDS[type(value)]}", key, expected=expected[0])


def _convert(field: Field, key: str, value: Any) -> Value | None:
    """The value that an event has for a recorded list of values, or for recorded bytes. Raises ``_Error``."""
    if value is None:
        return None
    if field.type is FieldType.BYTES:
        try:
            return bytes.fromhex(value)
        except (ValueError, TypeError):
            raise _Error("must be a string of hexadecimal digits", key, expected=str) from None
    if type(value) is not list:
        raise _Error(f"must be an array, not {_WORDS[type(value)]}", key, expected=list)
    for member in value:
        if member is None:
            raise _Error("must have no null in it", key, expected=list)
        _check_scalar(field, key, member)
    return value


def write_event(event: Event, fields: Iterable[str] | None = None) -> bytes:
    """An event as a line of a recording, with the line break.

    ``fields`` are the keys to record; if the event computes values when they are read, these are computed. Without
    ``fields``, all values that the event holds are recorded.
    """
    keys = event if fields is None else fields
    values = {
        key: value.hex() if isinstance(value, bytes) else value for key in keys if (value := event[key]) is not None
    }
    document: dict[str, object] = {"source": event.source, "time": event.time, "fields": values}
    uncertain = {key: _KNOWN[type(value)] for key, value in values.items() if isinstance(value, Uncertain)}
    if uncertain:
        document["uncertain"] = uncertain
    try:
        return printable_json(orjson.dumps(document)) + b"\n"
    except TypeError:
        return json.dumps(document, separators=(",", ":")).encode() + b"\n"
