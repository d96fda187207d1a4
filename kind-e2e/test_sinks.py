"""AlertSinks, as far as they are checked, and what agents may write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from deployment import SYSTEM, Kubectl, until

SAMPLE = Path(__file__).resolve().parents[1] / "config/samples/chat-sink.yaml"


def test_a_sink_waits_for_its_secret(kubectl: Kubectl, namespace: str) -> None:
    """The sample of a tenant's sink, in which each object names its namespace."""
    sink, *secret_and_rights = yaml.safe_load_all(SAMPLE.read_text())

    def apply(body: dict[str, Any]) -> None:
        body["metadata"]["namespace"] = namespace
        kubectl.apply(yaml.safe_dump(body))

    def is_valid() -> tuple[str, str] | None:
        found = kubectl.read("alertsink", "chat", "-n", namespace)
        for condition in (found.get("status") or {}).get("conditions") or ():
            if condition["type"] == "Valid":
                return condition["status"], condition["reason"]
        return None

    apply(sink)
    told = until(is_valid, "word on the sink")
    assert told in (("False", "SecretMissing"), ("False", "SecretNotReadable"))
    for body in secret_and_rights:
        apply(body)
    until(lambda: is_valid() == ("True", "InOrder"), "sink that is in order")
    assert "of-your-own" not in kubectl("get", "alertsink", "chat", "-n", namespace, "-o", "yaml").stdout


@pytest.mark.parametrize(
    ("verb", "resource", "may"),
    [
        ("patch", "nodeagents.tiercel.dev/status", True),
        ("create", "events.events.k8s.io", True),
        ("list", "events.events.k8s.io", False),
        ("patch", "securityrules.tiercel.dev", False),
        ("get", "alertsinks.tiercel.dev", False),
        ("get", "secrets", False),
        ("create", "pods", False),
        ("get", "nodes/proxy", False),
    ],
)
def test_agents_may_write_their_status_and_events_and_read_no_secret(
    kubectl: Kubectl, runs_local: bool, verb: str, resource: str, may: bool
) -> None:
    if runs_local:
        pytest.skip("the local agent has an admin's rights")
    kind, _, part = resource.partition("/")
    options = (f"--subresource={part}",) if part else ()
    agent = f"system:serviceaccount:{SYSTEM}:tiercel-agent"
    done = kubectl("auth", "can-i", verb, kind, *options, "-A", "--as", agent, check=False)
    assert (done.stdout.strip() == "yes") is may
