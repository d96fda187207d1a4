"""An alert as an object of events.k8s.io/v1, on the pod where it happened, or on the node.

What the API server accepts is told by its own validation (kubernetes, pkg/apis/core/validation/events.go).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tiercel_agent.sinks.text import cut
from tiercel_engine.alert import RULE_NAMESPACE, RULE_OBJECT, Alert
from tiercel_engine.api_group import API_GROUP
from tiercel_engine.printable import printable
from tiercel_engine.units import rfc3339

CONTROLLER = f"{API_GROUP}/agent"
NODES_NAMESPACES = ("default", "kube-system")
"""Where Events on what is in no namespace belong: API servers before 1.21 take such Events in the second alone."""

_LONGEST_NOTE = 1024  # bytes
_LONGEST_REASON = 128
_LONGEST_NAME = 253
_LONGEST_ANNOTATION = 256
_ORIGIN = {RULE_NAMESPACE: "rule-namespace", RULE_OBJECT: "rule-object"}  # annotations
_WORD = re.compile(r"[A-Za-z0-9]+")
_GROUPS: Mapping[str, str] = {
    **dict.fromkeys(("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"), "apps/v1"),
    **dict.fromkeys(("Job", "CronJob"), "batch/v1"),
    "ReplicationController": "v1",
}

Reference = Mapping[str, str]


def pod_of(alert: Alert) -> Reference | None:
    """The pod where it happened, as far as it is known by namespace, name and uid."""
    namespace, name, uid = (alert.output_fields.get(f"k8s.{key}") for key in ("ns.name", "pod.name", "pod.uid"))
    if not (isinstance(namespace, str) and isinstance(name, str) and isinstance(uid, str) and namespace and name):
        return None
    return {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": name, "uid": uid}


def node_reference(node: str) -> Reference:
    """As the kubelet refers to its node: `kubectl describe node` looks for the name in place of the uid."""
    return {"apiVersion": "v1", "kind": "Node", "name": node, "uid": node}


def event_object(
    alert: Alert,
    regarding: Reference,
    node: str,
    *,
    reason: str = "",
    note: str = "",
    count: int = 1,
    nodes_namespace: str = NODES_NAMESPACES[0],
) -> dict[str, Any]:
    """``reason`` and ``note`` are the rule's name and the alert's output if not given; ``count`` is how often."""
    identifier = alert.id.replace("-", "")
    time = time_text(alert.time)
    event: dict[str, Any] = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": f"{regarding['name'][: _LONGEST_NAME - len(identifier) - 1].rstrip('.-')}.{identifier}",
            "namespace": regarding.get("namespace", nodes_namespace),
            "labels": {"app.kubernetes.io/name": "tiercel", f"{API_GROUP}/priority": alert.priority.title},
            "annotations": {
                f"{API_GROUP}/rule": cut(printable(alert.rule), _LONGEST_ANNOTATION),
                f"{API_GROUP}/alert": alert.id,
                **{f"{API_GROUP}/{_ORIGIN[field]}": printable(value) for field, value in alert.origin_fields.items()},
            },
        },
        "eventTime": time,
        "type": "Warning",
        "reason": reason or reason_of(alert.rule),
        "action": "Detected",
        "note": cut(printable(note or alert.output), _LONGEST_NOTE) or "-",
        "regarding": dict(regarding),
        "reportingController": CONTROLLER,
        "reportingInstance": node[:_LONGEST_REASON],
    }
    if count > 1:
        event["series"] = series(count, alert.time)
    owner = _owner(alert)
    if owner is not None and regarding["kind"] == "Pod":
        event["related"] = owner
    return event


def series(count: int, time: int) -> dict[str, Any]:
    """How often it came, the last time in nanoseconds since the epoch."""
    return {"count": count, "lastObservedTime": time_text(time)}


def reason_of(rule: str) -> str:
    """The rule's name as reasons are written: ``ShellSpawnedInAContainer``."""
    words = _WORD.findall(rule)
    return "".join(word[0].upper() + word[1:] for word in words)[:_LONGEST_REASON] or "Alert"


def time_text(nanoseconds: int) -> str:
    """A MicroTime."""
    return rfc3339(nanoseconds, digits=6)


def _owner(alert: Alert) -> Reference | None:
    kind, name = alert.output_fields.get("k8s.owner.kind"), alert.output_fields.get("k8s.owner.name")
    namespace = alert.output_fields.get("k8s.ns.name")
    if not (isinstance(kind, str) and isinstance(name, str) and isinstance(namespace, str) and kind in _GROUPS):
        return None
    return {"apiVersion": _GROUPS[kind], "kind": kind, "namespace": namespace, "name": name}
