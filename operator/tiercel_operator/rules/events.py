"""Kubernetes Events on SecurityRules."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from tiercel_engine.api_group import API_VERSION
from tiercel_engine.printable import printable
from tiercel_engine.resources.resource import time_text
from tiercel_operator.cluster.kube import MANAGER
from tiercel_operator.cluster.objects import StoredRule
from tiercel_operator.conditions import LONGEST_TEXT
from tiercel_operator.rules.statuses import VALID, WAITING
from tiercel_operator.status_schedule import StatusWrite


def validity_event(stored: StoredRule, write: StatusWrite) -> dict[str, Any] | None:
    """An Event, as JSON, if the object's rules have become valid or have become invalid; None otherwise."""
    before, after = _condition(write.before), _condition(write.status)
    if after is None or (before is not None and before["status"] == after["status"]):
        return None
    if before is None and after["status"] == "True":
        return None  # valid from the beginning
    if after["reason"] == WAITING:
        return None  # there will be another one soon
    now = time_text()
    origin = stored.object.origin
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{origin.name[:200]}.{uuid.uuid4().hex[:16]}", "namespace": origin.namespace},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": "SecurityRule",
            "name": origin.name,
            "namespace": origin.namespace,
            "uid": stored.uid,
        },
        "type": "Normal" if after["status"] == "True" else "Warning",
        "reason": after["reason"],
        "message": printable(after["message"])[:LONGEST_TEXT],
        "source": {"component": MANAGER},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


def _condition(status: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return next((each for each in status.get("conditions") or () if each["type"] == VALID), None)
