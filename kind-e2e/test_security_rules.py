"""What an admin and a tenant do with SecurityRules."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from custom_objects import is_ready, rule_manifest, status
from deployment import SYSTEM, Kubectl, until


def alerts(kubectl: Kubectl, name: str, namespace: str) -> int:
    return int(status(kubectl, "SecurityRule", name, namespace).get("alerts") or 0)


def test_a_rule_of_the_system_watches_every_node_and_counts_its_alerts(
    kubectl: Kubectl, namespace: str, runs_local: bool, tmp_path: Path
) -> None:
    name = f"all-{namespace}"
    condition = f"evt.type in (execve, execveat) and proc.args contains {namespace}"
    kubectl.apply(rule_manifest(name, SYSTEM, condition))
    try:
        until(lambda: is_ready(kubectl, name, SYSTEM), "node that runs the rule")
        if runs_local:
            subprocess.run(["true", namespace], check=True)
        else:
            image = "docker.io/tiercel/agent:dev"
            kubectl(
                *("run", "seen", "-n", namespace, f"--image={image}", "--image-pull-policy=Never", "--restart=Never"),
                *("--command", "--", "true", namespace),
            )
        until(lambda: alerts(kubectl, name, SYSTEM), "alert in the status")
        nodes = kubectl.read("nodeagents")["items"]
        assert any(each["name"] == name for node in nodes for each in node["status"].get("alerts") or ())
    finally:
        kubectl("delete", "securityrule", name, "-n", SYSTEM)


def test_a_tenants_rule_is_valid_and_ready(kubectl: Kubectl, namespace: str) -> None:
    kubectl.apply(
        rule_manifest("mine", namespace, "evt.type = execve", selector={"pods": {"matchLabels": {"app": "web"}}})
    )
    until(lambda: is_ready(kubectl, "mine", namespace), "node that runs the rule")
    printed = kubectl("get", "securityrules", "-n", namespace).stdout.splitlines()
    assert printed[0].split()[:5] == ["NAME", "RULES", "READY", "NODES", "ALERTS"]
    assert printed[1].split()[:3] == ["mine", "1/1", "True"]


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"condition": "proc.nmae = x"}, "there is no field proc.nmae (did you mean proc.name?)"),
        ({"condition": "evt.type = execve", "selector": {"host": True}}, "in the namespace tiercel-system only"),
        ({"condition": "evt.type = execve", "selector": {"pod": {}}}, "spec.selector has no 'pod'"),
        (
            {
                "condition": "evt.type = execve",
                "tests": [{"name": "never", "event": {"evt.type": "open"}, "expect": ["Seen"]}],
            },
            "never",
        ),
    ],
)
def test_a_mistake_is_refused_at_the_door(kubectl: Kubectl, namespace: str, spec: dict[str, Any], told: str) -> None:
    def refusal() -> str:
        done = kubectl.apply(rule_manifest("bad", namespace, **spec), check=False)
        if done.returncode == 0:  # the API server may not know the webhook yet
            kubectl("delete", "securityrule", "bad", "-n", namespace)
        return done.stderr if done.returncode else ""

    assert told in until(refusal, "refusal")


def test_a_dry_run_gets_the_same_answer(kubectl: Kubectl, namespace: str) -> None:
    text = rule_manifest("bad", namespace, "proc.nmae = x")
    done = kubectl("apply", "--validate=false", "--dry-run=server", "-f", "-", text=text, check=False)
    assert "there is no field proc.nmae" in done.stderr
    assert kubectl.read("securityrule", "bad", "-n", namespace) == {}


def test_every_node_reports(kubectl: Kubectl, runs_local: bool) -> None:
    def reported() -> bool:
        nodes = {each["metadata"]["name"] for each in kubectl.read("nodes")["items"]}
        reporting = {
            each["metadata"]["name"]
            for each in kubectl.read("nodeagents")["items"]
            if (each.get("status") or {}).get("bundle")
        }
        return bool(reporting) if runs_local else nodes <= reporting

    until(reported, "report of every node")
