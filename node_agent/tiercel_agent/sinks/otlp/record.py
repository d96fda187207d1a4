"""An alert as a log record of OpenTelemetry.

Names of attributes are those of the semantic conventions where these have one; other fields of an alert keep their name
below ``tiercel.field.``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from tiercel_agent.sinks.model import Place
from tiercel_engine import __version__
from tiercel_engine.alert import Alert
from tiercel_engine.printable import valid
from tiercel_engine.priority import Priority

_EVENT = "tiercel.alert"
_TECHNIQUE = re.compile(r"T[0-9]{4}(\.[0-9]{3})?", re.ASCII)

# OpenTelemetry's logs data model, appendix B: severities of syslog.
_SEVERITIES: Mapping[Priority, SeverityNumber] = {
    Priority.EMERGENCY: SeverityNumber.FATAL,
    Priority.ALERT: SeverityNumber.ERROR3,
    Priority.CRITICAL: SeverityNumber.ERROR2,
    Priority.ERROR: SeverityNumber.ERROR,
    Priority.WARNING: SeverityNumber.WARN,
    Priority.NOTICE: SeverityNumber.INFO2,
    Priority.INFORMATIONAL: SeverityNumber.INFO,
    Priority.DEBUG: SeverityNumber.DEBUG,
}

_CONVENTIONS: Mapping[str, str] = {
    "container.id": "container.id",
    "container.name": "container.name",
    "container.image.repository": "container.image.name",
    "k8s.ns.name": "k8s.namespace.name",
    "k8s.pod.name": "k8s.pod.name",
    "k8s.pod.uid": "k8s.pod.uid",
    "proc.pid": "process.pid",
    "proc.ppid": "process.parent_pid",
    "proc.name": "process.executable.name",
    "proc.exepath": "process.executable.path",
    "proc.cmdline": "process.command_line",
    "proc.cwd": "process.working_directory",
    "user.name": "process.owner",
}
_OWNERS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob"})
_NOT_REPEATED = frozenset({"evt.time", "k8s.owner.kind", "k8s.owner.name", "k8s.node.name", "container.image.tag"})


Records = Callable[[Sequence[Alert]], list[ReadableLogRecord]]


def records_of(place: Place, *, trusted: bool) -> Records:
    """What makes alerts of this node into records. What the standard variables say of the agent is for receivers of
    the cluster's or the node's admin alone: they wrote it."""
    resource = Resource.create(_resource(place) | _named()) if trusted else Resource(_resource(place))
    scope = InstrumentationScope("tiercel", __version__)
    return lambda alerts: [ReadableLogRecord(log_record(alert), resource, scope) for alert in alerts]


def log_record(alert: Alert) -> LogRecord:
    """The attributes of the record: everything that the alert says."""
    return LogRecord(
        timestamp=alert.time,
        observed_timestamp=alert.time,
        severity_number=_SEVERITIES[alert.priority],
        severity_text=alert.priority.title,
        body=valid(alert.output),
        attributes=dict(_attributes(alert)),
        event_name=_EVENT,
    )


def _attributes(alert: Alert) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "log.record.uid": alert.id,
        "tiercel.rule.name": valid(alert.rule),
        "tiercel.rule.tags": [valid(tag) for tag in alert.tags],
        "tiercel.priority": alert.priority.title,
        "tiercel.source": valid(alert.source),
    }
    if techniques := [tag for tag in alert.tags if _TECHNIQUE.fullmatch(tag)]:
        attributes["tiercel.mitre.techniques"] = techniques
    if tactics := [valid(tag.removeprefix("mitre_")) for tag in alert.tags if tag.startswith("mitre_")]:
        attributes["tiercel.mitre.tactics"] = tactics
    fields = alert.output_fields
    kind, owner, tag = (fields.get(key) for key in ("k8s.owner.kind", "k8s.owner.name", "container.image.tag"))
    if isinstance(kind, str) and kind in _OWNERS and isinstance(owner, str):
        attributes[f"k8s.{kind.lower()}.name"] = valid(owner)
    if isinstance(tag, str):
        attributes["container.image.tags"] = [valid(tag)]
    for key, value in fields.items():
        if value is not None and key not in _NOT_REPEATED:
            attributes[_CONVENTIONS.get(key, f"tiercel.field.{valid(key)}")] = _value(value)
    return attributes | {key: valid(value) for key, value in alert.origin_fields.items()}


def _value(value: object) -> Any:
    if isinstance(value, (bool, float)):
        return value
    if isinstance(value, int):
        return value if -(1 << 63) <= value < 1 << 63 else str(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list):
        return [valid(str(member)) for member in value]
    return valid(str(value))


def _resource(place: Place) -> dict[str, str]:
    attributes = {
        "service.name": "tiercel-agent",
        "service.version": __version__,
        "host.name": place.hostname,
        "os.type": "linux",
    }
    return attributes | ({"k8s.node.name": place.node} if place.node else {})


def _named() -> dict[str, str]:
    name = os.environ.get("OTEL_SERVICE_NAME")
    return {"service.name": name} if name else {}
