"""What an agent learns of its node's pods, from a real API server and with no more rights than it gets."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml
from cluster_support.control_plane import ControlPlane
from cluster_support.objects import create_node, create_pod, create_workload, delete_pod, set_pod_status
from cluster_support.waiting import DEADLINE, until
from kubernetes.client import ApiClient, CoreV1Api

from tiercel_agent.context.container import ContainerId
from tiercel_agent.workloads.cluster.cluster import Cluster
from tiercel_agent.workloads.inventory import Inventory
from tiercel_agent.workloads.model import Owner, Workload
from tiercel_agent.workloads.settings import NoCluster
from tiercel_engine.resources.node_agent import WarningKind

Start = Callable[..., Inventory]


@pytest.fixture
def start(agent_kubeconfig: Path) -> Iterator[Start]:
    """Inventories of a node; containers are asked for nowhere."""
    opened: list[Inventory] = []

    def begin(node: str, annotations: tuple[str, ...] = (), kubeconfig: Path = agent_kubeconfig) -> Inventory:
        opened.append(Inventory(None, partial(Cluster, kubeconfig, node, annotations), patience=DEADLINE))
        return opened[-1]

    yield begin
    for inventory in opened:
        inventory.close()


def learned(
    inventory: Inventory, uid: str, wanted: Callable[[Workload], object] = lambda workload: workload.pod
) -> Workload:
    """What becomes known of a container of the pod."""
    container = ContainerId("0" * 64, "containerd", uid)
    end = time.monotonic() + DEADLINE
    while not wanted(inventory.workload(container)):
        assert time.monotonic() < end, inventory.workload(container)
        select.select([inventory.fileno], [], [], 0.1)
        inventory.take_news()
    return inventory.workload(container)


def test_a_pod_is_known_with_all_that_alerts_tell(api: ApiClient, namespace: str, start: Start) -> None:
    create_node(api, namespace)
    owner = create_workload(api, "Deployment", namespace, "shop")
    owner = create_workload(api, "ReplicaSet", namespace, "shop-5d8f", owner=owner)
    noted = {"example.com/team": "a", "example.com/other": "b"}
    made = create_pod(
        api, namespace, "shop-5d8f-x", node=namespace, labels={"app": "shop"}, annotations=noted, owner=owner
    )
    set_pod_status(api, made, ip="10.1.2.3")
    inventory = start(namespace, ("example.com/team",))
    workload = learned(inventory, made.metadata.uid)
    pod = workload.pod
    assert pod is not None
    assert workload.missing == ("container",)  # no runtime vouches for it
    assert (pod.namespace, pod.name, pod.uid) == (namespace, "shop-5d8f-x", made.metadata.uid)
    assert (pod.labels, pod.annotations) == ({"app": "shop"}, {"example.com/team": "a"})
    assert (pod.service_account, pod.ip, inventory.node) == ("default", "10.1.2.3", namespace)
    assert [(each.kind, each.name) for each in pod.owners] == [("ReplicaSet", "shop-5d8f"), ("Deployment", "shop")]


@pytest.mark.parametrize("kinds", [("CronJob", "Job"), ("StatefulSet",), ("DaemonSet",)], ids="-".join)
def test_the_owner_is_what_people_made(api: ApiClient, namespace: str, start: Start, kinds: tuple[str, ...]) -> None:
    owner = None
    for kind in kinds:
        owner = create_workload(api, kind, namespace, f"nightly-{kind.lower()}", owner=owner)
    made = create_pod(api, namespace, "pod", node=namespace, owner=owner)
    pod = learned(start(namespace), made.metadata.uid).pod
    assert pod is not None
    assert [each.kind for each in pod.owners] == [*reversed(kinds)]
    assert pod.owners[-1].name == f"nightly-{kinds[0].lower()}"


def test_an_owner_of_another_name_and_time_is_not_taken_for_the_pods(
    api: ApiClient, namespace: str, start: Start
) -> None:
    """A reference may name an object that was deleted and made anew."""
    create_workload(api, "Deployment", namespace, "web")
    again = create_workload(
        api, "ReplicaSet", namespace, "web-1", owner=create_workload(api, "Deployment", namespace, "b")
    )
    made = create_pod(
        api, namespace, "pod", node=namespace, owner=type(again)("apps/v1", "ReplicaSet", "web-1", "gone")
    )
    pod = learned(start(namespace), made.metadata.uid).pod
    assert pod is not None
    assert pod.owners == (Owner("ReplicaSet", "web-1", "gone", "apps"),)


def test_what_happens_later_is_followed(api: ApiClient, namespace: str, start: Start) -> None:
    inventory = start(namespace)
    made = create_pod(api, namespace, "web", node=namespace, labels={"v": "1"})
    learned(inventory, made.metadata.uid)
    CoreV1Api(api).patch_namespaced_pod("web", namespace, {"metadata": {"labels": {"v": "2"}}})
    workload = learned(inventory, made.metadata.uid, lambda known: known.pod and known.pod.labels == {"v": "2"})
    delete_pod(api, made)
    # its last events may still come
    assert inventory.workload(ContainerId("0" * 64, "containerd", made.metadata.uid)) == workload


def test_pods_of_other_nodes_are_not_asked_for(api: ApiClient, namespace: str, start: Start) -> None:
    there = create_pod(api, namespace, "there", node=f"{namespace}-far")
    here = create_pod(api, namespace, "here", node=namespace)
    inventory = start(namespace)
    learned(inventory, here.metadata.uid)
    assert inventory.workload(ContainerId("1" * 64, "containerd", there.metadata.uid)).pod is None


def test_a_static_pod_is_found_by_what_its_cgroup_is_named_by(api: ApiClient, namespace: str, start: Start) -> None:
    hash_ = "9f0d4ab75fd4dd0cf5a0a31cd8b5b1a0"
    made = create_pod(
        api,
        namespace,
        "etcd-node",
        node=namespace,
        annotations={"kubernetes.io/config.hash": hash_, "kubernetes.io/config.mirror": hash_},
    )
    pod = learned(start(namespace), hash_).pod
    assert pod is not None
    assert (pod.name, pod.uid) == ("etcd-node", made.metadata.uid)


def test_an_outage_leaves_what_is_known_and_ends_by_itself(
    api: ApiClient, namespace: str, start: Start, control_plane: ControlPlane
) -> None:
    made = create_pod(api, namespace, "web", node=namespace)
    inventory = start(namespace)
    known = learned(inventory, made.metadata.uid)
    control_plane.stop()
    try:
        until(inventory.current_warnings, "warning")
        inventory.take_news()  # that all pods are told comes after the pods
        new = ContainerId("1" * 64, "containerd", "5e41dc6b-08a8-44db-bc2a-3724b18ab19a")
        assert inventory.workload(ContainerId("0" * 64, "containerd", made.metadata.uid)) == known
        # nobody waits for what can't be told now
        assert (inventory.is_settled(new), inventory.workload(new).missing) == (True, ("container", "pod"))
    finally:
        control_plane.start()
    later = create_pod(api, namespace, "later", node=namespace)
    learned(inventory, later.metadata.uid)
    assert inventory.current_warnings() == []


def test_a_server_that_was_never_there_costs_a_wait_and_no_more(
    tmp_path: Path, start: Start, agent_kubeconfig: Path
) -> None:
    settings = yaml.safe_load(agent_kubeconfig.read_text())
    settings["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    nowhere = tmp_path / "kubeconfig"
    nowhere.write_text(yaml.safe_dump(settings))
    inventory = start("node", kubeconfig=nowhere)
    until(inventory.current_warnings, "warning")
    assert not inventory.is_settled(ContainerId("0" * 64, "containerd", "5e41dc6b-08a8-44db-bc2a-3724b18ab19a"))
    assert inventory.is_settled(ContainerId("0" * 64, "docker"))


def test_namespaces_and_the_node_are_watched_once_rules_ask(api: ApiClient, namespace: str, start: Start) -> None:
    create_node(api, namespace, {"pool": "gpu"})
    CoreV1Api(api).patch_namespace(namespace, {"metadata": {"labels": {"team": "a"}}})
    made = create_pod(api, namespace, "web", node=namespace)
    inventory = start(namespace)
    assert learned(inventory, made.metadata.uid).namespace is None
    inventory.ask_for({"k8s.ns.label.team", "k8s.node.label.pool"})
    workload = learned(inventory, made.metadata.uid, lambda workload: workload.namespace)
    assert workload.namespace is not None
    assert workload.namespace.labels["team"] == "a"
    learned(inventory, made.metadata.uid, lambda _found: inventory.node_labels())
    assert inventory.node_labels() == {"pool": "gpu"}
    CoreV1Api(api).patch_namespace(namespace, {"metadata": {"labels": {"team": "b"}}})
    learned(inventory, made.metadata.uid, lambda known: known.namespace and known.namespace.labels["team"] == "b")


def test_five_hundred_pods_at_once(api: ApiClient, namespace: str, start: Start) -> None:
    inventory = start(namespace)
    owner = create_workload(api, "ReplicaSet", namespace, "many")
    made = [create_pod(api, namespace, f"many-{number}", node=namespace, owner=owner) for number in range(500)]
    for pod in made:
        known = learned(inventory, pod.metadata.uid).pod
        assert known is not None
        assert known.name == pod.metadata.name


def test_annotations_as_large_as_they_may_be(api: ApiClient, namespace: str, start: Start) -> None:
    large = {"large": "x" * 200_000, "example.com/team": "y" * 50_000}
    made = create_pod(api, namespace, "web", node=namespace, annotations=large)
    pod = learned(start(namespace, ("example.com/team",)), made.metadata.uid).pod
    assert pod is not None
    assert pod.annotations == {"example.com/team": "y" * 4096}


def test_without_the_right_to_list_pods_it_says_so(control_plane: ControlPlane, start: Start) -> None:
    inventory = start("node", kubeconfig=control_plane.kubeconfig_for("nobody"))
    until(inventory.current_warnings, "warning")
    assert inventory.current_warnings()[0].kind is WarningKind.KUBERNETES_FAILS
    assert "403 pods is forbidden" in inventory.current_warnings()[0].detail


def test_in_a_pod_the_service_account_is_the_way_and_its_token_may_change(
    api: ApiClient,
    namespace: str,
    agent_kubeconfig: Path,
    control_plane: ControlPlane,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tiercel_agent.workloads.cluster.api.SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(control_plane.port))
    (tmp_path / "ca.crt").write_text(Path(control_plane.ca_file).read_text())
    (tmp_path / "token").write_text("expired\n")
    made = create_pod(api, namespace, "web", node=namespace)
    inventory = Inventory(None, partial(Cluster, None, namespace, ()), patience=DEADLINE)
    try:
        until(inventory.current_warnings, "warning")
        assert "401" in inventory.current_warnings()[0].detail
        (tmp_path / "token").write_text(f"{control_plane.token('agent')}\n")
        learned(inventory, made.metadata.uid)
    finally:
        inventory.close()


def test_no_way_to_the_api_is_an_error_that_says_why(tmp_path: Path) -> None:
    with pytest.raises(NoCluster, match="no way to the Kubernetes API: "):
        Cluster(tmp_path / "missing", "node", (), print)
    (tmp_path / "kubeconfig").write_text("clusters: 3")
    with pytest.raises(NoCluster, match="no way to the Kubernetes API: "):
        Cluster(tmp_path / "kubeconfig", "node", (), print)
