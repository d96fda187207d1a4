"""NodeAgent: what one node's agent does, told by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tiercel_engine.resources.alert_sink import DeliveryError, TestAlert
from tiercel_engine.resources.resource import AGE, READY, Column, Conditions, Count, Resource, Time
from tiercel_engine.resources.schema import says


@dataclass(frozen=True, slots=True)
class RefusedRule:
    """A rule of the bundle that this node can't run."""

    rule: str = field(metadata=says("The rule's name."))
    reason: str = field(metadata=says("Why it can't."))


@dataclass(frozen=True, slots=True)
class Lost:
    """Events that couldn't be looked at."""

    total: Count = field(metadata=says("How many, since the agent's start."))
    causes: Mapping[str, Count] | None = field(default=None, metadata=says("How many by cause."))


@dataclass(frozen=True, slots=True)
class UnwatchedPart:
    """A part of the programs that this node's kernel refuses, while the rest watches."""

    part: str = field(metadata=says("The part's name."))
    reason: str = field(metadata=says("Why the kernel refuses it."))
    calls: tuple[str, ...] = field(default=(), metadata=says("Types of events that can't be seen without it."))
    only_failed: bool = field(default=False, metadata=says("Whether those can be seen that succeed."))


@dataclass(frozen=True, slots=True)
class RuleAlerts:
    """A rule's alerts on this node."""

    namespace: str = field(metadata=says("The namespace of the SecurityRule."))
    name: str = field(metadata=says("The name of the SecurityRule."))
    rule: str = field(metadata=says("The rule's name."))
    count: Count = field(metadata=says("How many, since the agent's start."))
    last: Time | None = field(default=None, metadata=says("When the last one was."))


@dataclass(frozen=True, slots=True)
class SinkDeliveryReport:
    """What became of the alerts of one AlertSink on this node, since the agent's start."""

    namespace: str = field(metadata=says("The AlertSink's namespace."))
    name: str = field(metadata=says("The AlertSink's name."))
    generation: Count = field(metadata=says("The AlertSink's generation that is in force here."))
    failing: bool = field(metadata=says("Whether the last attempt failed, or it can't even be opened."))
    delivered: Count = field(metadata=says("Alerts that were delivered."))
    retried: Count = field(metadata=says("Attempts that failed and were made again."))
    lost: Count = field(metadata=says("Alerts that will never be delivered."))
    queued: Count = field(metadata=says("Alerts that wait to be delivered."))
    silenced: Count = field(metadata=says("Alerts that silences have kept back."))
    suppressed: Count = field(metadata=says("Alerts that the throttle has counted in others."))
    last_success: Time | None = field(default=None, metadata=says("When an alert was last delivered."))
    last_error: DeliveryError | None = field(default=None, metadata=says("Why one last couldn't be."))
    test: TestAlert | None = field(default=None, metadata=says("The test alert that this node has sent last."))


@dataclass(frozen=True, slots=True)
class NodeAgentStatus:
    """What the agent does, written by it alone."""

    conditions: Conditions = field(default=(), metadata=says("Ready, and what else is the case."))
    version: str = field(default="", metadata=says("The agent's version."))
    last_report: Time | None = field(default=None, metadata=says("When the agent wrote this."))
    kernel: str = field(default="", metadata=says("The kernel's release."))
    bundle: str = field(default="", metadata=says("The hash of the bundle that is in force.", max_length=128))
    rules: Count | None = field(default=None, metadata=says("How many rules are in force."))
    refused: tuple[RefusedRule, ...] = field(default=(), metadata=says("Rules of the bundle that this node can't run."))
    missing: tuple[str, ...] = field(default=(), metadata=says("Capabilities of the agent that it lacks."))
    notes: tuple[str, ...] = field(default=(), metadata=says("What else restricts detection here."))
    unwatched: tuple[UnwatchedPart, ...] = field(default=(), metadata=says("Parts that this node's kernel refuses."))
    events_seen: Count | None = field(default=None, metadata=says("Events looked at, since the agent's start."))
    lost: Lost | None = field(default=None, metadata=says("Events that couldn't be looked at."))
    alerts: tuple[RuleAlerts, ...] = field(default=(), metadata=says("Alerts by rule."))
    sinks: tuple[SinkDeliveryReport, ...] = field(default=(), metadata=says("What became of alerts, by AlertSink."))


NODE_AGENT = Resource(
    kind="NodeAgent",
    short_names=("nagent",),
    namespaced=False,
    description="What the agent of the node of this name does and lacks. Nobody but that agent writes it.",
    spec=None,
    status=NodeAgentStatus,
    columns=(
        READY,
        Column("Kernel", ".status.kernel"),
        Column("Rules", ".status.rules", "integer"),
        Column("Bundle", ".status.bundle"),
        Column("Lost", ".status.lost.total", "integer"),
        AGE,
    ),
)
