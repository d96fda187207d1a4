"""``k8s.*``: the pod that the process is in, and the node."""

from __future__ import annotations

from collections.abc import Callable

from tiercel_agent.events.fields.container import labels_text
from tiercel_agent.events.syscall_record import SyscallRecord
from tiercel_agent.workloads.model import Container, Labelled, Pod
from tiercel_engine.event import Value

_SHORT_ID = 12


def _of_pod(value: Callable[[Pod], str | None]) -> Callable[[SyscallRecord], Value | None]:
    """A field of the pod. It has no value where the pod's is ""."""

    def extract(record: SyscallRecord) -> Value | None:
        pod = record.workload.pod
        return (value(pod) or None) if pod is not None else None

    return extract


def _of_namespace(value: Callable[[Labelled], str | None]) -> Callable[[SyscallRecord], Value | None]:
    def extract(record: SyscallRecord) -> Value | None:
        namespace = record.workload.namespace
        return value(namespace) if namespace is not None else None

    return extract


def _of_container(value: Callable[[Container], str]) -> Callable[[SyscallRecord], Value | None]:
    def extract(record: SyscallRecord) -> Value | None:
        container = record.workload.container
        return (value(container) or None) if container is not None else None

    return extract


def _uid(record: SyscallRecord) -> str | None:
    """The pod's UID, which the cgroup's name has before the API server or the runtime reports the pod. It doesn't count
    once a runtime has denied that there is such a container."""
    workload, container = record.workload, record.container
    if workload.pod is not None:
        return workload.pod.uid
    return container.pod_uid if container is not None and "pod" in workload.missing else None


def _owner(kind: str) -> Callable[[SyscallRecord], Value | None]:
    return _of_pod(lambda pod: next((owner.name for owner in pod.owners if owner.kind == kind), None))


def _pod_label(record: SyscallRecord, name: str) -> str | None:
    pod = record.workload.pod
    return pod.labels.get(name) if pod is not None else None


def _pod_annotation(record: SyscallRecord, name: str) -> str | None:
    pod = record.workload.pod
    return pod.annotations.get(name) if pod is not None else None


def _namespace_label(record: SyscallRecord, name: str) -> str | None:
    namespace = record.workload.namespace
    return namespace.labels.get(name) if namespace is not None else None


FIELDS: dict[str, Callable[[SyscallRecord], Value | None]] = {
    "k8s.pod.name": _of_pod(lambda pod: pod.name),
    "k8s.pod.uid": _uid,
    "k8s.pod.id": _uid,
    "k8s.pod.sandbox_id": _of_container(lambda container: container.sandbox_id[:_SHORT_ID]),
    "k8s.pod.full_sandbox_id": _of_container(lambda container: container.sandbox_id),
    "k8s.pod.labels": _of_pod(lambda pod: labels_text(pod.labels)),
    "k8s.pod.ip": _of_pod(lambda pod: pod.ip),
    "k8s.pod.cni.json": _of_container(lambda container: container.cni),
    "k8s.pod.service_account": _of_pod(lambda pod: pod.service_account),
    "k8s.ns.name": _of_pod(lambda pod: pod.namespace),
    "k8s.ns.id": _of_namespace(lambda namespace: namespace.uid),
    "k8s.ns.labels": _of_namespace(lambda namespace: labels_text(namespace.labels)),
    "k8s.rc.name": _owner("ReplicationController"),
    "k8s.rs.name": _owner("ReplicaSet"),
    "k8s.deployment.name": _owner("Deployment"),
    "k8s.owner.kind": _of_pod(lambda pod: pod.owners[-1].kind if pod.owners else None),
    "k8s.owner.name": _of_pod(lambda pod: pod.owners[-1].name if pod.owners else None),
    "k8s.node.name": lambda record: record.context.containers.inventory.node or None,
}
WITH_ARGUMENT: dict[str, Callable[[SyscallRecord, str], Value | None]] = {
    "k8s.pod.label": _pod_label,
    "k8s.pod.annotation": _pod_annotation,
    "k8s.ns.label": _namespace_label,
    "k8s.node.label": lambda record, name: record.context.containers.inventory.node_labels().get(name),
}
