"""Alerts where people look for them: `kubectl get events`."""

from __future__ import annotations

import subprocess
from typing import Any

from custom_objects import is_ready, rule_manifest
from deployment import SYSTEM, Kubectl, until

IMAGE = "docker.io/tiercel/agent:dev"


def events_on(kubectl: Kubectl, name: str) -> list[dict[str, Any]]:
    events = kubectl.read("events.events.k8s.io", "-A", "--field-selector", "reason=SeenByTheTests")
    return [event for event in events.get("items", ()) if event["regarding"]["name"] == name]


def test_an_alert_stands_on_its_pod_or_on_the_node(kubectl: Kubectl, namespace: str, runs_local: bool) -> None:
    rule = f"events-{namespace}"
    condition = f"evt.type in (execve, execveat) and proc.args contains {namespace}"
    kubectl.apply(rule_manifest(rule, SYSTEM, condition, "Seen by the tests"))
    try:
        until(lambda: is_ready(kubectl, rule, SYSTEM), "node that runs the rule")
        if runs_local:
            subprocess.run(["true", namespace], check=True)
            name = kubectl.read("nodeagents")["items"][0]["metadata"]["name"]
        else:
            name = "alerted"
            kubectl(
                *("run", name, "-n", namespace, f"--image={IMAGE}", "--image-pull-policy=Never", "--restart=Never"),
                *("--command", "--", "true", namespace),
            )
        (event, *_) = until(lambda: events_on(kubectl, name), "Event")
        assert (event["type"], event["reportingController"]) == ("Warning", "tiercel.dev/agent")
        assert namespace in event["note"]
        if not runs_local:
            assert event["metadata"]["namespace"] == namespace
            assert "SeenByTheTests" in kubectl("describe", "pod", name, "-n", namespace).stdout
    finally:
        kubectl("delete", "securityrule", rule, "-n", SYSTEM)
