"""Kubernetes Events on nodes, about their agents."""

from __future__ import annotations

import uuid
from typing import Any

from tiercel_engine.resources.resource import time_text
from tiercel_operator.agents.presence import Sign, SignKind
from tiercel_operator.cluster.kube import MANAGER

_NAMESPACE = "default"
"""Where Events on what is in no namespace belong."""


def node_event(sign: Sign) -> dict[str, Any]:
    """The Event as JSON. It names the node as the kubelet does, whose uid is the name: so `kubectl describe node` shows
    it."""
    now = time_text()
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{sign.node[:200]}.{uuid.uuid4().hex[:16]}", "namespace": _NAMESPACE},
        "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": sign.node, "uid": sign.node},
        "type": "Normal" if sign.kind is SignKind.BACK else "Warning",
        "reason": sign.kind.value,
        "message": sign.message,
        "source": {"component": MANAGER},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
