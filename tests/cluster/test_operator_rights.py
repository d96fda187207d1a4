"""The operator with all that it does in a cluster, and no more rights than config/rbac gives it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import urllib.request
from base64 import b64decode
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.error import URLError

import pytest
import yaml
from cluster_support.control_plane import ControlPlane, free_ports
from cluster_support.custom_resources import SYSTEM, rule, unless_there
from cluster_support.objects import create_node, create_pod
from cluster_support.operator_process import Cluster
from cluster_support.waiting import until
from kubernetes.client import ApiClient, ApiException, AppsV1Api, CoreV1Api
from kubernetes.utils import create_from_dict

from tiercel_engine.resources.sink_config import read_sinks
from tiercel_operator.agents.metadata import AGENT_LABELS

CONFIG = Path(__file__).parents[2] / "config"
API_ADDRESS = "192.0.2.10"


@pytest.fixture
def rights(custom_resources: None, api: ApiClient) -> None:
    # A server that listens on loopback doesn't tell of itself.
    subsets = [{"addresses": [{"ip": API_ADDRESS}], "ports": [{"port": 6443}]}]
    body = {"metadata": {"name": "kubernetes"}, "subsets": subsets}
    unless_there(lambda: CoreV1Api(api).create_namespaced_endpoints("default", body))
    for path in (CONFIG / "rbac/service-accounts.yaml", CONFIG / "rbac/operator.yaml"):
        for body in yaml.safe_load_all(path.read_text()):
            body["metadata"].setdefault("namespace", SYSTEM)
            try:
                create_from_dict(api, body)
            except Exception as error:
                if "AlreadyExists" not in str(error):
                    raise


@pytest.fixture
def operator(
    rights: None, control_plane: ControlPlane, tmp_path: Path
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port, health = free_ports(2)
    log = (tmp_path / "operator.log").open("wb")
    command = [str(Path(sys.executable).with_name("tiercel")), "operator", "--health-port", str(health)]
    command += ["--kubeconfig", str(control_plane.kubeconfig_for("operator"))]
    command += ["--webhook-port", str(port), "--webhook-url", f"https://127.0.0.1:{port}/validate"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as process:
        yield process, health
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    print((tmp_path / "operator.log").read_text()[-4000:])


@pytest.fixture
def cluster(api: ApiClient, kubeconfig: Path, tmp_path: Path) -> Cluster:
    return Cluster(api, kubeconfig, tmp_path)


def test_it_does_its_work_with_the_rights_that_it_has(
    operator: tuple[subprocess.Popen[bytes], int], cluster: Cluster, namespace: str, api: ApiClient
) -> None:
    cluster.apply("good", namespace, rule("Good"))
    cluster.settled("good", namespace, "Valid", "Loaded")
    assert cluster.conditions("good", namespace)["Checked"] == ("True", "Checked")
    until(lambda: f"{namespace}/good" in cluster.bundle()[1], "bundle")
    agents = until(lambda: list(AppsV1Api(api).list_namespaced_daemon_set(SYSTEM).items), "DaemonSet of the agents")
    (container,) = agents[0].spec.template.spec.containers
    assert not container.security_context.privileged
    certificates = until(lambda: CoreV1Api(api).read_namespaced_secret("tiercel-webhook", SYSTEM).data, "certificates")
    assert {"ca.crt", "tls.crt", "tls.key"} <= set(certificates)

    def addresses() -> set[str]:
        """What tenants' sinks can't reach, as agents get it."""
        content = CoreV1Api(api).read_namespaced_secret("tiercel-sinks", SYSTEM).data["sinks.json"]
        return set(read_sinks(b64decode(content)).cluster_addresses)

    until(lambda: API_ADDRESS in addresses(), "addresses of the API server")

    def refusal() -> str:
        try:
            cluster.apply("bad", namespace, rule("Bad", "proc.nmae = x"))
        except ApiException as error:
            return str(error.body)
        cluster.delete("bad", namespace)  # it wasn't asked yet
        return ""

    told = until(refusal, "refusal")
    assert "rule Bad: there is no field proc.nmae (did you mean proc.name?)" in told
    assert "^~~~~~~~~" in told
    _, health = operator

    def answer(path: str) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{health}{path}") as response:
                return str(response.read().decode())
        except URLError:
            return ""  # it serves a moment after it has begun to work

    assert until(lambda: answer("/healthz"), "health") == "ok\n"
    assert "tiercel_operator_leads 1.0\n" in answer("/metrics")
    cluster.delete("good", namespace)


def test_what_others_change_of_the_agents_is_put_right(
    operator: tuple[subprocess.Popen[bytes], int], api: ApiClient
) -> None:
    apps = AppsV1Api(api)
    agents = until(lambda: apps.list_namespaced_daemon_set(SYSTEM).items, "DaemonSet of the agents")[0]
    name = agents.metadata.name
    apps.delete_namespaced_daemon_set(name, SYSTEM)
    until(partial(_is_there, apps, name), "DaemonSet once more")


def _is_there(apps: AppsV1Api, name: str) -> bool:
    return any(each.metadata.name == name for each in apps.list_namespaced_daemon_set(SYSTEM).items)


def test_a_secret_that_nobody_allows_it_to_read_is_asked_for(
    operator: tuple[subprocess.Popen[bytes], int], cluster: Cluster, namespace: str, api: ApiClient
) -> None:
    CoreV1Api(api).create_namespaced_secret(namespace, {"metadata": {"name": "chat"}, "stringData": {"url": "x"}})
    cluster.apply_sink("chat", namespace, slack={"urlFrom": {"secretRef": {"name": "chat", "key": "url"}}})
    until(lambda: cluster.sink_reason("chat", namespace) == "SecretNotReadable", "word of the right that lacks")
    assert f"{namespace}/chat" not in cluster.secrets_of_sinks()


def test_an_agent_that_no_longer_answers_is_told_as_an_event_on_its_node(
    operator: tuple[subprocess.Popen[bytes], int], api: ApiClient, namespace: str
) -> None:
    """The pod's status is what the kubelet writes when the agent's readiness probe fails."""
    core = CoreV1Api(api)
    node = namespace  # a name of this test's own
    create_node(api, node)
    pod = create_pod(api, SYSTEM, f"agent-{node}", node=node, labels=AGENT_LABELS)

    def answers(ready: bool) -> None:
        condition = {"type": "Ready", "status": str(ready)}
        core.patch_namespaced_pod_status(pod.metadata.name, SYSTEM, {"status": {"conditions": [condition]}})

    def reasons() -> set[str]:
        events = core.list_namespaced_event("default", field_selector=f"involvedObject.name={node}").items
        assert all(each.involved_object.kind == "Node" for each in events)
        return {each.reason for each in events}

    def silent() -> bool:
        """The operator may not have seen the agent answer: then it begins anew."""
        answers(True)
        time.sleep(0.2)
        answers(False)
        time.sleep(0.2)
        return "AgentSilent" in reasons()

    until(silent, "Event on the node")
    answers(True)
    until(lambda: "AgentBack" in reasons(), "Event that the agent is back")
    core.delete_namespaced_pod(pod.metadata.name, SYSTEM, grace_period_seconds=0)
