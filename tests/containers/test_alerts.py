"""Real containers, watched: every alert names the container, its image, its pod and the pod's owner."""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import Any

import pytest
from cluster_support.objects import create_node, create_pod, create_workload
from container_support.machine import IMAGE
from container_support.names import unique_name
from container_support.podman import Podman
from container_support.runtime import ContainerdServer
from container_support.watching import Watch
from kubernetes.client import ApiClient, CoreV1Api

REPOSITORY, _, TAG = IMAGE.rpartition(":")
READ_SHADOW = """
- rule: shadow
  desc: a test
  condition: evt.type in (open, openat, openat2) and fd.name = /etc/shadow and proc.name = cat and container.id != host
  output: "read by %proc.cmdline"
  priority: WARNING
"""


def of_image(fields: dict[str, Any]) -> bool:
    return (fields["container.image.repository"], fields["container.image.tag"]) == (REPOSITORY, TAG)


def test_a_container_of_ctr(containerd: ContainerdServer, watch: Watch) -> None:
    watching = watch(READ_SHADOW, containerd.address)
    name = unique_name("ctr")
    watching.during(lambda: containerd.ctr_run(name, ["cat", "/etc/shadow"]))
    watching.until(lambda: watching.alerts)
    (alert,) = watching.alerts
    assert (alert.output, alert.output_fields["container.id"]) == ("read by cat /etc/shadow", name[:12])
    assert of_image(alert.output_fields)
    assert "tiercel.missing" not in alert.output_fields


def test_a_container_of_podman(podman: Podman, watch: Watch) -> None:
    with podman.service() as socket:
        watching = watch(READ_SHADOW, socket)
        for attempt in range(1, 11):  # a busy machine's service may answer later than an event waits for it
            name = unique_name("podman")
            watching.during(lambda name=name: podman.run(name, ["cat", "/etc/shadow"]))  # type: ignore[misc]
            watching.until(lambda attempt=attempt: len(watching.alerts) == attempt)  # type: ignore[misc]
            if "tiercel.missing" not in watching.alerts[-1].output_fields:
                break
    alert = watching.alerts[-1]
    assert alert.output_fields["container.name"] == name
    assert of_image(alert.output_fields)
    assert "tiercel.missing" not in alert.output_fields


def test_podman_without_its_service_is_known_by_its_cgroup(podman: Podman, watch: Watch, tmp_path: Path) -> None:
    watching = watch(READ_SHADOW, tmp_path / "podman.sock")
    watching.during(lambda: podman.run(unique_name("podman"), ["cat", "/etc/shadow"]))
    watching.until(lambda: watching.alerts)
    (alert,) = watching.alerts
    assert re.fullmatch(r"unknown:[0-9a-f]{12}", str(alert.output_fields["container.id"]))
    assert alert.output_fields["tiercel.missing"] == "container"


def test_a_pods_container_by_the_cri_alone(containerd: ContainerdServer, watch: Watch) -> None:
    watching = watch(READ_SHADOW, containerd.address)
    uid = str(uuid.uuid4())
    sandbox = containerd.run_pod("web-1", "shop", uid, labels={"app": "web"})
    container = watching.during(lambda: containerd.run_container(sandbox, "main", ["cat", "/etc/shadow"]))
    watching.until(lambda: watching.alerts)
    (alert,) = watching.alerts
    assert alert.output_fields == {
        "proc.cmdline": "cat /etc/shadow",
        "container.id": container[:12],
        "container.name": "main",
        "container.image.repository": REPOSITORY,
        "container.image.tag": TAG,
        "k8s.ns.name": "shop",
        "k8s.pod.name": "web-1",
        "k8s.pod.uid": uid,
        "k8s.pod.labels": "app:web",
    }
    containerd.remove_pod(sandbox)


