"""Alerts as OpenTelemetry logs, by the SDK's exporters: what isn't configured is taken from the OTEL_ variables.

Names of attributes are those of the semantic conventions where these have one; other fields of an alert keep their name
below ``tiercel.field.``.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from tiercel_engine.alert import Alert
from tiercel_engine.printable import printable, valid
from tiercel_engine.priority import Priority
from tiercel_engine.redaction import redact
from tiercel_engine.resources.destinations import OtlpProtocol

_EVENT = "tiercel.alert"
_LONGEST = 300  # characters of a failure's text
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


class OtlpOutput:
    """``node`` is this node's name in a cluster, "" elsewhere; ``endpoint`` is the whole URL for logs, or "".

    The exporter repeats what fails for some seconds by itself; then the queue does.
    """

    name = "otlp"

    def __init__(self, protocol: OtlpProtocol, endpoint: str, hostname: str, node: str) -> None:
        self._resource = Resource.create(_resource(hostname, node))
        self._scope = InstrumentationScope("tiercel", version("tiercel"))
        self._said = _Said()
        logging.getLogger("opentelemetry").addHandler(self._said)
        logging.getLogger("opentelemetry").propagate = False
        self._exporter = _exporter(protocol, endpoint)

    def write(self, items: Sequence[Alert]) -> None:
        """Raises OSError if the receiver doesn't take them now."""
        records = [ReadableLogRecord(log_record(alert), self._resource, self._scope) for alert in items]
        if self._exporter.export(records) is not LogRecordExportResult.SUCCESS:
            raise OSError(self._said.last or "the receiver doesn't take them")

    def reopen(self) -> None:
        pass

    def close(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]
        logging.getLogger("opentelemetry").removeHandler(self._said)


class _Said(logging.Handler):
    """Exporters tell why they fail in their log alone."""

    last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = printable(redact(record.getMessage()))[:_LONGEST]


def log_record(alert: Alert) -> LogRecord:
    """The alert with all it tells."""
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
    found: dict[str, Any] = {
        "log.record.uid": alert.id,
        "tiercel.rule.name": valid(alert.rule),
        "tiercel.rule.tags": [valid(tag) for tag in alert.tags],
        "tiercel.priority": alert.priority.title,
        "tiercel.source": valid(alert.source),
    }
    if alert.origin is not None:
        found |= {"tiercel.rule.namespace": alert.origin.namespace, "tiercel.rule.object": alert.origin.name}
    if techniques := [tag for tag in alert.tags if _TECHNIQUE.fullmatch(tag)]:
        found["tiercel.mitre.techniques"] = techniques
    if tactics := [valid(tag.removeprefix("mitre_")) for tag in alert.tags if tag.startswith("mitre_")]:
        found["tiercel.mitre.tactics"] = tactics
    fields = alert.output_fields
    kind, owner, tag = (fields.get(key) for key in ("k8s.owner.kind", "k8s.owner.name", "container.image.tag"))
    if isinstance(kind, str) and kind in _OWNERS and isinstance(owner, str):
        found[f"k8s.{kind.lower()}.name"] = owner
    if isinstance(tag, str):
        found["container.image.tags"] = [valid(tag)]
    for key, value in fields.items():
        if value is not None and key not in _NOT_REPEATED:
            found[_CONVENTIONS.get(key, f"tiercel.field.{valid(key)}")] = _value(value)
    return found


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


def _resource(hostname: str, node: str) -> dict[str, str]:
    found = {
        "service.name": os.environ.get("OTEL_SERVICE_NAME") or "tiercel-agent",
        "service.version": version("tiercel"),
        "host.name": hostname,
        "os.type": "linux",
    }
    return found | ({"k8s.node.name": node} if node else {})


def _exporter(protocol: OtlpProtocol, endpoint: str) -> LogRecordExporter:
    if protocol is OtlpProtocol.GRPC:
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as Grpc  # noqa: PLC0415

        return Grpc(endpoint=endpoint or None)
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as Http  # noqa: PLC0415

    return Http(endpoint=endpoint or None)
