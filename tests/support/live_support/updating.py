"""A detector that is told to watch for other rules."""

from __future__ import annotations

from collections.abc import Sequence

from tiercel_agent.detection.detector import Detector
from tiercel_engine.event import Event
from tiercel_engine.matching.requirements import Requirements
from tiercel_engine.rule import Rule


def update(detector: Detector, requirements: Requirements, rules: Sequence[Rule] = ()) -> list[Event]:
    """Has a detector watch for other rules; the events that came until then."""
    detector.load(requirements, rules)
    seen: list[Event] = []
    while detector.is_loading():
        seen += detector.poll(0.05)
    return [*seen, *detector.switch()]
