"""Recorded events: JSON Lines that are read and written one event a line.

    {"source": "syscall", "time": 1700000000000000000, "fields": {"evt.type": "openat", "fd.name": "/etc/shadow"}}

``time`` is nanoseconds since the epoch. A field that is absent, or null, has no value; a field of several
values is an array; bytes (``evt.buffer``) are a string of hexadecimal digits. A byte of a string that
is not valid UTF-8, say ff, is the lone surrogate ``\\udcff`` (as Python's surrogateescape has it): any JSON
writer can spell it, and the raw byte is read as the same.
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
from tiercel_engine.suggestions import Guesses

MAX_LINE_BYTES = 16 << 20

_MAX_REMEMBERED = 4096
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
    """A line that is no event: where, which field (``""`` if it is the line as a whole), and why.

    Texts hold what the file says: escape them before printing.
    """

    file: str
    line: int
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.field + ': ' if self.field else ''}{self.message}"


class _Error(Exception):
    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.field = field


def read_lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file; of one longer than ``MAX_LINE_BYTES`` only a beginning that is longer than that too."""
    read = partial(file.readline, MAX_LINE_BYTES + 1)
    while line := read():
        yield line
        while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            line = read()


def read_events(lines: Iterable[bytes], file: str) -> Iterator[Event | Malformed]:
    """The events of recorded lines in their order, and what is wrong with lines that hold none."""
    reader = _Reader()
    for number, line in enumerate(lines, 1):
        if line.isspace():
            continue
        try:
            event = reader.event(line)
        except _Error as error:
            yield Malformed(file, number, error.field, error.message)
        else:
            yield event


@dataclass(frozen=True, slots=True)
class _Layout:
    """The types of an event's values that were found to be right, and the fields that have another form in an event."""

    types: tuple[type, ...]
    conversions: tuple[tuple[str, Callable[[str, Any], Value | None]], ...]


class _Reader:
    """Reads events. Most lines have the same fields with the same types as one before, and need no other check."""

    def __init__(self) -> None:
        self._layouts: dict[tuple[str, ...], _Layout] = {}
        self._accepted: set[tuple[str, type]] = set()
        self._guesses = Guesses()

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
        return Event(source, time, fields)

    def _check(self, fields: Mapping[str, Any]) -> _Layout:
        """The layout of fields, remembered."""
        conversions: list[tuple[str, Callable[[str, Any], Value | None]]] = []
        for key, value in fields.items():
            if (key, type(value)) in self._accepted:
                continue
            field = _field_of(key, self._guesses)
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


def _parse(line: bytes) -> Any:
    """The JSON value of a line."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        if len(line) > MAX_LINE_BYTES:
            raise _Error(f"the line is longer than {MAX_LINE_BYTES >> 20} MiB") from None
        reason = error.msg
    # Python's own parser reads lone surrogates, which orjson doesn't.
    try:
        return json.loads(line.decode("utf-8", "surrogateescape"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise _Error(f"is not JSON: {reason}") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _field_of(key: str, guesses: Guesses) -> Field:
    """The registered field that a key of an event means."""
    name, bracket, argument = key.partition("[")
    field = lookup(name)
    if field is None:
        raise _Error(f"is no field; {guesses.field(name)}", key)
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
    """Whether a value has the type of its field, or is None."""
    if field.type in _INTEGERS:
        expected: tuple[type, ...] = (int,)
    elif field.type is FieldType.FLOAT:
        expected = (float, int)
    else:
        expected = (bool,) if field.type is FieldType.BOOLEAN else (str,)
    if value is not None and type(value) not in expected:
        raise _Error(f"must be {_WORDS[expected[0]]}, not {_WORDS[type(value)]}", key)


def _convert(field: Field, key: str, value: Any) -> Value | None:
    """The value in an event of a field of several values, or of bytes."""
    if value is None:
        return None
    if field.type is FieldType.BYTES:
        try:
            return bytes.fromhex(value)
        except (ValueError, TypeError):
            raise _Error("must be a string of hexadecimal digits", key) from None
    if type(value) is not list:
        raise _Error(f"must be an array, not {_WORDS[type(value)]}", key)
    for member in value:
        if member is None:
            raise _Error("must have no null in it", key)
        _check_scalar(field, key, member)
    return value


def write_event(event: Event, fields: Iterable[str] | None = None) -> bytes:
    """An event as a line of a recording, the newline included.

    ``fields`` are the keys to record, read from the event if it computes values when asked; else
    all that it holds.
    """
    keys = event if fields is None else fields
    values = {
        key: value.hex() if isinstance(value, bytes) else value for key in keys if (value := event[key]) is not None
    }
    document = {"source": event.source, "time": event.time, "fields": values}
    try:
        return printable_json(orjson.dumps(document)) + b"\n"
    except TypeError:
        return json.dumps(document, separators=(",", ":")).encode() + b"\n"
