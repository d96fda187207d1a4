"""The alert: a frozen value for one rule that matched one event, and its JSON and text forms, which are Falco's."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from tiercel_engine.event import Value
from tiercel_engine.printable import printable, printable_json, valid
from tiercel_engine.priority import Priority
from tiercel_engine.rule import Origin, rule_key
from tiercel_engine.units import rfc3339


def uuid7() -> str:
    """A new UUID of version 7 (RFC 9562): the milliseconds since the epoch, followed by random bits."""
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    number = number & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62
    return str(UUID(int=number))


HOST = "host"
"""The value of ``container.id`` for processes outside of containers."""


RULE_NAMESPACE = "tiercel.rule.namespace"
"""The output field with the namespace of the SecurityRule that holds the rule."""
RULE_OBJECT = "tiercel.rule.object"
"""The output field with the name of that SecurityRule."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One rule that matched one event.

    ``output`` is the rendered text. It is not escaped: each output escapes what it prints for its own destination.
    ``time`` is in nanoseconds since the epoch. ``output_fields`` holds the fields that the output names, and those
    that say in which container and pod the event happened (``rendering.alerts.CONTEXT``).
    """

    time: int
    rule: str
    priority: Priority
    source: str
    hostname: str
    output: str
    tags: tuple[str, ...]
    output_fields: dict[str, Value | None]
    origin: Origin | None = None
    """The SecurityRule that holds the rule; None for rules of files."""
    id: str = field(default_factory=uuid7, compare=False)
    """A UUID, by which receivers recognise an alert that reaches them twice."""

    @property
    def rule_key(self) -> str:
        """The key of the rule, the same as ``Rule.key``."""
        return rule_key(self.rule, self.origin)

    @property
    def origin_fields(self) -> dict[str, str]:
        """The output fields that say which SecurityRule holds the rule; none for rules of files.

        Every form of an alert that programs read takes it from here: a rule's name alone tells nothing, since a tenant
        may give the name of one of the system's rules to its own. No rule's output can name these fields.
        """
        if self.origin is None:
            return {}
        return {RULE_NAMESPACE: self.origin.namespace, RULE_OBJECT: self.origin.name}


def alert_json(alert: Alert) -> bytes:
    """The alert as one line of JSON in UTF-8, without a line break, with the keys and value forms of Falco's JSON.

    As in Falco, ``output`` is the whole line of text with time and priority, and ``output_fields`` has ``evt.time``
    in nanoseconds. It has ``origin_fields`` too. Bytes that are not valid UTF-8 become U+FFFD; control characters and
    other hidden characters are written as JSON escapes.
    """
    document = orjson.dumps(
        {
            "hostname": valid(alert.hostname),
            "output": valid(f"{_head(alert)} {alert.output}"),
            "output_fields": {
                "evt.time": alert.time,
                **{valid(key): _json_value(value) for key, value in alert.output_fields.items() if key != "evt.time"},
                **{key: valid(value) for key, value in alert.origin_fields.items()},
            },
            "priority": alert.priority.title,
            "rule": valid(alert.rule),
            "source": valid(alert.source),
            "tags": [valid(tag) for tag in alert.tags],
            "time": rfc3339(alert.time),
        },
        default=str,
    )
    return printable_json(document)


def alert_text(alert: Alert) -> str:
    """The alert as one line of text, ``HH:MM:SS.nnnnnnnnn: Priority output`` (UTC), with all hidden
    characters made visible."""
    return printable(f"{_head(alert)} {alert.output}")


def _head(alert: Alert) -> str:
    """The beginning of the text, ``HH:MM:SS.nnnnnnnnn: Priority`` (UTC)."""
    day_seconds, nanoseconds = divmod(alert.time % 86_400_000_000_000, 1_000_000_000)
    minutes, seconds = divmod(day_seconds, 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}.{nanoseconds:09d}: {alert.priority.title}"


def _json_value(value: Any) -> Any:
    if isinstance(value, str):
        return valid(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list):
        return [_json_value(member) for member in value]
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        return str(value)  # JSON readers don't read such an integer exactly
    return value
