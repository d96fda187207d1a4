"""The agents' pod: what it mounts, and with which rights it runs."""

from __future__ import annotations

from typing import Any

from tiercel_operator.agents.config import METRICS_PORT
from tiercel_operator.agents.paths import BUNDLE, CONFIG, CONFIG_FILE, SINKS, STORAGE
from tiercel_operator.agents.settings import APP_ARMOR_FIELD_SINCE, AgentSettings
from tiercel_operator.bundle_config_maps import config_map_name
from tiercel_operator.sinks.config import SECRET

CAPABILITIES = ("BPF", "PERFMON", "SYS_PTRACE", "DAC_READ_SEARCH", "SETUID", "SETGID")
"""These take the place of a privileged container. All but the last two are in config/systemd/tiercel.service too.

BPF, PERFMON: load and attach the programs, read kernel memory in them. SYS_PTRACE: read executable, working directory
and root of processes of all users. DAC_READ_SEARCH: read their environment, links and names of users below their root
folders, and find control groups by their id. SETUID, SETGID: start the process of tenants' sinks as another user.
"""

ARCHITECTURES = ("amd64", "arm64")
"""The architectures of nodes that agents can watch, as the kubelet names them."""

_ROOT = 0
_ROOT_ALONE = 0o400
"""The mode of mounted files: the process of tenants' sinks is in the same container, and none of its business are the
rules and secrets of others."""

_NODE_FOLDERS = {
    # The whole tree of control groups: by itself a container sees its own one there.
    "cgroup": "/sys/fs/cgroup",
    # Where newer kernels number their trace events; a container's own /sys hasn't got it.
    "tracing": "/sys/kernel/tracing",
}
"""The node's folders that are mounted, to be read, by the name of the volume."""


def pod_spec(settings: AgentSettings, parts: int) -> dict[str, Any]:
    """The pod's spec as JSON. ``parts`` is how many ConfigMaps of a bundle are mounted."""
    return {
        "serviceAccountName": settings.name,
        "enableServiceLinks": False,
        "priorityClassName": settings.priority_class,
        "nodeSelector": dict(settings.node_selector),
        "affinity": _affinity(),
        "tolerations": [dict(toleration) for toleration in settings.tolerations],
        # The kernel numbers processes as the node does, and the node's /proc tells of processes that ran before.
        "hostPID": True,
        # At the end, waiting alerts are delivered for some seconds; the rest stays in the node's storage.
        "terminationGracePeriodSeconds": 30,
        "containers": [_container(settings)],
        "volumes": [
            {"name": "config", "configMap": {"name": settings.name, "defaultMode": _ROOT_ALONE}},
            # One volume for all parts, since the kubelet changes the files of a volume all at once. Optional, since a
            # bundle may need fewer ConfigMaps, or the operator is still writing them; agents wait until it is complete.
            {
                "name": "bundle",
                "projected": {
                    "sources": [
                        {"configMap": {"name": config_map_name(number), "optional": True}} for number in range(parts)
                    ],
                    "defaultMode": _ROOT_ALONE,
                },
            },
            # Agents have no right to read Secrets: the kubelet mounts this one for them.
            {"name": "sinks", "secret": {"secretName": SECRET, "optional": True, "defaultMode": _ROOT_ALONE}},
            {"name": "storage", "hostPath": {"path": STORAGE, "type": "DirectoryOrCreate"}},
            *(
                {"name": name, "hostPath": {"path": folder, "type": "Directory"}}
                for name, folder in _NODE_FOLDERS.items()
            ),
            # For the compiler's files, while programs are compiled.
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
        ],
    }


def _affinity() -> dict[str, Any]:
    """Architectures: a node selector can't name several values."""
    of_node = {"key": "kubernetes.io/arch", "operator": "In", "values": [*ARCHITECTURES]}
    required = {"nodeSelectorTerms": [{"matchExpressions": [of_node]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


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
        # By HTTP: a probe that executes a program would do so on every node every few seconds, and the agent itself
        # would see it. The agent answers as long as detection goes on, and while programs are compiled before that. A
        # start takes long, and so do many new rules.
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": "http"},
            "initialDelaySeconds": 60,
            "periodSeconds": 30,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        # Whether the agent answers is known to the operator by this one, within 15 seconds: its pod's status is written
        # when the answer changes, and only then.
        "readinessProbe": {
            "httpGet": {"path": "/healthz", "port": "http"},
            "periodSeconds": 4,
            "timeoutSeconds": 3,
            "failureThreshold": 2,
        },
        "resources": {kind: dict(amounts) for kind, amounts in settings.resources.items()},
        "securityContext": _security_context(settings),
        # Folders, since single files (subPath) wouldn't follow changes. The kernel's type information is in the
        # container's own /sys.
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG, "readOnly": True},
            {"name": "bundle", "mountPath": BUNDLE, "readOnly": True},
            {"name": "sinks", "mountPath": SINKS, "readOnly": True},
            {"name": "storage", "mountPath": STORAGE},
            *({"name": name, "mountPath": folder, "readOnly": True} for name, folder in _NODE_FOLDERS.items()),
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 (a volume of the pod's own)
        ],
    }


def _security_context(settings: AgentSettings) -> dict[str, Any]:
    """The user is root, but without most of root's powers."""
    context: dict[str, Any] = {
        "privileged": False,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsUser": _ROOT,
        "runAsGroup": _ROOT,
        "capabilities": {"drop": ["ALL"], "add": [*CAPABILITIES, *settings.extra_capabilities]},
        "seccompProfile": {"type": settings.seccomp},
        # The SELinux type for containers that observe the node. With other types they may neither load programs nor
        # read /proc. Nodes without SELinux ignore it.
        "seLinuxOptions": {"type": "spc_t", "level": "s0"},
    }
    # AppArmor's default profile for containers allows none to look at processes outside of it.
    if settings.kubernetes >= APP_ARMOR_FIELD_SINCE:
        context["appArmorProfile"] = {"type": "Unconfined"}
    return context
