"""Alerts as Events in a real API server, written with no more rights than an agent gets, and seen by kubectl."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cluster_support.control_plane import ControlPlane
from cluster_support.objects import create_node, create_pod, create_workload
from kubernetes.client import ApiClient

from tiercel_agent.sinks.kubernetes_events.events import EventWriter
from tiercel_agent.workloads.cluster.api import connect
from tiercel_engine.alert import Alert
from tiercel_engine.priority import Priority

Kubectl = Callable[..., str]


def alert(rule: str, pod: Any = None, output: str = "o") -> Alert:
    fields: dict[str, Any] = {}
    if pod is not None:
        metadata = pod.metadata
        fields = {"k8s.ns.name": metadata.namespace, "k8s.pod.name": metadata.name, "k8s.pod.uid": metadata.uid}
        fields |= {"k8s.owner.kind": "Deployment", "k8s.owner.name": "web"}
    return Alert(1_795_436_768_078_933_574, rule, Priority.CRITICAL, "syscall", "n", output, (), fields)


@pytest.fixture
def kubectl(control_plane: ControlPlane) -> Kubectl:
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl on the PATH")
    admin = control_plane.kubeconfig_for("admin")

    def run(*arguments: str, kubeconfig: Path = admin) -> str:
        command = ["kubectl", "--kubeconfig", str(kubeconfig), *arguments]
        return subprocess.run(command, check=False, capture_output=True, text=True).stdout

    return run


def test_alerts_are_seen_on_pod_and_node_with_their_count(
    api: ApiClient,
    namespace: str,
    agent_kubeconfig: Path,
    kubectl: Kubectl,
) -> None:
    create_node(api, namespace)
    create_workload(api, "Deployment", namespace, "web")
    pod = create_pod(api, namespace, "web-1", node=namespace)
    output = EventWriter(connect(agent_kubeconfig), namespace)
    output.send([alert("Shell in a pod", pod, "sh -c \x1b[31m" + "ü" * 2000)])
    output.send([alert("Shell in a pod", pod) for _ in range(40)])
    output.send([alert("Read of a secret"), alert("Read of a secret")])
    output.close()

    listed = kubectl("get", "events", "-n", namespace)
    assert "ShellInAPod" in listed
    assert r"pod/web-1   sh -c \x1b[31m" in listed
    described = kubectl("describe", "pod", "web-1", "-n", namespace)
    assert "(x41 over" in described
    assert "ShellInAPod" in described
    of_node = kubectl("get", "events", "-A", "--field-selector", f"involvedObject.name={namespace}")
    assert "ReadOfASecret" in of_node
    assert "(x2 over" in kubectl("describe", "node", namespace)


def test_an_agent_may_neither_read_nor_remove_events(agent_kubeconfig: Path, kubectl: Kubectl) -> None:
    allowed = {
        verb: kubectl("auth", "can-i", verb, "events.events.k8s.io", "-A", kubeconfig=agent_kubeconfig).strip()
        for verb in ("create", "patch", "get", "list", "watch", "update", "delete")
    }
    assert [verb for verb, answer in allowed.items() if answer == "yes"] == ["create", "patch"]
