"""What an agent's own token can be used for: somebody who has taken over one node has it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from deployment import SYSTEM, Kubectl, until

from tiercel_engine.api_group import API_VERSION

OF_AGENTS = "app.kubernetes.io/name=tiercel,app.kubernetes.io/component=agent"
POLICIES = ("tiercel-agents-own-status", "tiercel-agents-own-events")


@dataclass(frozen=True)
class Thief:
    """Uses the token of the agent on ``node``."""

    kubectl: Kubectl
    node: str

    def creates(self, body: dict[str, Any]) -> str:
        """Why it can't; "" if it can. Nothing is stored."""
        options = ("--validate=false", "--dry-run=server", "-f", "-")
        done = self.kubectl("create", *options, text=yaml.safe_dump(body), check=False)
        return "" if done.returncode == 0 else done.stderr

    def patches(self, *what: str) -> str:
        done = self.kubectl("patch", *what, "--type=merge", "--dry-run=server", check=False)
        return "" if done.returncode == 0 else done.stderr


@pytest.fixture
def thief(kubectl: Kubectl, runs_local: bool, tmp_path: Path) -> Thief:
    version = yaml.safe_load(kubectl("version", "-o", "json").stdout)["serverVersion"]
    if (int(version["major"]), int(version["minor"].rstrip("+"))) < (1, 30):
        pytest.skip(f"Kubernetes {version['gitVersion']} has no policies for agents: 1.30 or newer has")
    if runs_local:
        pytest.skip("a local agent has no token of a pod")
    for name in POLICIES:
        until(lambda name=name: kubectl.read("validatingadmissionpolicybinding", name), f"policy {name}")
    pod = kubectl.read("pods", "-n", SYSTEM, "-l", OF_AGENTS)["items"][0]
    bound = ("--bound-object-kind", "Pod", "--bound-object-name", pod["metadata"]["name"])
    token = kubectl("create", "token", "tiercel-agent", "-n", SYSTEM, *bound).stdout.strip()
    config = json.loads(kubectl("config", "view", "--raw", "--minify", "-o", "json").stdout)
    for user in config["users"]:
        user["user"] = {"token": token}
    path = tmp_path / "thief.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return Thief(Kubectl(path), pod["spec"]["nodeName"])


def test_it_reports_for_its_own_node_alone(thief: Thief, kubectl: Kubectl) -> None:
    def node_agent(name: str) -> dict[str, Any]:
        return {"apiVersion": API_VERSION, "kind": "NodeAgent", "metadata": {"name": name}}

    assert "its own node alone" in thief.creates(node_agent("another-node"))
    status = ("--subresource=status", "-p", '{"status": {"warnings": []}}')
    assert thief.patches("nodeagent", thief.node, *status) == ""
    others = [each["metadata"]["name"] for each in kubectl.read("nodeagents")["items"]]
    for name in others:
        refused = thief.patches("nodeagent", name, *status)
        assert ("its own node alone" in refused) == (name != thief.node)


def test_it_writes_events_in_its_own_nodes_name_alone(thief: Thief, namespace: str) -> None:
    def event(controller: str, instance: str) -> dict[str, Any]:
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": "forged", "namespace": namespace},
            "eventTime": "2026-11-25T01:02:03.000000Z",
            "type": "Warning",
            "reason": "Forged",
            "action": "Detected",
            "note": "forged",
            "regarding": {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": "web", "uid": "u"},
            "reportingController": controller,
            "reportingInstance": instance,
        }

    assert thief.creates(event("tiercel.dev/agent", thief.node)) == ""
    for controller, instance in (("tiercel.dev/agent", "another-node"), ("kubelet", thief.node)):
        assert "in its own node's name alone" in thief.creates(event(controller, instance))


@pytest.mark.parametrize(
    "question",
    [
        ("get", "secrets", "-n", SYSTEM),
        ("list", "secrets", "-A"),
        ("create", "pods", "-n", SYSTEM),
        ("delete", "nodeagents"),
        ("delete", "events.events.k8s.io", "-A"),
        ("get", "nodes", "--subresource=proxy"),
        ("create", "serviceaccounts", "--subresource=token", "-n", SYSTEM),
    ],
    ids=" ".join,
)
def test_it_has_no_right_to(thief: Thief, question: tuple[str, ...]) -> None:
    assert thief.kubectl("auth", "can-i", *question, check=False).stdout.strip() == "no"
