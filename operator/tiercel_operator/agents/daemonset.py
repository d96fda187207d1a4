"""What runs on every node: the agents' DaemonSet and their configuration.

The DaemonSet is the same whatever the rules are: a new bundle reaches the agents by files that change under them, and
restarts nobody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import yaml

from tiercel_engine import __version__
from tiercel_engine.api_group import API_GROUP
from tiercel_engine.resources.sink_config import FILE
from tiercel_operator.bundle_config_maps import config_map_name
from tiercel_operator.sinks.config import SECRET

BUNDLE = "/etc/tiercel/bundle"
SINKS = "/etc/tiercel/sinks"
CONFIG = "/etc/tiercel/config"
CONFIG_FILE = "tiercel.yaml"

HOST = "/host"
"""Below it are the node's folders that agents see."""

RUN = "/run"
"""The node's folder of sockets, mounted as a whole. The runtimes' own folders in it are not on every node: where a
hostPath's folder is missing, the kubelet refuses the pod if it is to check that (type Directory), and makes the folder
if it is to do so (DirectoryOrCreate); if it is told neither (no type), the runtime makes it. A folder that was mounted
would besides be the old one for good once a runtime makes it anew.
"""

KEPT = "/var/lib/tiercel"
"""The node's folder of what agents keep over restarts: alerts that wait to be delivered, and compiled programs. It is
the only one that they write, and the only one that the kubelet makes where it isn't."""

METRICS_PORT = 9376

SOCKETS = (
    "/run/containerd/containerd.sock",
    "/run/k3s/containerd/containerd.sock",
    "/run/k0s/containerd.sock",
    "/run/crio/crio.sock",
    "/run/docker.sock",
    "/run/podman/podman.sock",
)
"""Where runtimes usually listen on a node."""

CAPABILITIES = ("BPF", "PERFMON", "SYS_PTRACE", "DAC_READ_SEARCH")
"""In place of a privileged container; the same as in config/systemd/tiercel.service.

BPF, PERFMON: load and attach the programs, read kernel memory in them. SYS_PTRACE: read executable, working directory
and root of processes of all users. DAC_READ_SEARCH: read their environment, links and names of users below their root
folders, and find control groups by their id.
"""

APP_ARMOR_FIELD_SINCE = (1, 30)
"""The version of Kubernetes from which AppArmor has a field; before, an annotation says the same."""

_LABELS: Mapping[str, str] = {
    "app.kubernetes.io/name": "tiercel",
    "app.kubernetes.io/component": "agent",
}
_MANAGED = {**_LABELS, "app.kubernetes.io/managed-by": "tiercel-operator"}
_ROOT = 0


ARCHITECTURES = ("amd64", "arm64")
"""Of nodes that agents can watch, as the kubelet calls them."""


def _nodes() -> Mapping[str, str]:
    return {"kubernetes.io/os": "linux"}


def _everywhere() -> Sequence[Mapping[str, Any]]:
    return ({"operator": "Exists"},)


