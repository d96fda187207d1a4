"""How the agents are run: what an admin can choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tiercel_engine import __version__
from tiercel_engine.scope import SYSTEM_NAMESPACE

APP_ARMOR_FIELD_SINCE = (1, 30)
"""The version of Kubernetes from which AppArmor has a field of its own. Before, an annotation says the same."""


def _nodes() -> Mapping[str, str]:
    return {"kubernetes.io/os": "linux"}


def _everywhere() -> Sequence[Mapping[str, Any]]:
    return ({"operator": "Exists"},)


def _resources() -> Mapping[str, Mapping[str, str]]:
    # No limit of CPU: a throttled agent loses events, and an attacker who causes many events could bring that about.
    return {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """How the agents are run."""

    image: str = f"tiercel/agent:{__version__}"
    pull_policy: str = "IfNotPresent"
    name: str = "tiercel-agent"
    """The name of the DaemonSet, of its ConfigMap and of the service account that the agents run as."""
    namespace: str = SYSTEM_NAMESPACE
    kubernetes: tuple[int, int] = APP_ARMOR_FIELD_SINCE
    """The API server's version, major and minor: older ones refuse fields that they don't know."""
    node_selector: Mapping[str, str] = field(default_factory=_nodes)
    tolerations: Sequence[Mapping[str, Any]] = field(default_factory=_everywhere)
    """All taints: otherwise an attacker who can taint a node would get rid of its agent."""
    priority_class: str = "system-node-critical"
    resources: Mapping[str, Mapping[str, str]] = field(default_factory=_resources)
    extra_sockets: Sequence[str] = ()
    """Paths on the node of runtimes' sockets that aren't among ``config.SOCKETS``, without links in them."""
    extra_capabilities: Sequence[str] = ()
    """Kernels before 5.11 need SYS_RESOURCE. There eBPF's memory counts as locked memory, and a pod can't be given a
    higher limit of it; with the capability the agent raises its own limit."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that the agents get, such as those of OpenTelemetry."""
    allowed_addresses: Sequence[str] = ()
    """Networks, in CIDR notation, that tenants' sinks may reach although they are neither of Services nor public."""
    forbidden_addresses: Sequence[str] = ()
    """Networks of Services or public ones, in CIDR notation, that tenants' sinks may not reach."""
    service_networks: Sequence[str] = ()
    """The networks of the cluster's Services, in CIDR notation, where the API server doesn't tell them."""
    namespace_budget: Mapping[str, int] = field(default_factory=dict)
    """What of an agent the rules of namespaces may take, as in the section of tiercel.yaml; what isn't there is as
    usual."""
    seccomp: str = "Unconfined"
    """Or RuntimeDefault. It isn't the default since profiles of older runtimes allow bpf() to CAP_SYS_ADMIN alone."""


def telemetry(environment: Mapping[str, str]) -> dict[str, str]:
    """The OpenTelemetry variables among these: what an admin tells the operator applies to the agents too.

    The operator's own name is left out. So are variables that hold secrets or name files, since more people can read a
    DaemonSet than a Secret.
    """
    return {
        name: value
        for name, value in environment.items()
        if name.startswith("OTEL_")
        and not name.endswith(("HEADERS", "CERTIFICATE", "CLIENT_KEY", "SERVICE_NAME"))
        and "@" not in value  # an address with credentials in it
    }
