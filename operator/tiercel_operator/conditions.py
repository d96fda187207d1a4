"""Conditions of statuses: their texts, and since when they are what they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tiercel_engine.printable import printable
from tiercel_engine.resources.resource import Condition, ConditionStatus

LONGEST_TEXT = 1024
"""Characters of a message in a status."""
LARGEST_COUNT = (1 << 63) - 1
"""The largest integer that the API server accepts. What nodes report can add up to more."""
MOST_NAMED = 5
"""Nodes, rules or errors that a message names one by one."""


def condition(type_: str, status: ConditionStatus, reason: str, message: str) -> Condition:
    """A condition without its time, which ``dated`` adds."""
    return Condition(type_, status, reason, short(message), "")


def dated(condition: Condition, before: Mapping[str, Any], generation: int, now: str) -> Condition:
    """The condition with its time and generation. The time is ``now``, in RFC 3339, if the condition's status has
    changed; otherwise it is that of the status ``before``, which is JSON."""
    since = now
    for earlier in before.get("conditions") or ():
        if (earlier.get("type"), earlier.get("status")) == (condition.type, condition.status.value):
            since = earlier.get("lastTransitionTime") or now
    return replace(condition, last_transition_time=since, observed_generation=generation)


def short(text: str) -> str:
    """The text without anything that could drive a terminal, cut to ``LONGEST_TEXT``. Texts may be written by tenants
    and by other servers, and end up on terminals."""
    text = printable(text)
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"


def listed(names: Sequence[str]) -> str:
    """The first of the names, and how many more there are."""
    return ", ".join(names[:MOST_NAMED]) + and_more(len(names))


def and_more(count: int) -> str:
    """What follows the first ``MOST_NAMED`` of so many; "" if these were all."""
    return f" and {count - MOST_NAMED} more" if count > MOST_NAMED else ""
