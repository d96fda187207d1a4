"""NodeAgent: what the agent of one node does and lacks, written by that agent."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from tiercel_engine.resources.alert_sink import DeliveryError, TestAlert
from tiercel_engine.resources.resource import AGE, READY, Column, Conditions, Count, Resource, Time
from tiercel_engine.resources.schema import says


@dataclass(frozen=True, slots=True)
class RefusedRule:
    """A rule of the bundle that this node can't run."""

    rule: str = field(metadata=says("The rule's name."))
    reason: str = field(metadata=says("Why the node can't run it."))


class LossCause(Enum):
    """Why events or alerts were lost. The API, metrics and alerts show these words: they stay."""

    CALL_BUFFER_FULL = "CallBufferFull"
    """The kernel had no room for records of system calls."""
    PROCESS_BUFFER_FULL = "ProcessBufferFull"
    """The kernel had no room for records of starts and ends of processes."""
    CALLS_SKIPPED = "CallsSkipped"
    """The kernel did not run the program for system calls, since it had been interrupted on the same processor."""
    PROCESSES_SKIPPED = "ProcessesSkipped"
    """The same for a program for starts, changes and ends of processes and control groups."""
    RATE_LIMIT = "RateLimit"
    """Too many system calls at once that a rule may match."""
    UNREADABLE_RECORD = "UnreadableRecord"
    """The agent could not read a record of the kernel's."""
    LOOKUP_UNANSWERED = "LookupUnanswered"
    """A file server, or a process's memory, did not answer in time, so that an event lacks a name."""
    PROCESS_TABLE_FULL = "ProcessTableFull"
    """The agent had no room for all processes, so that it isn't known what some of them execute."""
    EVALUATION_FAILED = "EvaluationFailed"
    """An error ended the evaluation of rules on an event."""
    EVALUATION_BUDGET_EXCEEDED = "EvaluationBudgetExceeded"
    """Rules of a namespace were not evaluated on events of its pods, since they took more time than they may."""
    ALERT_BUDGET_EXCEEDED = "AlertBudgetExceeded"
    """Rules of a namespace matched more often than they may raise alerts."""
    RECORDING_FAILED = "RecordingFailed"
    """The recording of events was too slow or failed."""
    OUTPUT_FAILED = "OutputFailed"
    """An output of the agent's own was too slow or failed."""
    SINK_FAILED = "SinkFailed"
    """A sink failed for too long, or refused alerts."""
    TOO_MANY_ALERTS = "TooManyAlerts"
    """There were too many alerts at once for all sinks together."""


OVER_SHARE = frozenset({LossCause.EVALUATION_BUDGET_EXCEEDED, LossCause.ALERT_BUDGET_EXCEEDED})
"""What a namespace's rules don't see or tell since they take more than they may."""


class WarningKind(Enum):
    """What restricts detection or delivery on a node."""

    KERNEL_LACKS = "KernelLacks"
    """The kernel lacks something, so that some fields have no value."""
    CAPABILITY_MISSING = "CapabilityMissing"
    """The agent lacks a capability."""
    TOO_MANY_RULES = "TooManyRules"
    """Rules of the system that are too many for the kernel to filter for."""
    FILTER_BUDGET_EXCEEDED = "FilterBudgetExceeded"
    """Rules of one namespace that exceed its budget in the kernel's filter."""
    FIELDS_WITHOUT_SOURCE = "FieldsWithoutSource"
    """Rules ask for fields that neither a runtime nor the API of Kubernetes is asked for."""
    RUNTIME_FAILS = "RuntimeFails"
    """A container runtime does not answer as it should."""
    UNKNOWN_CONTAINERS = "UnknownContainers"
    """Processes are in containers that no runtime vouches for."""
    LOOKUPS_UNANSWERED = "LookupsUnanswered"
    """Files or processes of somebody do not answer, so that events lack names."""
    KUBERNETES_FAILS = "KubernetesFails"
    """The API of Kubernetes does not answer as it should."""
    NODE_NAME_DIFFERS = "NodeNameDiffers"
    """The node is another one than the agent was told."""
    OUTPUT_LOSES_ALERTS = "OutputLosesAlerts"
    """An output of the agent's own has lost alerts."""
    SINK_LOSES_ALERTS = "SinkLosesAlerts"
    """A sink of the agent's own has lost alerts."""
    SPOOL_UNUSABLE = "SpoolUnusable"
    """Alerts that wait are not kept on the disk."""
    RULES_UNREAD = "RulesUnread"
    """Looking at the files of rules doesn't end, so that changes of them are not noticed."""


@dataclass(frozen=True, slots=True)
class NodeWarning:
    """Something that restricts detection or delivery on this node."""

    kind: WarningKind = field(metadata=says("What it is."))
    message: str = field(metadata=says("The same for people."))
    names: tuple[str, ...] = field(
        default=(), metadata=says("The rules, fields, outputs, sinks or objects that are concerned.")
    )


