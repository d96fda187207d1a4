"""AlertSink: where alerts go, which of them, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, ClassVar, Final

from tiercel_engine.api_group import API_GROUP
from tiercel_engine.priority import Priority
from tiercel_engine.resources import destinations as to
from tiercel_engine.resources.labels import LabelSelector
from tiercel_engine.resources.resource import AGE, READY, Column, Conditions, Count, Duration, Resource, Time
from tiercel_engine.resources.schema import Cel, Says, exactly_one, says

_MOST = 100
_Texts = tuple[Annotated[str, Says(min_length=1, max_length=512)], ...]

DESTINATIONS: Final = (
    *("events", "otlp", "stdout", "file", "syslog", "program", "http", "slack", "email", "alertmanager", "notify"),
)
"""The keys of `spec` of which exactly one is there."""

SEND_TEST: Final = f"{API_GROUP}/send-test"
"""The annotation that asks for a test alert; another value asks for another one."""

PriorityName = Enum("PriorityName", {member.name: member.title for member in Priority})  # type: ignore[misc]
"""As priorities stand in alerts: ``Warning``."""


class Format(Enum):
    TEXT = "text"
    JSON = "json"
    """Falco's."""
    CLOUDEVENTS = "cloudevents"
    TEMPLATE = "template"


@dataclass(frozen=True, slots=True)
class Matcher:
    """Chooses alerts; all that is given must hold."""

    rules: _Texts = field(default=(), metadata=says("Globs, one of which the rule's name matches.", max_items=_MOST))
    tags: _Texts = field(default=(), metadata=says("Tags, one of which the rule has.", max_items=_MOST))
    namespaces: _Texts = field(
        default=(), metadata=says("Globs, one of which the namespace of the pod matches.", max_items=_MOST)
    )
    pods: LabelSelector | None = field(default=None, metadata=says("What the labels of the pod must be."))
    fields: Mapping[str, str] | None = field(
        default=None, metadata=says("Fields of the alert and globs that they match.", max_properties=_MOST)
    )


@dataclass(frozen=True, slots=True)
class Match(Matcher):
    """Chooses the alerts of a sink; all that is given must hold."""

    minimum_priority: PriorityName | None = field(default=None, metadata=says("The least grave priority."))


@dataclass(frozen=True, slots=True)
class Throttle:
    """Makes one alert of many that are alike."""

    window: Duration = field(metadata=says("For how long alerts are counted after one that is sent, such as 10m."))
    by: _Texts = field(
        default=(),
        metadata=says("The fields in which they are alike. If not given: rule and workload.", max_items=20),
    )
    burst: Annotated[int, Says(minimum=1)] | None = field(
        default=None, metadata=says("How many are sent before others are counted. If not given: 1.")
    )


@dataclass(frozen=True, slots=True)
class Silence:
    """Alerts that aren't sent for a time."""

    matcher: Matcher = field(metadata=says("Which alerts.", min_properties=1))
    until: Time = field(metadata=says("When it ends."))
    owner: str = field(metadata=says("Who wanted it.", min_length=1, max_length=256))
    reason: str = field(metadata=says("Why.", min_length=1, max_length=1024))