def test_what_a_container_is_can_be_asked_for(containerd: ContainerdServer, watch: Watch, tmp_path: Path) -> None:
    fields = (
        "container.full_id container.type container.image container.image.id container.image.digest "
        "container.privileged container.host_pid container.host_ipc container.mounts container.mount.dest[/tmp*] "
        "container.label.io.kubernetes.container.name container.duration k8s.pod.full_sandbox_id"
    ).split()
    rule = READ_SHADOW.replace("read by", " ".join(f"%{field}" for field in fields))
    watching = watch(rule, containerd.address)
    sandbox = containerd.run_pod("web-1", "shop", privileged=True, host_pid=True)
    command = ["sh", "-c", "while ! [ -e /data/go ]; do sleep 0.01; done; while cat /etc/shadow; do sleep 0.05; done"]
    mounts = [(str(tmp_path), "/data", True)]
    container = watching.during(
        lambda: containerd.run_container(sandbox, "main", command, privileged=True, mounts=mounts)
    )
    (tmp_path / "go").touch()

    def with_duration() -> list[dict[str, Any]]:
        """Those of alerts; the runtime is asked again as long as it hasn't said when the container started."""
        fields_of = [dict(alert.output_fields) for alert in watching.alerts]
        return [found for found in fields_of if found["container.duration"] is not None]

    watching.until(with_duration)
    found = with_duration()[0]
    duration = found.pop("container.duration")
    assert isinstance(duration, int)
    assert 0 <= duration < 60_000_000_000
    digest = found.pop("container.image.digest")
    assert str(digest).startswith("sha256:")
    assert {key: found[key] for key in fields if key in found} == {
        "container.full_id": container,
        "container.type": "containerd",
        "container.image": IMAGE,
        "container.image.id": containerd.image_id.removeprefix("sha256:")[:12],
        "container.privileged": True,
        "container.host_pid": True,
        "container.host_ipc": False,
        "container.mounts": f"{tmp_path}:/data::false:private",
        "container.mount.dest[/tmp*]": "/data",
        "container.label.io.kubernetes.container.name": "main",
        "k8s.pod.full_sandbox_id": sandbox,
    }
    containerd.remove_pod(sandbox)


@pytest.fixture
def cluster_settings(api: ApiClient, namespace: str, kubeconfig: Path) -> dict[str, Any]:
    """The pods of a node of the test's own."""
    create_node(api, namespace)
    return {"kubernetes": True, "kubeconfig": kubeconfig, "node": namespace}


def test_a_short_life_in_a_container_that_is_removed_at_once(
    containerd: ContainerdServer, watch: Watch, api: ApiClient, namespace: str, cluster_settings: dict[str, Any]
) -> None:
    """A hundred times, in pods that the API server knows: nothing of any is missing."""
    rule = READ_SHADOW.replace("fd.name = /etc/shadow and proc.name = cat and", "").replace(
        "evt.type in (open, openat, openat2)", "evt.type = execve and evt.arg.filename endswith /true"
    )
    owner = create_workload(api, "CronJob", namespace, "tick")
    owner = create_workload(api, "Job", namespace, "tick-1", owner=owner)
    pod = create_pod(api, namespace, "tick-1-x", node=namespace, labels={"app": "tick"}, owner=owner)
    watching = watch(rule, containerd.address, **cluster_settings)
    sandbox = containerd.run_pod("tick-1-x", namespace, pod.metadata.uid, labels={"app": "tick"})

    def live_shortly(number: int) -> str:
        container = containerd.run_container(sandbox, f"tick{number}", ["/bin/true"])
        containerd.wait_exited(container)
        containerd.remove_container(container)
        return container[:12]

    ids = [watching.during(lambda number=number: live_shortly(number)) for number in range(100)]  # type: ignore[misc]
    watching.until(lambda: len(watching.alerts) >= 100)
    expected = {
        "container.image.repository": REPOSITORY,
        "container.image.tag": TAG,
        "k8s.ns.name": namespace,
        "k8s.pod.name": "tick-1-x",
        "k8s.pod.uid": pod.metadata.uid,
        "k8s.pod.labels": "app:tick",
        "k8s.owner.kind": "CronJob",
        "k8s.owner.name": "tick",
        "k8s.node.name": namespace,
        "proc.cmdline": "true",
    }
    assert [alert.output_fields for alert in watching.alerts] == [
        expected | {"container.id": id_, "container.name": f"tick{number}"} for number, id_ in enumerate(ids)
    ]
    containerd.remove_pod(sandbox)


