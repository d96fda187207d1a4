"""``k8s.*``: the Kubernetes pod that the process runs in, and what the pod belongs to."""

from __future__ import annotations

from tiercel_engine.fields.model import Argument, Field, FieldType


def _pod(name: str, meaning: str, argument: Argument = Argument.NONE) -> Field:
    return Field(name, FieldType.STRING, meaning, argument=argument)


FIELDS: tuple[Field, ...] = (
    _pod("k8s.pod.name", "The name of the pod."),
    _pod("k8s.pod.uid", "The UID of the pod."),
    _pod("k8s.pod.id", "The UID of the pod, the same as k8s.pod.uid."),
    _pod("k8s.pod.sandbox_id", "The first 12 digits of the id of the pod's sandbox container."),
    _pod("k8s.pod.full_sandbox_id", "The whole id of the pod's sandbox container."),
    _pod("k8s.pod.label", "The value of one label of the pod, as in k8s.pod.label[app].", Argument.REQUIRED),
    _pod("k8s.pod.labels", "All labels of the pod as name:value, separated by commas."),
    _pod(
        "k8s.pod.annotation",
        "The value of one annotation of the pod that the agent is configured to keep, as in "
        "k8s.pod.annotation[example.com/team].",
        Argument.REQUIRED,
    ),
    _pod("k8s.pod.service_account", "The service account that the pod runs under."),
    _pod("k8s.pod.ip", "The first IP address of the pod."),
    _pod("k8s.pod.cni.json", "The pod's network interfaces and addresses as JSON."),
    _pod("k8s.ns.name", "The namespace of the pod."),
    _pod("k8s.ns.id", "The UID of the pod's namespace."),
    _pod("k8s.ns.label", "The value of one label of the pod's namespace, as in k8s.ns.label[team].", Argument.REQUIRED),
    _pod("k8s.ns.labels", "All labels of the pod's namespace as name:value, separated by commas."),
    _pod("k8s.rc.name", "The name of the replication controller that the pod belongs to."),
    _pod("k8s.rs.name", "The name of the replica set that the pod belongs to."),
    _pod("k8s.deployment.name", "The name of the deployment that the pod belongs to."),
    _pod("k8s.owner.kind", "The kind of what the pod belongs to in the end, such as Deployment, CronJob or DaemonSet."),
    _pod("k8s.owner.name", "The name of what the pod belongs to in the end."),
    _pod("k8s.node.name", "The name of the Kubernetes node; it has a value outside of pods too."),
    _pod("k8s.node.label", "The value of one label of the node, as in k8s.node.label[pool].", Argument.REQUIRED),
)