@dataclass(frozen=True, slots=True)
class LossOfCause:
    """Events that couldn't be looked at, of one cause."""

    cause: LossCause = field(metadata=says("Why."))
    count: Count = field(metadata=says("How many, since the agent has started."))
    rule: str = field(
        default="", metadata=says("The rule that may have matched them, as namespace/rule; any rule if there is none.")
    )
    namespace: str = field(default="", metadata=says("The namespace whose rules alone are concerned, if there is one."))
    pod: str = field(default="", metadata=says("The pod that lost them, as namespace/name, where it is known."))
    container: str = field(default="", metadata=says("The container that lost them, by its short id."))
    cgroup: str = field(default="", metadata=says("The path of the control group that lost them."))


@dataclass(frozen=True, slots=True)
class Lost:
    """Events that were lost before they could be evaluated."""

    total: Count = field(metadata=says("How many, since the agent has started."))
    by_cause: tuple[LossOfCause, ...] = field(default=(), metadata=says("How many by cause, rule and place."))


@dataclass(frozen=True, slots=True)
class ConcernedRule:
    """A rule that a part is missing for."""

    rule: str = field(metadata=says("The rule, as namespace/rule."))
    missing: Count = field(metadata=says("How many of the event types that it can match are not seen."))
    event_types: Count = field(metadata=says("How many event types it can match."))


@dataclass(frozen=True, slots=True)
class UnwatchedPart:
    """A part of the programs that this node's kernel refuses, while the rest watches."""

    part: str = field(metadata=says("The part's name."))
    reason: str = field(metadata=says("Why the kernel refuses it."))
    calls: tuple[str, ...] = field(default=(), metadata=says("Types of events that can't be seen without it."))
    only_failed: bool = field(default=False, metadata=says("Whether only calls that fail can't be seen."))
    cost: str = field(default="", metadata=says("What else that costs."))
    rules: tuple[ConcernedRule, ...] = field(default=(), metadata=says("The rules that are concerned."))


@dataclass(frozen=True, slots=True)
class RuleAlerts:
    """A rule's alerts on this node."""

    namespace: str = field(metadata=says("The namespace of the SecurityRule."))
    name: str = field(metadata=says("The name of the SecurityRule."))
    rule: str = field(metadata=says("The rule's name."))
    count: Count = field(metadata=says("How many, since the agent has started."))
    last: Time | None = field(default=None, metadata=says("When the last alert was raised."))


@dataclass(frozen=True, slots=True)
class SinkDeliveryReport:
    """What became of the alerts of one AlertSink on this node, since the agent's start."""

    namespace: str = field(metadata=says("The AlertSink's namespace."))
    name: str = field(metadata=says("The AlertSink's name."))
    generation: Count = field(metadata=says("The AlertSink's generation that is in force here."))
    failing: bool = field(metadata=says("Whether the last attempt failed, or the sink can't be opened."))
    delivered: Count = field(metadata=says("Alerts that were delivered."))
    retried: Count = field(metadata=says("Attempts that failed and were repeated."))
    lost: Count = field(metadata=says("Alerts that were given up."))
    queued: Count = field(metadata=says("Alerts that are waiting to be delivered."))
    silenced: Count = field(metadata=says("Alerts that weren't sent because of a silence."))
    suppressed: Count = field(metadata=says("Alerts that the throttle didn't send but counted in others."))
    last_success: Time | None = field(default=None, metadata=says("When an alert was last delivered."))
    last_error: DeliveryError | None = field(default=None, metadata=says("The last failure to deliver an alert."))
    test: TestAlert | None = field(default=None, metadata=says("The last test alert that this node sent."))


@dataclass(frozen=True, slots=True)
class NodeAgentStatus:
    """What the agent does and lacks. Only the agent itself writes it."""

    conditions: Conditions = field(default=(), metadata=says("Ready."))
    version: str = field(default="", metadata=says("The agent's version."))
    last_report: Time | None = field(default=None, metadata=says("When the agent wrote this status."))
    kernel: str = field(default="", metadata=says("The kernel's release."))
    hooks: str = field(
        default="",
        metadata=says(
            "How the agent is at the kernel's own hooks: LSM, fexit, or none. Without them, calls are looked at when "
            "they return, and what was exchanged by then is what is told."
        ),
    )
    bundle: str = field(default="", metadata=says("The hash of the bundle whose rules are in force.", max_length=128))
    rules: Count | None = field(default=None, metadata=says("How many rules are in force."))
    refused: tuple[RefusedRule, ...] = field(default=(), metadata=says("Rules of the bundle that this node can't run."))
    missing: tuple[str, ...] = field(default=(), metadata=says("Abilities that the agent doesn't have on this node."))
    warnings: tuple[NodeWarning, ...] = field(default=(), metadata=says("What else restricts detection here."))
    unwatched: tuple[UnwatchedPart, ...] = field(default=(), metadata=says("Parts that this node's kernel refuses."))
    events_seen: Count | None = field(
        default=None, metadata=says("Events that were evaluated, since the agent has started.")
    )
    lost: Lost | None = field(default=None, metadata=says("Events that were lost before they could be evaluated."))
    alerts: tuple[RuleAlerts, ...] = field(default=(), metadata=says("Alerts by rule."))
    sinks: tuple[SinkDeliveryReport, ...] = field(
        default=(), metadata=says("What became of the alerts of each AlertSink.")
    )


NODE_AGENT = Resource(
    kind="NodeAgent",
    short_names=("nagent",),
    namespaced=False,
    description="What the agent on the node of this name does and lacks. Only that agent writes it.",
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
