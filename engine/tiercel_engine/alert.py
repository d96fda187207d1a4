"""The alert: one rule that matched one event, as a frozen value with Falco's JSON keys."""

from __future__ import annotations

from dataclasses import dataclass

from tiercel_engine.event import Value
from tiercel_engine.priority import Priority


@dataclass(frozen=True, slots=True)
class Alert:
    """``output`` is the formatted text, unescaped for any destination: outputs escape what they print.

    ``time`` is nanoseconds since the epoch; ``output_fields`` are the fields that the output names.
    """

    time: int
    rule: str
    priority: Priority
    source: str
    hostname: str
    output: str
    tags: tuple[str, ...]
    output_fields: dict[str, Value | None]