def _resources() -> Mapping[str, Mapping[str, str]]:
    # No limit of CPU: an agent that is throttled loses events, and who floods it could bring that about.
    return {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """How the agents are run."""

    image: str = field(default_factory=lambda: f"tiercel/agent:{__version__}")
    pull_policy: str = "IfNotPresent"
    name: str = "tiercel-agent"
    """Of the DaemonSet, of its ConfigMap and of the service account that the agents run as."""
    namespace: str = "tiercel-system"
    kubernetes: tuple[int, int] = APP_ARMOR_FIELD_SINCE
    """The API server's version, major and minor: older ones refuse fields that they don't know."""
    node_selector: Mapping[str, str] = field(default_factory=_nodes)
    tolerations: Sequence[Mapping[str, Any]] = field(default_factory=_everywhere)
    """All taints: an attacker who can taint a node would be rid of its agent otherwise."""
    priority_class: str = "system-node-critical"
    resources: Mapping[str, Mapping[str, str]] = field(default_factory=_resources)
    extra_sockets: Sequence[str] = ()
    """Paths on the node of runtimes' sockets that aren't among ``SOCKETS``. Folders outside of ``RUN`` must be on every
    node: /var/snap/microk8s/common/run/containerd.sock is one for clusters of MicroK8s alone."""
    extra_capabilities: Sequence[str] = ()
    """Kernels before 5.11 need SYS_RESOURCE, since eBPF's memory counts as locked memory there: a pod can't be told to
    have more of it. With the capability the agent raises its own limit."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that the agents get, such as those of OpenTelemetry."""
    allowed_addresses: Sequence[str] = ()
    """Networks inside of the cluster, in CIDR notation, that tenants' sinks may reach all the same."""
    forbidden_addresses: Sequence[str] = ()
    """Networks that they may not reach besides those."""
    seccomp: str = "Unconfined"
    """Or RuntimeDefault. Profiles of older runtimes forbid bpf() to all but CAP_SYS_ADMIN, so it isn't the default."""


def telemetry(environment: Mapping[str, str]) -> dict[str, str]:
    """The OpenTelemetry variables among these, but for the operator's own name, and those that hold secrets or name
    files: what an admin tells the operator holds for the agents. More people can read a DaemonSet than a Secret."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith("OTEL_")
        and not name.endswith(("HEADERS", "CERTIFICATE", "CLIENT_KEY", "SERVICE_NAME"))
        and "@" not in value  # an address with credentials in it
    }


def agent_config(settings: AgentSettings) -> str:
    """The agents' tiercel.yaml."""
    sockets = dict.fromkeys((*SOCKETS, *settings.extra_sockets))
    egress = {"allow": [*settings.allowed_addresses], "forbid": [*settings.forbidden_addresses]}
    config: dict[str, Any] = {
        "bundle": BUNDLE,
        "format": "json",
        "containers": {"sockets": [f"{HOST}{socket}" for socket in sockets]},
        "kubernetes": {"enabled": True},
        "outputs": {"stdout": {"enabled": True}, "events": {"enabled": True}},
        "sinks": f"{SINKS}/{FILE}",
        "spool": {"folder": f"{KEPT}/spool"},
        "programs": {"folder": f"{KEPT}/programs"},
        "metrics": {"port": METRICS_PORT},
    }
    if any(egress.values()):
        config["egress"] = {key: networks for key, networks in egress.items() if networks}
    return yaml.safe_dump(config, sort_keys=False)


def agent_config_map(settings: AgentSettings, owner: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The ConfigMap of tiercel.yaml. ``owner`` is an owner reference."""
    metadata = _metadata(settings, owner)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {CONFIG_FILE: agent_config(settings)},
    }


def daemonset(settings: AgentSettings, parts: int, owner: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The agents' DaemonSet. ``parts`` is how many ConfigMaps of a bundle are mounted, whether they are there or not:
    always the same, or else all agents are restarted. ``owner`` is an owner reference."""
    # Agents read most of their configuration when they start: another one restarts them.
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
        "metadata": _metadata(settings, owner),
        "spec": {
            "selector": {"matchLabels": dict(_LABELS)},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
            "template": {
                "metadata": {"labels": dict(_LABELS), "annotations": annotations},
                "spec": _pod(settings, parts),
            },
        },
    }


def _metadata(settings: AgentSettings, owner: Mapping[str, Any] | None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": settings.name, "namespace": settings.namespace, "labels": dict(_MANAGED)}
    if owner is not None:
        metadata["ownerReferences"] = [dict(owner)]
    return metadata


def _node_folders(settings: AgentSettings) -> dict[str, tuple[str, str]]:
    """By volume: the node's folder, and where the agent sees it."""
    outside = {str(PurePosixPath(path).parent) for path in settings.extra_sockets if not path.startswith(f"{RUN}/")}
    sockets = [RUN, *sorted(outside)]
    return {
        # A container sees its own control group there: this is the whole tree.
        "cgroup": ("/sys/fs/cgroup", "/sys/fs/cgroup"),
        # Names of the node's users. The folder, since passwd is replaced by a new file whenever it changes.
        "etc": ("/etc", f"{HOST}/etc"),
    } | {f"sockets-{number}": (folder, f"{HOST}{folder}") for number, folder in enumerate(sockets)}


def _affinity() -> dict[str, Any]:
    """One of several values can't be told by a node selector."""
    of_node = {"key": "kubernetes.io/arch", "operator": "In", "values": [*ARCHITECTURES]}
    required = {"nodeSelectorTerms": [{"matchExpressions": [of_node]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


def _pod(settings: AgentSettings, parts: int) -> dict[str, Any]:
    return {
        "serviceAccountName": settings.name,
        "enableServiceLinks": False,
        "priorityClassName": settings.priority_class,
        "nodeSelector": dict(settings.node_selector),
        "affinity": _affinity(),
        "tolerations": [dict(toleration) for toleration in settings.tolerations],
        # The kernel names processes by the node's ids, and their /proc tells of those that ran before.
        "hostPID": True,
        # What waits is delivered for some seconds; what sinks can't deliver is kept on the node.
        "terminationGracePeriodSeconds": 30,
        "containers": [_container(settings)],
        "volumes": [
            {"name": "config", "configMap": {"name": settings.name}},
            # All in one volume: the kubelet changes its files all at once. ConfigMaps that the bundle doesn't need, and
            # those that the operator has yet to make, are left out; agents wait for a bundle that is whole.
            {
                "name": "bundle",
                "projected": {
                    "sources": [
                        {"configMap": {"name": config_map_name(number), "optional": True}} for number in range(parts)
                    ]
                },
            },
            # Agents have no right to read Secrets: the kubelet hands them this one.
            {"name": "sinks", "secret": {"secretName": SECRET, "optional": True, "defaultMode": 0o400}},
            {"name": "kept", "hostPath": {"path": KEPT, "type": "DirectoryOrCreate"}},
            *(
                {"name": name, "hostPath": {"path": folder, "type": "Directory"}}
                for name, (folder, _) in _node_folders(settings).items()
            ),
            # The compiler's files, for a moment where programs aren't kept yet.
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
        ],
    }


def _container(settings: AgentSettings) -> dict[str, Any]:
    return {
        "name": "agent",
        "image": settings.image,
        "imagePullPolicy": settings.pull_policy,
        "args": ["agent", "--config", f"{CONFIG}/{CONFIG_FILE}"],
        "env": [
            {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            *({"name": name, "value": value} for name, value in sorted(settings.environment.items())),
        ],
        "ports": [{"name": "http", "containerPort": METRICS_PORT}],
        # Not a probe that executes a program: on every node, every few seconds, for the agent itself to see. It answers
        # as long as detection goes on, and while programs are compiled before; what takes it long is a start, and many
        # new rules.
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": "http"},
            "initialDelaySeconds": 60,
            "periodSeconds": 30,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        "resources": {kind: dict(amounts) for kind, amounts in settings.resources.items()},
        "securityContext": _security_context(settings),
        # Folders, not single files (subPath): those wouldn't follow changes. Type information of the kernel is in the
        # container's own /sys, and raw tracepoints need no tracefs.
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG, "readOnly": True},
            {"name": "bundle", "mountPath": BUNDLE, "readOnly": True},
            {"name": "sinks", "mountPath": SINKS, "readOnly": True},
            {"name": "kept", "mountPath": KEPT},
            *(
                {"name": name, "mountPath": seen, "readOnly": True}
                for name, (_, seen) in _node_folders(settings).items()
            ),
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 (a volume of the pod's own)
        ],
    }


def _security_context(settings: AgentSettings) -> dict[str, Any]:
    """Root's identity without root's powers."""
    context: dict[str, Any] = {
        "privileged": False,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsUser": _ROOT,
        "runAsGroup": _ROOT,
        "capabilities": {"drop": ["ALL"], "add": [*CAPABILITIES, *settings.extra_capabilities]},
        "seccompProfile": {"type": settings.seccomp},
        # The type for containers that look at the node; as others they may neither load programs nor read /proc. Nodes
        # without SELinux take no notice.
        "seLinuxOptions": {"type": "spc_t", "level": "s0"},
    }
    # AppArmor's profile for containers lets none look at processes outside of it.
    if settings.kubernetes >= APP_ARMOR_FIELD_SINCE:
        context["appArmorProfile"] = {"type": "Unconfined"}
    return context