SCOPED = """
apiVersion: tiercel.dev/v1alpha1
kind: SecurityRule
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selector: {selector}
  rules:
  - rule: {name}
    desc: a test
    condition: evt.type in (open, openat, openat2) and fd.name = /etc/hostname
    output: "%fd.name"
    priority: NOTICE
"""


def test_a_tenants_rule_costs_and_sees_nothing_elsewhere(containerd: ContainerdServer, watch: Watch) -> None:
    rules = [
        SCOPED.format(name="shops", namespace="shop", selector=""),
        SCOPED.format(name="shops-web", namespace="shop", selector="{pods: {matchLabels: {app: web}}}"),
        SCOPED.format(name="banks", namespace="bank", selector=""),
        SCOPED.format(name="hosts", namespace="tiercel-system", selector="{host: true}"),
    ]
    watching = watch("---".join(rules), containerd.address)
    loop = ["sh", "-c", "for i in $(seq 300); do : < /etc/hostname; done"]
    pods = []
    for namespace, app in (("shop", "web"), ("shop", "db"), ("other", "web")):
        sandbox = containerd.run_pod(unique_name("pod"), namespace, labels={"app": app})
        pods.append(sandbox)
        container = watching.during(lambda sandbox=sandbox: containerd.run_container(sandbox, "main", loop))  # type: ignore[misc]
        watching.during(lambda container=container: containerd.wait_exited(container))  # type: ignore[misc]
    watching.until(lambda: len(watching.of("shops")) >= 600)
    assert {name: len(watching.of(name)) for name in ("shops", "shops-web", "banks")} == {
        "shops": 600,
        "shops-web": 300,
        "banks": 0,
    }
    # of the pod that no rule watches hardly a call reached user space
    seen = watching.detector.counters()
    assert seen.stopped >= 250
    for sandbox in pods:
        containerd.remove_pod(sandbox)


def test_a_label_that_changes_takes_effect_on_processes_that_run(
    containerd: ContainerdServer, watch: Watch, api: ApiClient, namespace: str, cluster_settings: dict[str, Any]
) -> None:
    """The filter has learned by then that no rule can match them."""
    rules = SCOPED.format(name="audited", namespace=namespace, selector="{pods: {matchLabels: {audit: 'yes'}}}")
    pod = create_pod(api, namespace, "web", node=namespace, labels={"audit": "no"})
    watching = watch(rules, containerd.address, **cluster_settings)
    sandbox = containerd.run_pod("web", namespace, pod.metadata.uid)
    loop = ["sh", "-c", "while :; do : < /etc/hostname; done"]
    watching.during(lambda: containerd.run_container(sandbox, "main", loop))
    watching.until(lambda: watching.detector.counters().stopped > 1000)
    assert watching.alerts == []

    def label(value: str) -> None:
        CoreV1Api(api).patch_namespaced_pod("web", namespace, {"metadata": {"labels": {"audit": value}}})

    label("yes")
    watching.until(lambda: len(watching.alerts) > 10)
    label("no")
    before = [-1]

    def quiet() -> bool:
        """Nothing came although the loop went on."""
        events, stopped = watching.detector.counters().events, watching.detector.counters().stopped
        settled = before[0] == events
        before[0] = events
        return settled and stopped > 5000

    watching.until(quiet)
    containerd.remove_pod(sandbox)
