"""Objects as a cluster's users, controllers and kubelets would make them.

No controller and no kubelet runs beside the tests' API server. So what they would do is done here by hand: owners with
their true uids, and the status of pods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from kubernetes.client import ApiClient, ApiException, CoreV1Api, CustomObjectsApi, V1Node, V1Pod

_IMAGE = "registry.example/app:1.0"
_CONTAINERS: Mapping[str, str] = {"main": _IMAGE}


@dataclass(frozen=True)
class Owner:
    """What an owner reference tells of an object."""

    api_version: str
    kind: str
    name: str
    uid: str

    def reference(self) -> dict[str, Any]:
        """As the controller of what it owns."""
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }


def ask(api: ApiClient, method: str, path: str, text: str = "") -> bytes:
    """A request with JSON as it is, also such as no client of Python's can write or read; and the answer's."""
    headers = {each["key"].capitalize(): each["value"] for each in api.configuration.auth_settings().values()}
    url = api.configuration.host + path
    answer = api.rest_client.pool_manager.request(
        method, url, body=text or None, headers={**headers, "Content-Type": "application/json"}
    )
    if answer.status >= HTTPStatus.BAD_REQUEST:
        raise ApiException(status=answer.status, reason=answer.data.decode("utf-8", "replace")[:1000])
    return bytes(answer.data)


def create_namespace(api: ApiClient, name: str, labels: Mapping[str, str] | None = None) -> None:
    CoreV1Api(api).create_namespace({"metadata": {"name": name, "labels": dict(labels or {})}})


def create_node(api: ApiClient, name: str, labels: Mapping[str, str] | None = None) -> V1Node:
    return CoreV1Api(api).create_node({"metadata": {"name": name, "labels": dict(labels or {})}})


def create_pod(
    api: ApiClient,
    namespace: str,
    name: str,
    *,
    node: str = "",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    owner: Owner | None = None,
    service_account: str = "default",
    containers: Mapping[str, str] = _CONTAINERS,
    init_containers: Mapping[str, str] | None = None,
    dry_run: bool = False,
) -> V1Pod:
    """A pod as its controller makes it, or with `node` as the scheduler leaves it. Containers are images by name."""
    metadata = _metadata(name, labels, owner) | {"annotations": dict(annotations or {})}
    spec: dict[str, Any] = {"serviceAccountName": service_account, "containers": _containers(containers)}
    if init_containers:
        spec["initContainers"] = _containers(init_containers)
    if node:
        spec["nodeName"] = node
    options: dict[str, Any] = {"dry_run": "All"} if dry_run else {}
    return CoreV1Api(api).create_namespaced_pod(namespace, {"metadata": metadata, "spec": spec}, **options)


def set_pod_status(
    api: ApiClient, pod: V1Pod, *, ip: str = "", phase: str = "Running", container_ids: Mapping[str, str] | None = None
) -> V1Pod:
    """What the kubelet tells of a pod. The ids are whole, as in `containerd://…`, by the names of containers, init
    containers among them; a container without one waits to be made."""

    def statuses(containers: list[Any] | None) -> list[dict[str, Any]]:
        return [_container_status(c.name, c.image, (container_ids or {}).get(c.name, "")) for c in containers or ()]

    status: dict[str, Any] = {"phase": phase, "containerStatuses": statuses(pod.spec.containers)}
    status["initContainerStatuses"] = statuses(pod.spec.init_containers)
    if ip:
        status |= {"podIP": ip, "podIPs": [{"ip": ip}]}
    where = pod.metadata
    return CoreV1Api(api).patch_namespaced_pod_status(where.name, where.namespace, {"status": status})


def delete_pod(api: ApiClient, pod: V1Pod) -> None:
    """At once: without a kubelet, a pod on a node would otherwise be terminating for ever."""
    CoreV1Api(api).delete_namespaced_pod(pod.metadata.name, pod.metadata.namespace, grace_period_seconds=0)


def create_workload(
    api: ApiClient,
    kind: str,
    namespace: str,
    name: str,
    *,
    labels: Mapping[str, str] | None = None,
    owner: Owner | None = None,
) -> Owner:
    """A Deployment, ReplicaSet, StatefulSet, DaemonSet, Job or CronJob, to be the owner of what it would make."""
    group, plural, spec = _WORKLOADS[kind]
    body = {"kind": kind, "metadata": _metadata(name, labels, owner), "spec": spec(name)}
    objects: Any = CustomObjectsApi(api)  # plain REST, whatever the group
    try:
        made = objects.create_namespaced_custom_object(
            group, "v1", namespace, plural, body | {"apiVersion": f"{group}/v1"}
        )
    except ApiException as error:
        if kind != "CronJob" or error.status != HTTPStatus.NOT_FOUND:
            raise
        # before Kubernetes 1.21
        body["apiVersion"] = "batch/v1beta1"
        made = objects.create_namespaced_custom_object(group, "v1beta1", namespace, plural, body)
    return Owner(made["apiVersion"], made["kind"], made["metadata"]["name"], made["metadata"]["uid"])


def _selecting(name: str) -> dict[str, Any]:
    return {"selector": {"matchLabels": {"app": name}}, "template": _template(name)}


def _stateful(name: str) -> dict[str, Any]:
    return _selecting(name) | {"serviceName": name}


def _job(name: str) -> dict[str, Any]:
    return {"template": _template(name, restartPolicy="Never")}


def _cron_job(name: str) -> dict[str, Any]:
    return {"schedule": "0 4 * * *", "jobTemplate": {"spec": _job(name)}}


def _template(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": name}}, "spec": {"containers": _containers(_CONTAINERS), **spec}}


_WORKLOADS: Mapping[str, tuple[str, str, Callable[[str], dict[str, Any]]]] = {
    "Deployment": ("apps", "deployments", _selecting),
    "ReplicaSet": ("apps", "replicasets", _selecting),
    "StatefulSet": ("apps", "statefulsets", _stateful),
    "DaemonSet": ("apps", "daemonsets", _selecting),
    "Job": ("batch", "jobs", _job),
    "CronJob": ("batch", "cronjobs", _cron_job),
}


def _metadata(name: str, labels: Mapping[str, str] | None, owner: Owner | None) -> dict[str, Any]:
    references = [owner.reference()] if owner else []
    return {"name": name, "labels": dict(labels or {}), "ownerReferences": references}


def _containers(images: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"name": name, "image": image} for name, image in images.items()]


def _container_status(name: str, image: str, container_id: str) -> dict[str, Any]:
    status: dict[str, Any] = {"name": name, "image": image, "restartCount": 0, "ready": bool(container_id)}
    if not container_id:
        return status | {"imageID": "", "state": {"waiting": {"reason": "ContainerCreating"}}}
    image_id = f"{image}@sha256:{'0' * 64}"
    return status | {"imageID": image_id, "containerID": container_id, "state": {"running": {}}}
