"""The agents' DaemonSet.

The DaemonSet is the same whatever the rules are: a new bundle reaches the agents by files that change in their
container, and restarts none of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from tiercel_engine.api_group import API_GROUP
from tiercel_operator.agents.config import METRICS_PORT, agent_config
from tiercel_operator.agents.metadata import AGENT_LABELS, agent_metadata
from tiercel_operator.agents.pod import pod_spec
from tiercel_operator.agents.settings import APP_ARMOR_FIELD_SINCE, AgentSettings


def daemonset(settings: AgentSettings, parts: int, owner: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The agents' DaemonSet as JSON. ``parts`` is how many ConfigMaps of a bundle are mounted, whether they are there
    or not: another number would restart all agents. ``owner`` is an owner reference."""
    # Agents read most of their configuration at the start only: the hash restarts them when it changes.
    config_hash = hashlib.sha256(agent_config(settings).encode()).hexdigest()[:16]
    annotations = {
        f"{API_GROUP}/config-hash": config_hash,
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(METRICS_PORT),
    }
    if settings.kubernetes < APP_ARMOR_FIELD_SINCE:
        annotations["container.apparmor.security.beta.kubernetes.io/agent"] = "unconfined"
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": agent_metadata(settings, owner),
        "spec": {
            "selector": {"matchLabels": dict(AGENT_LABELS)},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
            "template": {
                "metadata": {"labels": dict(AGENT_LABELS), "annotations": annotations},
                "spec": pod_spec(settings, parts),
            },
        },
    }
