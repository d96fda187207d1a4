"""Names and labels of the agents' objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiercel_operator.agents.settings import AgentSettings

AGENT_LABELS: Mapping[str, str] = {
    "app.kubernetes.io/name": "tiercel",
    "app.kubernetes.io/component": "agent",
}
"""The labels by which the DaemonSet knows its pods."""

_OBJECT_LABELS = {**AGENT_LABELS, "app.kubernetes.io/managed-by": "tiercel-operator"}


def agent_metadata(settings: AgentSettings, owner: Mapping[str, Any] | None) -> dict[str, Any]:
    """The metadata of an object as JSON. ``owner`` is an owner reference."""
    metadata: dict[str, Any] = {"name": settings.name, "namespace": settings.namespace, "labels": dict(_OBJECT_LABELS)}
    if owner is not None:
        metadata["ownerReferences"] = [dict(owner)]
    return metadata
