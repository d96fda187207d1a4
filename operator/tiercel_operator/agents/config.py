"""The agents' configuration: tiercel.yaml, in a ConfigMap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from tiercel_engine.resources.sink_config import FILE
from tiercel_operator.agents.metadata import agent_metadata
from tiercel_operator.agents.paths import BUNDLE, CONFIG_FILE, NODE, SINKS, STORAGE
from tiercel_operator.agents.settings import AgentSettings

METRICS_PORT = 9376

SOCKETS = (
    "/run/containerd/containerd.sock",
    "/run/k3s/containerd/containerd.sock",
    "/run/k0s/containerd.sock",
    "/var/snap/microk8s/common/run/containerd.sock",
    "/run/crio/crio.sock",
    "/run/docker.sock",
    "/run/podman/podman.sock",
)
"""Where runtimes usually listen on a node."""


def agent_config(settings: AgentSettings) -> str:
    """The agents' tiercel.yaml."""
    sockets = dict.fromkeys((*SOCKETS, *settings.extra_sockets))
    egress = {
        "allow": [*settings.allowed_addresses],
        "forbid": [*settings.forbidden_addresses],
        "services": [*settings.service_networks],
    }
    config: dict[str, Any] = {
        "bundle": BUNDLE,
        "format": "json",
        "containers": {"sockets": [f"{NODE}{socket}" for socket in sockets]},
        "kubernetes": {"enabled": True},
        "outputs": {"stdout": {"enabled": True}, "events": {"enabled": True}},
        "sinks": f"{SINKS}/{FILE}",
        "spool": {"folder": f"{STORAGE}/spool"},
        "programs": {"folder": f"{STORAGE}/programs"},
        "metrics": {"port": METRICS_PORT},
    }
    if settings.namespace_budget:
        config["namespace_budget"] = dict(settings.namespace_budget)
    if any(egress.values()):
        config["egress"] = {key: networks for key, networks in egress.items() if networks}
    return yaml.safe_dump(config, sort_keys=False)


def agent_config_map(settings: AgentSettings, owner: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The ConfigMap with tiercel.yaml, as JSON. ``owner`` is an owner reference."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": agent_metadata(settings, owner),
        "data": {CONFIG_FILE: agent_config(settings)},
    }
