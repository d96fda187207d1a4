"""The status of an AlertSink: whether it is in order, what all nodes tell of it, and which silences are in force."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tiercel_engine.printable import printable
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
from tiercel_operator.conditions import dated
from tiercel_operator.objects import StoredSink
from tiercel_operator.sinks.checks import time_of
from tiercel_operator.sinks.config import Problem
from tiercel_operator.sinks.delivery_reports import DeliverySummary, Error

VALID, READY, SILENCED, ALERTS_LOST = "Valid", "Ready", "Silenced", "AlertsLost"
_LONGEST = 1024
_NAMED = 5
_MOST_COUNTED = (1 << 63) - 1  # the API server takes no more for an integer
_TRUE, _FALSE, _UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN
_GROW = frozenset({"retried", "queued", "silenced", "suppressed"})
_BEGIN = frozenset({"delivered", "lost", "lastSuccess", "lastError"})
"""That there is one at all is more than a number that grows."""


@dataclass(frozen=True, slots=True)
class SinkFacts:
    """What is the case with one AlertSink."""

    stored: StoredSink
    problem: Problem
    too_large: str
    """Why there is no room for it, "" if there is."""
    summary: DeliverySummary
    nodes: Sequence[str]
    """All that have an agent, sorted."""
    test: TestAlert | None


def obstacle(stored: StoredSink, problem: Problem, too_large: str) -> tuple[str, str]:
    """Reason and message of why no node gets a sink; ("", "") for one that nodes get."""
    if problem[0]:
        return problem
    if stored.suspended:
        return "Suspended", "spec.suspend is true"
    return ("TooLarge", too_large) if too_large else ("", "")


def sink_status(facts: SinkFacts, now: datetime) -> dict[str, Any]:
    """The status as JSON. What hasn't changed since the sink's own status was written keeps its time."""
    stored, summary = facts.stored, facts.summary
    time = time_text(now)
    silences = tuple(_silences(stored.spec, now))
    success, error = _last(stored.status, summary, time)
    conditions = (_valid(facts), _ready(facts, success), _silenced(silences), _alerts_lost(summary))
    has_counts = bool(facts.nodes)
    status = AlertSinkStatus(
        observed_generation=stored.generation,
        conditions=tuple(dated(each, stored.status, stored.generation, time) for each in conditions),
        type=next((each for each in DESTINATIONS if stored.spec.get(each) is not None), ""),
        last_success=success or None,
        last_error=DeliveryError(error[0], _short(error[2]), error[1]) if error is not None else None,
        delivered=_count(summary.delivered, has_counts),
        retried=_count(summary.retried, has_counts),
        lost=_count(summary.lost, has_counts),
        queued=_count(summary.queued, has_counts),
        silenced=_count(summary.silenced, has_counts),
        suppressed=_count(summary.suppressed, has_counts),
        silences=silences,
        test=facts.test,
    )
    found: dict[str, Any] = to_json(status)
    return found


def differs(status: Mapping[str, Any], stored: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether a status says something new at all, and whether that is more than numbers that grow and other words for
    the same."""
    if status == stored:
        return False, False
    return True, _gist(status) != _gist(stored)


def _gist(status: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: bool(value) if key in _BEGIN else value for key, value in status.items() if key not in _GROW}
    conditions = status.get("conditions") or ()
    found["conditions"] = [(each.get("type"), each.get("status"), each.get("reason")) for each in conditions]
    return found


def _count(number: int, known: bool) -> int | None:
    return min(number, _MOST_COUNTED) if known else None


def _last(before: Mapping[str, Any], summary: DeliverySummary, now: str) -> tuple[str, Error | None]:
    """When alerts were last delivered, and the last failure; also those that agents have forgotten since, for they tell
    what they have seen since their start."""
    success = before.get("lastSuccess")
    if not isinstance(success, str) or success > now:
        success = ""
    found: Mapping[str, Any] = before.get("lastError") or {}
    told = (str(found.get("time")), str(found.get("node", "")), str(found.get("message", "")))
    errors = [*([told] if found and told[0] <= now else ()), *([summary.last_error] if summary.last_error else ())]
    return max(success, summary.last_success), max(errors, default=None)


def _valid(facts: SinkFacts) -> Condition:
    reason, message = facts.problem
    return _condition(VALID, _FALSE if reason else _TRUE, reason or "InOrder", message)


def _ready(facts: SinkFacts, last_success: str) -> Condition:
    stored, summary, nodes = facts.stored, facts.summary, facts.nodes
    reason, message = obstacle(stored, facts.problem, facts.too_large)
    if reason:
        return _condition(READY, _FALSE, reason, message)
    if summary.failing:
        why = summary.failure[2] if summary.failure is not None else "no reason was given"
        return _condition(READY, _FALSE, "DeliveryFails", f"on {_named(summary.failing)}: {why}")
    if not nodes:
        return _condition(READY, _UNKNOWN, "NoReports", "no agent of a node has reported yet")
    count = f"{len(nodes)} node{'s' * (len(nodes) != 1)}"
    if not summary.in_force:
        return _condition(READY, _UNKNOWN, "NoReports", f"none of {count} has told yet that this is in force there")
    if len(summary.in_force) < len(nodes):
        waiting = [node for node in nodes if node not in summary.in_force]
        return _condition(READY, _UNKNOWN, "RollingOut", f"not in force yet on {_named(waiting)}")
    if summary.delivered or last_success:
        return _condition(READY, _TRUE, "Delivering", f"on {count}")
    origin = stored.origin
    hint = (
        f"kubectl annotate alertsink {origin.name} -n {origin.namespace} --overwrite {SEND_TEST}=1 sends a test alert"
    )
    return _condition(READY, _TRUE, "NothingSentYet", f"on {count}, and there was nothing to send yet: {hint}")


def _silences(spec: Mapping[str, Any], now: datetime) -> Iterable[SilenceState]:
    found = spec.get("silences")
    for each in found if isinstance(found, list) else ():
        if not isinstance(each, Mapping):
            continue
        until = time_of(each.get("until"))
        if until is not None:  # others are told of as errors of the spec
            owner, reason = str(each.get("owner", "")), str(each.get("reason", ""))
            yield SilenceState(owner, reason, each["until"], until > now.astimezone(UTC))


def _silenced(silences: Sequence[SilenceState]) -> Condition:
    active = [each for each in silences if each.active]
    if not active:
        return _condition(SILENCED, _FALSE, "NoSilence", "no silence is in force")
    told = "; ".join(f"by {each.owner} until {each.until}: {each.reason}" for each in active[:_NAMED])
    return _condition(SILENCED, _TRUE, "SilenceInForce", f"some alerts are kept back {told}{_more(len(active))}")


def _alerts_lost(summary: DeliverySummary) -> Condition:
    if summary.losing:
        return _condition(ALERTS_LOST, _TRUE, "AlertsLost", f"alerts were lost lately on {_named(summary.losing)}")
    return _condition(ALERTS_LOST, _FALSE, "NothingLost", "no alerts were lost lately")


def _condition(type_: str, status: ConditionStatus, reason: str, message: str) -> Condition:
    return Condition(type_, status, reason, _short(message), "")


def _named(nodes: Sequence[str]) -> str:
    return f"{', '.join(sorted(nodes)[:_NAMED])}{_more(len(nodes))}"


def _more(count: int) -> str:
    return f" and {count - _NAMED} more" if count > _NAMED else ""


def _short(text: str) -> str:
    text = printable(text)  # it is of tenants and of others' servers, and ends up on terminals
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
