"""The policies that hold agents to their own node. kind-e2e has them asked by a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tiercel_agent.sinks.kubernetes_events.event_object import event_object, node_reference
from tiercel_engine.alert import Alert
from tiercel_engine.priority import Priority
from tiercel_operator import main
from tiercel_operator.agents.policies import OWN_EVENTS, OWN_STATUS, agent_policies
from tiercel_operator.agents.settings import AgentSettings
from tiercel_operator.main import Settings, operate

CONFIG = Path(__file__).parents[3] / "config"
SETTINGS = AgentSettings()
OWNER = {"apiVersion": "v1", "kind": "Namespace", "name": "watch", "uid": "u"}


def policies(settings: AgentSettings = SETTINGS) -> dict[tuple[str, str], dict[str, Any]]:
    return {(each["kind"], each["metadata"]["name"]): each for each in agent_policies(settings, OWNER)}


@pytest.mark.parametrize("name", [OWN_STATUS, OWN_EVENTS])
def test_each_holds_for_the_agents_account_alone_and_denies(name: str) -> None:
    made = policies(AgentSettings(namespace="watch", name="agent"))
    policy, binding = (made[kind, name] for kind in ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"))
    (condition,) = policy["spec"]["matchConditions"]
    assert condition["expression"] == 'request.userInfo.username == "system:serviceaccount:watch:agent"'
    assert binding["spec"] == {"policyName": name, "validationActions": ["Deny"]}
    assert policy["spec"]["failurePolicy"] == "Fail"
    assert policy["metadata"]["ownerReferences"] == binding["metadata"]["ownerReferences"] == [OWNER]


def test_all_that_agents_may_write_for_other_nodes_is_held_to_their_own() -> None:
    role = next(yaml.safe_load_all((CONFIG / "rbac/agent.yaml").read_text()))
    writes = {
        (group, resource)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        if {"create", "patch", "update", "delete"} & set(rule["verbs"])
    }
    held = {
        (group, resource)
        for each in policies().values()
        if each["kind"] == "ValidatingAdmissionPolicy"
        for rule in each["spec"]["matchConstraints"]["resourceRules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert writes == held


@pytest.mark.parametrize("node", ["node-1", "n" * 253])
def test_the_events_that_agents_write_are_admitted(node: str) -> None:
    alert = Alert(1, "Read", Priority.WARNING, "syscall", "host", "read", (), {})
    event = event_object(alert, node_reference(node), node)
    (_, validation) = policies()["ValidatingAdmissionPolicy", OWN_EVENTS]["spec"]["validations"]
    assert f'object.reportingController == "{event["reportingController"]}"' in validation["expression"]
    assert event["reportingInstance"] == node[:128]
    instance = policies()["ValidatingAdmissionPolicy", OWN_EVENTS]["spec"]["variables"][1]["expression"]
    assert "substring(0, 128)" in instance


@pytest.mark.parametrize(("version", "has_them"), [((1, 29), False), ((1, 30), True), ((1, 36), True)])
def test_the_operator_keeps_them_where_the_cluster_knows_them(
    version: tuple[int, int], has_them: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Mapping[str, Any]] = []

    class Cluster:
        def __init__(self, _: object) -> None:
            pass

        def version(self) -> tuple[int, int]:
            return version

        def get(self, _version: str, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
            return {"metadata": {"name": name, "uid": "u"}} if kind == "Namespace" else None

    def runner(*arguments: Any) -> Any:
        made.extend(arguments[3](None))
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "Kube", Cluster)
    monkeypatch.setattr(main, "Runner", runner)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(operate(Settings(agents=SETTINGS)))
    kinds = [each["kind"] for each in made]
    assert kinds.count("ValidatingAdmissionPolicy") == kinds.count("ValidatingAdmissionPolicyBinding") == 2 * has_them
    assert "DaemonSet" in kinds
    owners = [each["metadata"].get("ownerReferences") for each in made if "Policy" in each["kind"]]
    assert all(owner[0]["kind"] == "Namespace" for owner in owners)
