"""Conditions with the time since when they are what they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tiercel_engine.resources.resource import Condition


def dated(condition: Condition, before: Mapping[str, Any], generation: int, now: str) -> Condition:
    """The condition as it is to stand in a status: since when is what the status ``before``, as JSON, says, unless it
    was another then."""
    since = now
    for found in before.get("conditions") or ():
        if (found.get("type"), found.get("status")) == (condition.type, condition.status.value):
            since = found.get("lastTransitionTime") or now
    return replace(condition, last_transition_time=since, observed_generation=generation)
