"""The operator's own metrics. Users rely on their names, so these stay the same."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tiercel_engine.telemetry import Instrument, Telemetry
from tiercel_operator.runner import Runner

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """The values of all metrics: what the operator knows now, and totals since its start."""

    leads: bool
    rules: int
    refused_rules: int
    """SecurityRules whose condition Valid or Checked is false."""
    agents: int
    sinks: int
    sinks_not_ready: int
    """AlertSinks whose condition Ready is false although they aren't suspended."""
    plans: int
    writes: int
    failures: int
    plan_seconds: float
    """How long the last plan took."""
    failing_for: float


def read(runner: Runner) -> Readings:
    """The values as they are now. Only to be called in the runner's own event loop."""
    state, counts = runner.state, runner.counts
    return Readings(
        leads=runner.leads,
        rules=len(state.rules),
        refused_rules=sum(
            1 for rule in state.rules.values() if _is_false(rule.status, "Valid") or _is_false(rule.status, "Checked")
        ),
        agents=len(state.agents),
        sinks=len(state.sinks),
        sinks_not_ready=sum(
            1 for sink in state.sinks.values() if _is_false(sink.status, "Ready") and not sink.spec.get("suspend")
        ),
        plans=counts.plans,
        writes=counts.writes,
        failures=counts.failures,
        plan_seconds=counts.plan_seconds,
        failing_for=runner.failing_for,
    )


def open_metrics(namespace: str = "", say: Callable[[str], None] = LOGGER.warning) -> Telemetry[Readings]:
    """Opens the metrics. ``namespace`` is the operator's own."""
    pod = platform.node()
    resource = {
        "service.name": "tiercel-operator",
        "service.instance.id": pod,
        "k8s.pod.name": pod,
        "k8s.namespace.name": namespace,
    }
    return Telemetry(resource, INSTRUMENTS, say)


def _is_false(status: Mapping[str, Any], condition: str) -> bool:
    return any(
        isinstance(each, Mapping) and (each.get("type"), each.get("status")) == (condition, "False")
        for each in status.get("conditions") or ()
    )


def _gauge(name: str, unit: str, description: str, value: Callable[[Readings], float]) -> Instrument[Readings]:
    return Instrument(f"tiercel.operator.{name}", description, lambda readings: [(value(readings), {})], unit=unit)


def _total(name: str, unit: str, description: str, value: Callable[[Readings], float]) -> Instrument[Readings]:
    return Instrument(
        f"tiercel.operator.{name}", description, lambda readings: [(value(readings), {})], total=True, unit=unit
    )


INSTRUMENTS = (
    _gauge("leads", "", "Whether this operator is the one that writes.", lambda each: int(each.leads)),
    _gauge("security.rules", "{rule}", "SecurityRules that it knows.", lambda each: each.rules),
    _gauge(
        "security.rules.refused",
        "{rule}",
        "SecurityRules that are in no bundle as they are now, since they aren't valid or checked or exceed their "
        "namespace's budget.",
        lambda each: each.refused_rules,
    ),
    _gauge("node.agents", "{agent}", "NodeAgents that it knows.", lambda each: each.agents),
    _gauge("alert.sinks", "{sink}", "AlertSinks that it knows.", lambda each: each.sinks),
    _gauge(
        "alert.sinks.not.ready",
        "{sink}",
        "AlertSinks that alerts can't be delivered to.",
        lambda each: each.sinks_not_ready,
    ),
    _total(
        "reconciliations", "{time}", "How often it has planned what the cluster is to have.", lambda each: each.plans
    ),
    _total("writes", "{object}", "Objects and statuses that it has written.", lambda each: each.writes),
    _gauge("plan.duration", "s", "How long the last planning took.", lambda each: each.plan_seconds),
    _total(
        "failures",
        "{time}",
        "Reconciliations that failed, to be tried again, and statuses that the API server refused.",
        lambda each: each.failures,
    ),
    _gauge(
        "failing.duration",
        "s",
        "For how long reconciliations have failed by its own fault; /healthz fails after 300.",
        lambda each: each.failing_for,
    ),
)
