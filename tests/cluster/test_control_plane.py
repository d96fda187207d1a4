"""What tests rely on when they talk to the API server: that it is a real one, and can be taken away."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
from cluster_support.control_plane import ControlPlane
from cluster_support.objects import create_node, create_pod, create_workload, delete_pod, set_pod_status
from kubernetes.client import ApiClient, ApiException, CoreV1Api, RbacAuthorizationV1Api, VersionApi
from kubernetes.config import new_client_from_config


def test_the_server_tells_its_version(api: ApiClient) -> None:
    assert VersionApi(api).get_code().git_version.startswith("v1.")


def test_pods_are_listed_by_their_node(api: ApiClient, namespace: str) -> None:
    create_node(api, f"{namespace}-near")
    create_pod(api, namespace, "here", node=f"{namespace}-near", labels={"app": "web"}, annotations={"team": "a"})
    create_pod(api, namespace, "there", node=f"{namespace}-far")
    create_pod(api, namespace, "unscheduled")

    pods = CoreV1Api(api).list_pod_for_all_namespaces(field_selector=f"spec.nodeName={namespace}-near").items

    assert [(pod.metadata.name, pod.metadata.labels, pod.metadata.annotations) for pod in pods] == [
        ("here", {"app": "web"}, {"team": "a"})
    ]


def test_a_pod_has_what_its_kubelet_tells(api: ApiClient, namespace: str) -> None:
    images = {"main": "registry.example/web:1", "sidecar": "registry.example/proxy:2"}
    pod = create_pod(
        api, namespace, "web", node="node", containers=images, init_containers={"init": "registry.example/init:3"}
    )
    ids = {"main": f"containerd://{'a' * 64}", "init": f"containerd://{'b' * 64}"}
    set_pod_status(api, pod, ip="10.1.2.3", container_ids=ids)

    status = CoreV1Api(api).read_namespaced_pod("web", namespace).status
    assert (status.phase, status.pod_ip) == ("Running", "10.1.2.3")
    assert {each.name: each.container_id for each in status.container_statuses} == {
        "main": ids["main"],
        "sidecar": None,
    }
    assert {each.name: each.container_id for each in status.init_container_statuses} == {"init": ids["init"]}

    delete_pod(api, pod)
    assert CoreV1Api(api).list_namespaced_pod(namespace).items == []


@pytest.mark.parametrize(
    "kinds", [("Deployment", "ReplicaSet"), ("CronJob", "Job"), ("StatefulSet",), ("DaemonSet",)], ids="-".join
)
def test_a_pod_leads_to_its_owners(api: ApiClient, namespace: str, kinds: tuple[str, ...]) -> None:
    owner = None
    for kind in kinds:
        owner = create_workload(api, kind, namespace, f"web-{kind.lower()}", owner=owner)
    create_pod(api, namespace, "web", owner=owner)

    (reference,) = CoreV1Api(api).read_namespaced_pod("web", namespace).metadata.owner_references
    assert owner is not None
    assert reference.controller
    assert (reference.kind, reference.name, reference.uid) == (kinds[-1], owner.name, owner.uid)


def test_a_dry_run_checks_and_makes_nothing(api: ApiClient, namespace: str) -> None:
    assert create_pod(api, namespace, "web", dry_run=True).metadata.uid
    with pytest.raises(ApiException) as refused:
        create_pod(api, namespace, "Not A Name", dry_run=True)

    assert refused.value.status == 422
    assert CoreV1Api(api).list_namespaced_pod(namespace).items == []


def test_a_user_may_do_what_a_role_allows_and_no_more(
    control_plane: ControlPlane, api: ApiClient, namespace: str
) -> None:
    agent = control_plane.users["agent"].name
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    binding = {
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": agent}],
    }
    RbacAuthorizationV1Api(api).create_namespaced_role(namespace, {"metadata": {"name": "reader"}, "rules": rules})
    RbacAuthorizationV1Api(api).create_namespaced_role_binding(namespace, binding)
    create_pod(api, namespace, "web")

    with new_client_from_config(str(control_plane.kubeconfig_for("agent"))) as client:
        assert _names_once_allowed(client, namespace) == ["web"]
        with pytest.raises(ApiException, match=f"{agent}.*cannot list resource.*pods.*at the cluster scope") as refused:
            CoreV1Api(client).list_pod_for_all_namespaces()
        assert refused.value.status == 403
    with new_client_from_config(str(control_plane.kubeconfig_for("nobody"))) as client:
        with pytest.raises(ApiException, match=r"nobody.*cannot list resource.*pods") as refused:
            CoreV1Api(client).list_namespaced_pod(namespace)
        assert refused.value.status == 403


def test_objects_outlive_the_server(
    control_plane: ControlPlane, kubeconfig: Path, api: ApiClient, namespace: str
) -> None:
    uid = create_pod(api, namespace, "web").metadata.uid

    control_plane.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", control_plane.port))
    control_plane.start()

    # with the kubeconfig from before: neither address nor certificate has changed
    with new_client_from_config(str(kubeconfig)) as client:
        assert CoreV1Api(client).read_namespaced_pod("web", namespace).metadata.uid == uid


def _names_once_allowed(client: ApiClient, namespace: str) -> list[str]:
    """The server hears of a new role a moment after it is made, as of any change."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return [pod.metadata.name for pod in CoreV1Api(client).list_namespaced_pod(namespace).items]
        except ApiException as error:
            if error.status != 403 or time.monotonic() > deadline:
                raise
        time.sleep(0.02)
