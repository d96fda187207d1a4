"""How deeply JSON that others have written is nested.

The API server stores objects of nearly ten thousand levels. Most of what handles JSON in Python calls itself for each
level, and gives up somewhere between 250 and 1,000 of them. So what is read is cut where nothing gives up yet, and an
object that is nested deeper than any good one is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

MOST_LEVELS: Final = 64
"""The most levels of mappings and lists in a good object or document. A SecurityRule needs ten."""
READ_LEVELS: Final = 128
"""Levels that are kept of what is nested too deeply. They are so many more than ``MOST_LEVELS`` that an object which
was cut is still nested too deeply, also if it was read as an entry of a list."""

_NAMED_STEPS = 8
_LONGEST_KEY = 40
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)
"""A string, to the end of the text if it doesn't end, so that no part of the text is looked at twice; or a bracket."""


def read_json(content: bytes) -> Any:
    """The value of a JSON text. Of what is nested too deeply only the first ``READ_LEVELS`` are kept, with null for the
    rest. Raises ValueError if the text is no JSON."""
    try:
        value = orjson.loads(content)
        orjson.dumps(value)  # the quickest way to tell: it refuses 255 levels
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return json.loads(_cut(content))
    return value


def cut_json(content: bytes) -> bytes:
    """The JSON text, in which null stands for what ``read_json`` wouldn't keep."""
    try:
        orjson.dumps(orjson.loads(content))
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return _cut(content)
    return content


def bounded(value: Any, levels: int = READ_LEVELS) -> Any:
    """A copy as plain dicts and lists, with None for what is nested deeper than so many levels. The value may consist
    of views of objects that change."""
    match value:
        case Mapping():
            return {key: bounded(each, levels - 1) for key, each in value.items()} if levels else None
        case list() | tuple():
            return [bounded(each, levels - 1) for each in value] if levels else None
    return value


def too_deep(value: object) -> str:
    """Where a value is nested too deeply, and what the limit is; "" if it isn't. The text contains keys of the value,
    so it has to be escaped before it is printed."""
    waiting: list[tuple[Any, Any]] = [(value, None)]
    for _ in range(MOST_LEVELS):
        waiting = [
            (each, (place, key))
            for collection, place in waiting
            for key, each in _entries(collection)
            if isinstance(each, (Mapping, list, tuple))
        ]
    return f"{_path(waiting[0][1])} is nested deeper than {MOST_LEVELS} levels" if waiting else ""


def _entries(collection: Any) -> Iterable[tuple[Any, Any]]:
    match collection:
        case Mapping():
            return collection.items()
        case list() | tuple():
            return enumerate(collection)
    return ()


def _path(place: Any) -> str:
    """The first steps of the way to a place, such as ``spec.rules[0].exceptions[0]…``."""
    steps = []
    while place is not None:
        place, key = place
        steps.append(key)
    named = [
        f"[{key}]" if isinstance(key, int) else f".{str(key)[:_LONGEST_KEY]}" for key in steps[::-1][:_NAMED_STEPS]
    ]
    return "".join(named).removeprefix(".") + "…" * (len(steps) > _NAMED_STEPS)


def _cut(content: bytes) -> bytes:
    """The text with null in place of each value that is nested deeper than ``READ_LEVELS``."""
    parts: list[bytes] = []
    level = kept_from = 0
    for token in _TOKEN.finditer(content):
        match content[token.start()]:
            case 0x5B | 0x7B:  # [ {
                level += 1
                if level == READ_LEVELS + 1:
                    parts += content[kept_from : token.start()], b"null"
            case 0x5D | 0x7D:  # ] }
                if level == READ_LEVELS + 1:
                    kept_from = token.end()
                level -= 1
    return b"".join([*parts, content[kept_from:]])
