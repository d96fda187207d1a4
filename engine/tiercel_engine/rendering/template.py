"""Templates for an alert's text: each placeholder between ``{{`` and ``}}`` is replaced by a value.

``{{ proc.name }}`` gives printable text, ``{{ proc.name | json }}`` a JSON value with its quotes, ``| url`` encodes
text with percent signs, and ``| html`` escapes it for HTML. A placeholder names one of ``NAMES``, or a field as outputs
name it. A field that an alert does not have is ``<NA>``, or null in JSON.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Any
from urllib.parse import quote

import orjson

from tiercel_engine.alert import RULE_NAMESPACE, RULE_OBJECT, Alert, alert_json, alert_text
from tiercel_engine.fields.model import FieldType
from tiercel_engine.printable import printable, printable_json, valid
from tiercel_engine.rendering.output import OutputError, Placeholder, compile_output, format_value
from tiercel_engine.units import rfc3339

MOST_PLACES = 256
"""The largest number of placeholders in one template: each value may have some KiB."""

LONGEST = 1 << 20
"""The most characters that the values of an alert add to a template: a value may be used many times."""

_LONGEST_NAME = 256
_OPEN, _CLOSE, _FIELDS, _JSON = "{{", "}}", "fields", "json"
_TIME = "evt.time"  # every alert has one

NAMES: Mapping[str, Callable[[Alert], str]] = {
    "id": lambda alert: alert.id,
    "rule": lambda alert: printable(alert.rule),
    "priority": lambda alert: alert.priority.title,
    "output": lambda alert: printable(alert.output),
    "text": alert_text,
    "time": lambda alert: rfc3339(alert.time),
    "hostname": lambda alert: printable(alert.hostname),
    "source": lambda alert: printable(alert.source),
    "rule_namespace": lambda alert: printable(alert.origin_fields.get(RULE_NAMESPACE, "")),
    "rule_object": lambda alert: printable(alert.origin_fields.get(RULE_OBJECT, "")),
    "tags": lambda alert: ", ".join(printable(tag) for tag in alert.tags),
}
"""The values that every alert has, as text. ``text`` is ``output`` with the time and priority before it.
``rule_namespace`` and ``rule_object`` are the SecurityRule's that holds the rule; for rules of files they are empty, or
null in JSON. The name ``fields`` stands for all output fields, and can be used with the filter json only."""

# They are applied to printable text.
_FILTERS: Mapping[str, Callable[[str], str]] = {"url": partial(quote, safe=""), "html": html.escape}


class TooLong(Exception):
    """The values of an alert have more than ``LONGEST`` characters in a template."""

    def __init__(self) -> None:
        super().__init__(f"the template makes more than {LONGEST >> 20} Mi characters of an alert")


class TemplateError(Exception):
    """A template is wrong at a line and column (from 1); ``hint`` says what would be right."""

    def __init__(self, message: str, line: int, column: int, hint: str = "") -> None:
        super().__init__(f"line {line}, column {column}: {message}{f' ({hint})' if hint else ''}")
        self.message = message
        self.line = line
        self.column = column
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Place:
    """A placeholder. ``name`` is one of ``NAMES``, or ``fields``, or the key of a field in ``output_fields``; ``type``
    is the type of the field, None for other names."""

    name: str
    filter: str = ""
    type: FieldType | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template. ``parts`` are the literal texts and the placeholders in their order."""

    parts: tuple[str | Place, ...]


def parse_template(text: str) -> Template:
    """The template of a text. Raises TemplateError."""
    parts: list[str | Place] = []
    at = places = 0
    while (start := text.find(_OPEN, at)) >= 0:
        if start > at:
            parts.append(text[at:start])
        inner = start + len(_OPEN)
        end = text.find(_CLOSE, inner)
        if end < 0:
            raise _error(text, start, "{{ is not closed", "write {{ name }}")
        places += 1
        if places > MOST_PLACES:
            raise _error(text, start, f"there are more than {MOST_PLACES} placeholders")
        parts.append(_place(text, inner, end))
        at = end + len(_CLOSE)
    if at < len(text):
        parts.append(text[at:])
    return Template(tuple(parts))