@dataclass(frozen=True, slots=True)
class AlertSinkSpec:
    """Where alerts go, and which of them. Exactly one destination is given."""

    VALIDATIONS: ClassVar = (
        Cel(exactly_one(DESTINATIONS), f"exactly one destination is needed, of {', '.join(DESTINATIONS)}"),
        Cel(
            "has(self.template) == (has(self.format) && self.format == 'template')",
            "a template is given if the format is template, and only then",
        ),
    )

    events: to.EventsSink | None = field(default=None, metadata=says("Kubernetes Events on the pod, or the node."))
    otlp: to.OtlpSink | None = field(default=None, metadata=says("OpenTelemetry logs."))
    stdout: to.StdoutSink | None = field(default=None, metadata=says("The agent's standard output."))
    file: to.FileSink | None = field(default=None, metadata=says("A file of the node. System's namespace only."))
    syslog: to.SyslogSink | None = field(default=None, metadata=says("Syslog, RFC 5424."))
    program: to.ProgramSink | None = field(default=None, metadata=says("A program. System's namespace only."))
    http: to.HttpSink | None = field(default=None, metadata=says("An HTTP server."))
    slack: to.SlackSink | None = field(default=None, metadata=says("Slack."))
    email: to.EmailSink | None = field(default=None, metadata=says("Mail by SMTP."))
    alertmanager: to.AlertmanagerSink | None = field(default=None, metadata=says("Prometheus' Alertmanager."))
    notify: to.NotifySink | None = field(default=None, metadata=says("A service that Apprise knows."))
    match: Match | None = field(default=None, metadata=says("Which alerts. If not given: all."))
    throttle: Throttle | None = field(default=None, metadata=says("Makes one alert of many that are alike."))
    format: Format | None = field(default=None, metadata=says("An alert's form, if the destination has no own."))
    template: str | None = field(
        default=None, metadata=says("An alert's text in the format template.", min_length=1, max_length=65536)
    )
    silences: tuple[Silence, ...] = field(
        default=(), metadata=says("Alerts that aren't sent for a time.", max_items=_MOST)
    )
    suspend: bool = field(default=False, metadata=says("Whether nothing is sent. If not given: false."))


@dataclass(frozen=True, slots=True)
class DeliveryError:
    """Why alerts couldn't be delivered."""

    time: Time = field(metadata=says("When."))
    message: str = field(metadata=says("Why, without any secret.", max_length=1024))
    node: str = field(default="", metadata=says("On which node."))


@dataclass(frozen=True, slots=True)
class TestAlert:
    """What became of the test alert that the annotation tiercel.dev/send-test asked for."""

    __test__: ClassVar = False

    id: str = field(metadata=says("The annotation's value.", max_length=256))
    node: str = field(default="", metadata=says("The node that sends it."))
    sent: Time | None = field(default=None, metadata=says("When the agent made it."))
    milliseconds: Count | None = field(
        default=None, metadata=says("How long it took until the destination had taken it. If not given: it hasn't yet.")
    )
    error: str | None = field(default=None, metadata=says("Why it couldn't be delivered so far.", max_length=1024))


@dataclass(frozen=True, slots=True)
class SilenceState:
    """A silence of the spec, and whether it is in force."""

    owner: str = field(metadata=says("Who wanted it."))
    reason: str = field(metadata=says("Why."))
    until: Time = field(metadata=says("When it ends."))
    active: bool = field(metadata=says("Whether it is in force now."))


@dataclass(frozen=True, slots=True)
class AlertSinkStatus:
    """What became of the alerts, of all nodes, told by the operator."""

    observed_generation: Count | None = field(default=None, metadata=says("The generation that this tells of."))
    conditions: Conditions = field(default=(), metadata=says("Ready, and what else is the case."))
    type: str = field(default="", metadata=says("The kind of destination."))
    last_success: Time | None = field(default=None, metadata=says("When an alert was last delivered."))
    last_error: DeliveryError | None = field(default=None, metadata=says("Why one last couldn't be."))
    delivered: Count | None = field(default=None, metadata=says("Alerts that were delivered."))
    retried: Count | None = field(default=None, metadata=says("Attempts that failed and were made again."))
    lost: Count | None = field(default=None, metadata=says("Alerts that will never be delivered."))
    queued: Count | None = field(default=None, metadata=says("Alerts that wait to be delivered."))
    silenced: Count | None = field(default=None, metadata=says("Alerts that silences have kept back."))
    suppressed: Count | None = field(default=None, metadata=says("Alerts that the throttle has counted in others."))
    silences: tuple[SilenceState, ...] = field(default=(), metadata=says("The silences of the spec."))
    test: TestAlert | None = field(
        default=None, metadata=says(f"The last test alert, which the annotation {SEND_TEST} asks for.")
    )


ALERT_SINK = Resource(
    kind="AlertSink",
    short_names=("asink",),
    namespaced=True,
    description="A destination of alerts. In the namespace tiercel-system it receives those of the whole cluster, in "
    "any other those of that namespace.",
    spec=AlertSinkSpec,
    status=AlertSinkStatus,
    columns=(
        Column("Type", ".status.type"),
        READY,
        Column("Delivered", ".status.delivered", "integer"),
        Column("Lost", ".status.lost", "integer"),
        AGE,
    ),
)
