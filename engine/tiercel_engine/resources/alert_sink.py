"""AlertSink: which alerts go where, and what became of them."""

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

    rules: _Texts = field(
        default=(), metadata=says("Globs for the rule's name. It must match one of them.", max_items=_MOST)
    )
    tags: _Texts = field(default=(), metadata=says("Tags. The rule must have one of them.", max_items=_MOST))
    namespaces: _Texts = field(
        default=(), metadata=says("Globs for the pod's namespace. It must match one of them.", max_items=_MOST)
    )
    pods: LabelSelector | None = field(default=None, metadata=says("Labels that the pod must have."))
    fields: Mapping[str, str] | None = field(
        default=None,
        metadata=says(
            "Globs by the name of a field. The value of each field must match its glob.", max_properties=_MOST
        ),
    )


@dataclass(frozen=True, slots=True)
class Match(Matcher):
    """Chooses the alerts of a sink; all that is given must hold."""

    minimum_priority: PriorityName | None = field(default=None, metadata=says("The lowest priority that is sent."))


@dataclass(frozen=True, slots=True)
class Throttle:
    """Sends one alert in place of many similar ones."""

    window: Duration = field(
        metadata=says("For how long similar alerts are only counted after one was sent, such as 10m.")
    )
    by: _Texts = field(
        default=(),
        metadata=says("The fields that similar alerts have in common. If not given: rule and workload.", max_items=20),
    )
    burst: Annotated[int, Says(minimum=1)] | None = field(
        default=None,
        metadata=says("How many similar alerts are sent before the others are only counted. If not given: 1."),
    )


@dataclass(frozen=True, slots=True)
class Silence:
    """Alerts that aren't sent for a time."""

    matcher: Matcher = field(metadata=says("Which alerts aren't sent.", min_properties=1))
    until: Time = field(metadata=says("When the silence ends."))
    owner: str = field(metadata=says("Who asked for the silence.", min_length=1, max_length=256))
    reason: str = field(metadata=says("Why the alerts aren't sent.", min_length=1, max_length=1024))


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

    events: to.EventsSink | None = field(default=None, metadata=says("Kubernetes Events on the pod, or on the node."))
    otlp: to.OtlpSink | None = field(default=None, metadata=says("OpenTelemetry logs."))
    stdout: to.StdoutSink | None = field(default=None, metadata=says("The agent's standard output."))
    file: to.FileSink | None = field(
        default=None, metadata=says("A file on the node. In the namespace tiercel-system only.")
    )
    syslog: to.SyslogSink | None = field(default=None, metadata=says("Syslog, RFC 5424."))
    program: to.ProgramSink | None = field(
        default=None, metadata=says("A program that reads alerts. In the namespace tiercel-system only.")
    )
    http: to.HttpSink | None = field(default=None, metadata=says("An HTTP server."))
    slack: to.SlackSink | None = field(default=None, metadata=says("A channel of Slack."))
    email: to.EmailSink | None = field(default=None, metadata=says("Mail by SMTP."))
    alertmanager: to.AlertmanagerSink | None = field(default=None, metadata=says("Prometheus' Alertmanager."))
    notify: to.NotifySink | None = field(default=None, metadata=says("A service that Apprise knows."))
    match: Match | None = field(default=None, metadata=says("Which alerts are sent. If not given: all."))
    throttle: Throttle | None = field(default=None, metadata=says("Sends one alert in place of many similar ones."))
    format: Format | None = field(
        default=None, metadata=says("The form in which alerts are sent, if the destination has no form of its own.")
    )
    template: str | None = field(
        default=None, metadata=says("The text of an alert, for the format template.", min_length=1, max_length=65536)
    )
    silences: tuple[Silence, ...] = field(
        default=(), metadata=says("Alerts that aren't sent for a time.", max_items=_MOST)
    )
    suspend: bool = field(default=False, metadata=says("Whether sending is stopped. If not given: false."))


@dataclass(frozen=True, slots=True)
class DeliveryError:
    """Why alerts couldn't be delivered."""

    time: Time = field(metadata=says("When the delivery failed."))
    message: str = field(metadata=says("Why it failed, without any secret.", max_length=1024))
    node: str = field(default="", metadata=says("The node on which it failed."))


@dataclass(frozen=True, slots=True)
class TestAlert:
    """What became of the test alert that the annotation tiercel.dev/send-test asked for."""

    __test__: ClassVar = False

    id: str = field(metadata=says("The annotation's value.", max_length=256))
    node: str = field(default="", metadata=says("The node that sends it."))
    sent: Time | None = field(default=None, metadata=says("When the agent sent it."))
    milliseconds: Count | None = field(
        default=None,
        metadata=says("How long it took until the destination accepted it. If not given: it hasn't accepted it yet."),
    )
    error: str | None = field(default=None, metadata=says("Why it wasn't delivered so far.", max_length=1024))


@dataclass(frozen=True, slots=True)
class SilenceState:
    """A silence of the spec, and whether it is in force."""

    owner: str = field(metadata=says("Who asked for the silence."))
    reason: str = field(metadata=says("Why the alerts aren't sent."))
    until: Time = field(metadata=says("When the silence ends."))
    active: bool = field(metadata=says("Whether the silence is in force now."))


@dataclass(frozen=True, slots=True)
class AlertSinkStatus:
    """What became of the alerts on all nodes, written by the operator."""

    observed_generation: Count | None = field(
        default=None, metadata=says("The generation of the spec that this status is about.")
    )
    conditions: Conditions = field(default=(), metadata=says("Valid, Ready, Silenced and AlertsLost."))
    type: str = field(default="", metadata=says("The kind of destination."))
    last_success: Time | None = field(default=None, metadata=says("When an alert was last delivered."))
    last_error: DeliveryError | None = field(default=None, metadata=says("The last failure to deliver an alert."))
    delivered: Count | None = field(default=None, metadata=says("Alerts that were delivered."))
    retried: Count | None = field(default=None, metadata=says("Attempts that failed and were repeated."))
    lost: Count | None = field(default=None, metadata=says("Alerts that were given up."))
    queued: Count | None = field(default=None, metadata=says("Alerts that are waiting to be delivered."))
    silenced: Count | None = field(default=None, metadata=says("Alerts that weren't sent because of a silence."))
    suppressed: Count | None = field(
        default=None, metadata=says("Alerts that the throttle didn't send but counted in others.")
    )
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
