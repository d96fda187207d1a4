"""Alerts to Prometheus' Alertmanager, by its API v2.

``endsAt`` is left out: an alert is of a moment, and Alertmanager takes it for resolved when its ``resolve_timeout`` has
passed without another one of the same labels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from tiercel_agent.sinks.model import BadSink, Sink, SinkSettings
from tiercel_agent.sinks.network.http_client import Client, Timeouts, address_of
from tiercel_agent.sinks.text import cut
from tiercel_engine.alert import Alert, alert_text
from tiercel_engine.printable import printable
from tiercel_engine.priority import Priority
from tiercel_engine.resources.destinations import AlertmanagerSink
from tiercel_engine.units import rfc3339

SEVERITIES: Mapping[Priority, str] = {
    Priority.EMERGENCY: "critical",
    Priority.ALERT: "critical",
    Priority.CRITICAL: "critical",
    Priority.ERROR: "error",
    Priority.WARNING: "warning",
    Priority.NOTICE: "info",
    Priority.INFORMATIONAL: "info",
    Priority.DEBUG: "info",
}
"""The label ``severity``, with the words that routes of Prometheus' users know."""

_PATH = "/api/v2/alerts"
_BATCH = 64
_WAIT = 0.2  # seconds
_LONGEST_LABEL = 1024  # bytes
_LONGEST_ANNOTATION = 8192
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_FIELDS: Mapping[str, str] = {
    "namespace": "k8s.ns.name",
    "pod": "k8s.pod.name",
    "container": "container.name",
    "node": "k8s.node.name",
}


def open_alertmanager(sink: AlertmanagerSink, settings: SinkSettings, timeouts: Timeouts | None = None) -> Sink:
    """Raises BadSink."""
    labels = _own_labels(sink.labels or {})
    address = _api(address_of(sink.url, sink.url_from, settings))
    client = Client(address, settings, sink.headers, sink.tls, timeouts=timeouts)

    def send(alerts: Sequence[Alert]) -> None:
        client.request("POST", orjson.dumps([posted(alert, labels) for alert in alerts]), "application/json")

    return Sink(send=send, batch=_BATCH, wait=_WAIT, close=client.close)


def posted(alert: Alert, labels: Mapping[str, str]) -> dict[str, Any]:
    """The alert as Alertmanager takes it; ``labels`` are added, and are stronger than those of the alert."""
    own_labels = {
        "alertname": alert.rule or "-",  # Alertmanager refuses an alert without a name
        "severity": SEVERITIES[alert.priority],
        "priority": alert.priority.title,
        "source": alert.source,
        "instance": alert.hostname,
        "rule_origin": "/".join(alert.origin_fields.values()),
    }
    for label, field in _FIELDS.items():
        value = alert.output_fields.get(field)
        own_labels[label] = value if isinstance(value, str) else ""
    annotations = {"summary": alert.output, "description": alert_text(alert), "id": alert.id}
    return {
        "labels": _bounded({**own_labels, **labels}, _LONGEST_LABEL),
        "annotations": _bounded(annotations, _LONGEST_ANNOTATION),
        "startsAt": rfc3339(alert.time),
    }


def _bounded(texts: Mapping[str, str], most: int) -> dict[str, str]:
    return {name: cut(printable(text), most) for name, text in texts.items() if text}


def _own_labels(labels: Mapping[str, str]) -> Mapping[str, str]:
    for name in labels:
        if not _NAME.fullmatch(name):
            raise BadSink(f"labels: {printable(name[:40])!r} is no label's name: letters, digits and _, no digit first")
    return labels


def _api(address: str) -> str:
    """The address of its API: what is configured may be Alertmanager's own, with a path before it or not."""
    whole, mark, query = address.strip().partition("?")
    whole = whole.rstrip("/")
    return (whole if whole.endswith(_PATH) else whole + _PATH) + mark + query
