"""The status of an AlertSink: whether it is valid, what all nodes report on it, and which silences are in force."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tiercel_engine.resources.alert_sink import (
    DESTINATIONS,
    SEND_TEST,
    AlertSinkStatus,
    DeliveryError,
    SilenceState,
    TestAlert,
)
from tiercel_engine.resources.encoding import to_json
from tiercel_engine.resources.resource import Condition, ConditionStatus, time_text
from tiercel_operator.cluster.objects import Problem, StoredSink
from tiercel_operator.conditions import LARGEST_COUNT, MOST_NAMED, and_more, condition, dated, listed, short
from tiercel_operator.sinks.checks import time_of
from tiercel_operator.sinks.delivery_reports import DeliverySummary, Error

VALID, READY, SILENCED, ALERTS_LOST = "Valid", "Ready", "Silenced", "AlertsLost"
_TRUE, _FALSE, _UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN
_COUNTERS = frozenset({"retried", "queued", "silenced", "suppressed"})
_FIRSTS = frozenset({"delivered", "lost", "lastSuccess", "lastError"})
"""Counters and times whose first value is news, while later ones aren't."""


@dataclass(frozen=True, slots=True)
class SinkFacts:
    """What the status of one AlertSink is made of."""

    stored: StoredSink
    problem: Problem
    too_large: str
    """Why there is no room for it in the Secret for agents, "" if there is."""
    summary: DeliverySummary
    nodes: Sequence[str]
    """All nodes that have an agent, sorted."""
    test: TestAlert | None


def obstacle(stored: StoredSink, problem: Problem, too_large: str) -> tuple[str, str]:
    """Reason and message of why no node gets a sink; ("", "") for one that nodes get."""
    if problem[0]:
        return problem
    if stored.suspended:
        return "Suspended", "spec.suspend is true"
    return ("TooLarge", too_large) if too_large else ("", "")


def sink_status(facts: SinkFacts, now: datetime) -> dict[str, Any]:
    """The status as JSON. A condition that hasn't changed keeps its time."""
    stored, summary = facts.stored, facts.summary
    time = time_text(now)
    silences = tuple(_silences(stored.spec, now))
    success, error = _last(stored.status, summary, time)
    states = (_valid(facts), _ready(facts, success), _silenced(silences), _alerts_lost(summary))
    has_counts = bool(facts.nodes)
    status = AlertSinkStatus(
        observed_generation=stored.generation,
        conditions=tuple(dated(each, stored.status, stored.generation, time) for each in states),
        type=next((each for each in DESTINATIONS if stored.spec.get(each) is not None), ""),
        last_success=success or None,
        last_error=DeliveryError(error[0], short(error[2]), error[1]) if error is not None else None,
        delivered=_count(summary.delivered, has_counts),
        retried=_count(summary.retried, has_counts),
        lost=_count(summary.lost, has_counts),
        queued=_count(summary.queued, has_counts),
        silenced=_count(summary.silenced, has_counts),
        suppressed=_count(summary.suppressed, has_counts),
        silences=silences,
        test=facts.test,
    )
    body: dict[str, Any] = to_json(status)
    return body


def status_of_problem(stored: StoredSink, problem: Problem, now: datetime) -> dict[str, Any]:
    """The status of a sink of which nothing is known but why nobody gets it, as JSON."""
    conditions = (condition(type_, _FALSE, *problem) for type_ in (VALID, READY))
    status = AlertSinkStatus(
        observed_generation=stored.generation,
        conditions=tuple(dated(each, stored.status, stored.generation, time_text(now)) for each in conditions),
    )
    body: dict[str, Any] = to_json(status)
    return body


