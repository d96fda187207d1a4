"""AlertSinks: how they are checked, what becomes of their alerts, and what agents may write."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from custom_objects import condition, manifest, status
from deployment import SYSTEM, Kubectl, until

SAMPLE = Path(__file__).resolve().parents[1] / "config/samples/chat-sink.yaml"


def test_a_test_alert_arrives_and_its_time_is_told(kubectl: Kubectl, namespace: str) -> None:
    kubectl.apply(manifest("AlertSink", "events", namespace, events={}))
    kubectl("annotate", "alertsink", "events", "-n", namespace, "tiercel.dev/send-test=first")

    def result() -> dict[str, Any]:
        test: dict[str, Any] = status(kubectl, "AlertSink", "events", namespace).get("test") or {}
        return test if "milliseconds" in test else {}

    test = until(result, "test alert that has arrived")
    nodes = {each["metadata"]["name"] for each in kubectl.read("nodes")["items"]}
    assert (test["id"], test["node"] in nodes) == ("first", True)
    until(
        lambda: condition(kubectl, "Ready", "AlertSink", "events", namespace) == ("True", "Delivering"),
        "sink that is ready",
    )
    told = status(kubectl, "AlertSink", "events", namespace)
    assert (told["delivered"] > 0, told["lost"], told["type"]) == (True, 0, "events")


def test_a_sink_that_nobody_answers_says_so(kubectl: Kubectl, namespace: str) -> None:
    kubectl.apply(manifest("AlertSink", "http", namespace, http={"url": "https://nobody.invalid/"}))
    kubectl("annotate", "alertsink", "http", "-n", namespace, "tiercel.dev/send-test=first")
    until(
        lambda: condition(kubectl, "Ready", "AlertSink", "http", namespace) == ("False", "DeliveryFails"),
        "word of the failure",
    )
    # said by the process of tenants' sinks, which has found its libraries and the cluster's name server
    assert "can't be resolved" in status(kubectl, "AlertSink", "http", namespace)["lastError"]["message"]


def test_a_tenants_sink_reaches_no_node_and_no_pod(kubectl: Kubectl, namespace: str, runs_local: bool) -> None:
    if runs_local:
        pytest.skip("a local agent isn't told of pods")
    pods = kubectl.read("pods", "-n", SYSTEM, "-l", "app.kubernetes.io/component=operator")["items"]
    addresses = {"pod": pods[0]["status"]["podIP"], "node": pods[0]["status"]["hostIP"]}
    for name, address in addresses.items():
        url = f"http://[{address}]:8081/" if ":" in address else f"http://{address}:8081/"
        kubectl.apply(manifest("AlertSink", name, namespace, http={"url": url}))
        kubectl("annotate", "alertsink", name, "-n", namespace, "tiercel.dev/send-test=first")

    def told() -> list[str]:
        errors = [status(kubectl, "AlertSink", name, namespace).get("lastError") or {} for name in addresses]
        return [each["message"] for each in errors] if all(errors) else []

    refused = until(told, "word of the refusals")
    assert refused[0] == refused[1]
    assert "can't reach its address" in refused[0]


def test_a_silence_ends_by_itself(kubectl: Kubectl, namespace: str) -> None:
    until_then = (datetime.now(UTC) + timedelta(seconds=20)).strftime("%Y-%m-%dT%H:%M:%SZ")
    silence = {"matcher": {"rules": ["*"]}, "until": until_then, "owner": "the tests", "reason": "to see its end"}
    kubectl.apply(manifest("AlertSink", "quiet", namespace, events={}, silences=[silence]))
    until(
        lambda: condition(kubectl, "Silenced", "AlertSink", "quiet", namespace) == ("True", "SilenceInForce"), "silence"
    )
    until(
        lambda: condition(kubectl, "Silenced", "AlertSink", "quiet", namespace) == ("False", "NoSilence"),
        "end of the silence",
    )
    (told,) = status(kubectl, "AlertSink", "quiet", namespace)["silences"]
    assert (told["owner"], told["active"]) == ("the tests", False)


def test_a_sink_waits_for_its_secret(kubectl: Kubectl, namespace: str) -> None:
    """The sample of a tenant's sink, in which each object names its namespace."""
    sink, *secret_and_rights = yaml.safe_load_all(SAMPLE.read_text())

    def apply(body: dict[str, Any]) -> None:
        body["metadata"]["namespace"] = namespace
        kubectl.apply(yaml.safe_dump(body))

    def is_valid() -> tuple[str, ...]:
        return condition(kubectl, "Valid", "AlertSink", "chat", namespace)

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