def render(template: Template, alert: Alert, plain: Callable[[str], str] = str) -> str:
    """The text for an alert. ``plain`` escapes values without a filter for the destination. Raises TooLong."""
    values: Mapping[str, Any] | None = None
    parts = []
    room = LONGEST
    for part in template.parts:
        if isinstance(part, str):
            parts.append(part)
            continue
        if part.filter == _JSON:
            values = values or _values(alert)
            text = _json(_value(part, values))
        else:
            text = _FILTERS.get(part.filter, plain)(_text(part, alert))
        room -= len(text)
        if room < 0:
            raise TooLong
        parts.append(text)
    return "".join(parts)


def inside_json(text: str) -> str:
    """Printable text as it is written between the quotes of JSON: the ``plain`` of templates that make JSON."""
    return orjson.dumps(text)[1:-1].decode()


def _place(text: str, start: int, end: int) -> Place:
    name, bar, chosen = text[start:end].partition("|")
    at = start + len(name) - len(name.lstrip())
    name, chosen = name.strip(), chosen.strip()
    if not name:
        raise _error(text, start, "there is no name between {{ and }}", "write such as {{ rule }}")
    filters = (_JSON, *_FILTERS)
    if bar and chosen not in filters:
        where = text.index("|", start)
        raise _error(text, where, f"{_shown(chosen)} is no filter", f"filters are {', '.join(filters)}")
    if name == _FIELDS and chosen != _JSON:
        raise _error(text, at, "fields are all output fields, and JSON alone", "write {{ fields | json }}")
    if name in NAMES or name == _FIELDS:
        return Place(name, chosen)
    return _field(text, at, name, chosen)


def _field(text: str, at: int, name: str, chosen: str) -> Place:
    close = get_close_matches(name[:_LONGEST_NAME], (*NAMES, _FIELDS), n=1)
    others = f"did you mean {close[0]}?" if close else f"names are {', '.join(NAMES)}, fields, and fields of events"
    if len(name) > _LONGEST_NAME or not name[0].isalpha():
        raise _error(text, at, f"{_shown(name)} is no name", others)
    try:
        parts = compile_output(f"%{name}").parts
    except OutputError as error:
        hint = others if "." not in name else error.hint.replace("%", "")
        raise _error(text, at, f"{_shown(name)} is no field", hint) from None
    if len(parts) != 1 or not isinstance(parts[0], Placeholder):
        raise _error(text, at, f"{_shown(name)} is no field", others)
    return Place(parts[0].text, chosen, parts[0].operand.type)


def _text(place: Place, alert: Alert) -> str:
    if place.type is None:
        return NAMES[place.name](alert)
    value = alert.output_fields.get(place.name)
    if value is None and place.name == _TIME:
        return rfc3339(alert.time)
    return printable(format_value(value, place.type))


def _values(alert: Alert) -> Mapping[str, Any]:
    """The values as in Falco's JSON, with the id, and the output both with and without time and priority."""
    document: dict[str, Any] = orjson.loads(alert_json(alert))
    origin = {
        "rule_namespace": alert.origin_fields.get(RULE_NAMESPACE),
        "rule_object": alert.origin_fields.get(RULE_OBJECT),
    }
    return {**document, **origin, "text": document["output"], "output": valid(alert.output), "id": alert.id}


def _value(place: Place, values: Mapping[str, Any]) -> Any:
    if place.type is not None:
        return values["output_fields"].get(place.name)
    return values["output_fields" if place.name == _FIELDS else place.name]


def _json(value: Any) -> str:
    return printable_json(orjson.dumps(value)).decode()


def _error(text: str, at: int, message: str, hint: str = "") -> TemplateError:
    line = text.count("\n", 0, at) + 1
    return TemplateError(message, line, at - text.rfind("\n", 0, at), hint)


def _shown(name: str) -> str:
    return repr(printable(name[:40]))