def differs(status: Mapping[str, Any], stored: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether a status differs from the stored one, and whether it does in more than its counters and the words of its
    messages."""
    if status == stored:
        return False, False
    return True, _gist(status) != _gist(stored)


def _gist(status: Mapping[str, Any]) -> dict[str, Any]:
    gist = {key: bool(value) if key in _FIRSTS else value for key, value in status.items() if key not in _COUNTERS}
    conditions = status.get("conditions") or ()
    gist["conditions"] = [(each.get("type"), each.get("status"), each.get("reason")) for each in conditions]
    return gist


def _count(number: int, known: bool) -> int | None:
    return min(number, LARGEST_COUNT) if known else None


def _last(before: Mapping[str, Any], summary: DeliverySummary, now: str) -> tuple[str, Error | None]:
    """When alerts were last delivered, and the last failure. Those of the status ``before`` count too: an agent that
    was restarted has forgotten them."""
    success = before.get("lastSuccess")
    if not isinstance(success, str) or success > now:
        success = ""
    error: Mapping[str, Any] = before.get("lastError") or {}
    earlier = (str(error.get("time")), str(error.get("node", "")), str(error.get("message", "")))
    errors = [
        *([earlier] if error and earlier[0] <= now else ()),
        *([summary.last_error] if summary.last_error else ()),
    ]
    return max(success, summary.last_success), max(errors, default=None)


def _valid(facts: SinkFacts) -> Condition:
    reason, message = facts.problem
    return condition(VALID, _FALSE if reason else _TRUE, reason or "InOrder", message)


def _ready(facts: SinkFacts, last_success: str) -> Condition:
    stored, summary, nodes = facts.stored, facts.summary, facts.nodes
    reason, message = obstacle(stored, facts.problem, facts.too_large)
    if reason:
        return condition(READY, _FALSE, reason, message)
    if summary.failing:
        why = summary.failure[2] if summary.failure is not None else "no reason was given"
        return condition(READY, _FALSE, "DeliveryFails", f"on {listed(sorted(summary.failing))}: {why}")
    if not nodes:
        return condition(READY, _UNKNOWN, "NoReports", "no agent of a node has reported yet")
    count = f"{len(nodes)} node{'s' * (len(nodes) != 1)}"
    if not summary.in_force:
        return condition(READY, _UNKNOWN, "NoReports", f"none of {count} has reported yet that this is in force there")
    if len(summary.in_force) < len(nodes):
        waiting = [node for node in nodes if node not in summary.in_force]
        return condition(READY, _UNKNOWN, "RollingOut", f"not in force yet on {listed(sorted(waiting))}")
    if summary.delivered or last_success:
        return condition(READY, _TRUE, "Delivering", f"on {count}")
    origin = stored.origin
    hint = (
        f"kubectl annotate alertsink {origin.name} -n {origin.namespace} --overwrite {SEND_TEST}=1 sends a test alert"
    )
    return condition(READY, _TRUE, "NothingSentYet", f"on {count}, and there was nothing to send yet: {hint}")


def _silences(spec: Mapping[str, Any], now: datetime) -> Iterable[SilenceState]:
    silences = spec.get("silences")
    for each in silences if isinstance(silences, list) else ():
        if not isinstance(each, Mapping):
            continue
        until = time_of(each.get("until"))
        if until is not None:  # a silence with another time is an error of the spec, which the condition Valid names
            owner, reason = str(each.get("owner", "")), str(each.get("reason", ""))
            yield SilenceState(owner, reason, each["until"], until > now.astimezone(UTC))


def _silenced(silences: Sequence[SilenceState]) -> Condition:
    active = [each for each in silences if each.active]
    if not active:
        return condition(SILENCED, _FALSE, "NoSilence", "no silence is in force")
    texts = "; ".join(f"by {each.owner} until {each.until}: {each.reason}" for each in active[:MOST_NAMED])
    message = f"some alerts are kept back {texts}{and_more(len(active))}"
    return condition(SILENCED, _TRUE, "SilenceInForce", message)


def _alerts_lost(summary: DeliverySummary) -> Condition:
    if summary.losing:
        return condition(
            ALERTS_LOST, _TRUE, "AlertsLost", f"alerts were lost lately on {listed(sorted(summary.losing))}"
        )
    return condition(ALERTS_LOST, _FALSE, "NothingLost", "no alerts were lost lately")
