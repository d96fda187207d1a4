"""What a real API server makes of the custom resources, and kubectl of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_support.control_plane import ControlPlane
from kubernetes.client import ApiClient, ApiextensionsV1Api, CustomObjectsApi, VersionApi

from tiercel_engine.api_group import API_GROUP, API_VERSION, VERSION
from tiercel_engine.resources import (
    RESOURCES,
    AlertSinkStatus,
    Condition,
    ConditionStatus,
    NodeAgentStatus,
    SecurityRuleStatus,
    to_json,
)
from tiercel_engine.resources.crd import file_name
from tiercel_engine.resources.node_agent import LossCause, LossOfCause, Lost, NodeWarning, WarningKind
from tiercel_engine.resources.security_rule import Summary
from tiercel_engine.rules.documents.files import read_rules
from tiercel_engine.rules.documents.manifest import manifest_name, to_manifest

HERE = Path(__file__).parents[2]
STOCK = HERE.parent / "shared/falco-rules"
READY = (Condition("Ready", ConditionStatus.TRUE, "Known", "It is so.", "2026-11-25T00:00:00Z"),)
Kubectl = Callable[..., subprocess.CompletedProcess[str]]

RULE = """
apiVersion: tiercel.dev/v1alpha1
kind: SecurityRule
metadata: {name: shell-in-container}
spec:
  selector:
    pods: {matchLabels: {app: web}, matchExpressions: [{key: tier, operator: NotIn, values: [db]}]}
    nodes: {matchNames: [node-1]}
  rules:
  - list: linux_shells
    items: [bash, zsh, ksh, sh, csh, 7]
  - macro: container
    condition: container.id != host
  - rule: Shell spawned in a container
    desc: Detects when a shell is spawned in a container.
    condition: container and evt.type in (execve, execveat) and proc.name in (linux_shells)
    output: "Shell spawned (user=%user.name %container.id command=%proc.cmdline)"
    priority: WARNING
    tags: [container]
    skip-if-unknown-filter: true
    exceptions:
    - {name: known, fields: [proc.name, proc.pname], comps: ["=", in], values: [[sh, [make, 1]]]}
  tests:
  - name: a shell
    event: {evt.type: execve, proc.name: sh, container.id: 3f29aa01c8d7, proc.pid: 3, "proc.aname[1]": x, ok: true}
    expect: [Shell spawned in a container]
  - name: no shell
    event: {evt.type: execve, proc.name: ls, container.id: 3f29aa01c8d7}
    expect: []
"""
SINK = """
apiVersion: tiercel.dev/v1alpha1
kind: AlertSink
metadata: {name: chat}
spec:
  http: {urlFrom: {secretRef: {name: hook, key: url}}, headers: [{name: X-Team, value: a}]}
  match: {minimumPriority: Warning, rules: [Shell*]}
"""


@pytest.fixture(scope="module")
def kubectl(control_plane: ControlPlane) -> Iterator[Kubectl]:
    """Runs kubectl as the admin of a server that has the custom resources. None of these are left to other tests."""
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("no kubectl on the PATH")
    control_plane.start()
    command = (program, "--kubeconfig", control_plane.kubeconfig_for("admin"))

    def run(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *arguments], input=text, text=True, capture_output=True, timeout=60, check=False
        )

    files = ",".join(str(HERE / "crds" / file_name(kind)) for kind in RESOURCES)
    applied = run("apply", "--validate=false", "-f", files)  # older servers don't know rules in CEL
    assert applied.returncode == 0, applied.stderr
    deadline = time.monotonic() + 60
    while not all(run("get", resource.plural, "-A").returncode == 0 for resource in RESOURCES.values()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield run
    deleted = run("delete", ",".join(resource.plural for resource in RESOURCES.values()), "-A", "--all", "--wait=false")
    assert deleted.returncode == 0, deleted.stderr


def apply(kubectl: Kubectl, namespace: str, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    return kubectl("apply", "--validate=false", "-n", namespace, *options, "-f", "-", text=text)


def stored(kubectl: Kubectl, namespace: str, kind: str, name: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(kubectl("get", kind, name, "-n", namespace, "-o", "json").stdout)
    return body


def tell(api: ApiClient, kind: str, namespace: str, name: str, status: object) -> None:
    """The status as the operator or an agent would write it."""
    objects, body = CustomObjectsApi(api), {"status": to_json(status)}
    plural = RESOURCES[kind].plural
    if RESOURCES[kind].namespaced:
        objects.patch_namespaced_custom_object_status(API_GROUP, VERSION, namespace, plural, name, body)
    else:
        objects.patch_cluster_custom_object_status(API_GROUP, VERSION, plural, name, body)


def table(kubectl: Kubectl, *arguments: str) -> list[list[str]]:
    return [line.split() for line in kubectl("get", *arguments).stdout.splitlines()]


def test_the_server_has_nothing_against_the_definitions(kubectl: Kubectl, api: ApiClient) -> None:
    for resource in RESOURCES.values():
        definition = ApiextensionsV1Api(api).read_custom_resource_definition(f"{resource.plural}.{API_GROUP}")
        told = {condition.type: condition.status for condition in definition.status.conditions}
        assert told == {"NamesAccepted": "True", "Established": "True"}


@pytest.mark.parametrize("text", [RULE, SINK], ids=["SecurityRule", "AlertSink"])
def test_what_is_stored_is_what_was_applied(kubectl: Kubectl, namespace: str, text: str) -> None:
    given = yaml.safe_load(text)
    tried = apply(kubectl, namespace, text, "--dry-run=server", "-o", "json")
    assert tried.returncode == 0, tried.stderr
    assert json.loads(tried.stdout)["spec"] == given["spec"]
    assert apply(kubectl, namespace, text).returncode == 0
    kept = stored(kubectl, namespace, given["kind"], given["metadata"]["name"])
    assert kept["spec"] == given["spec"]
    assert kept["metadata"]["generation"] == 1
    assert "unchanged" in apply(kubectl, namespace, text).stdout


def test_server_side_apply_finds_no_change(kubectl: Kubectl, namespace: str) -> None:
    versions = set()
    for _ in range(2):
        applied = apply(kubectl, namespace, RULE, "--server-side")
        assert applied.returncode == 0, applied.stderr
        versions.add(stored(kubectl, namespace, "srule", "shell-in-container")["metadata"]["resourceVersion"])
    assert len(versions) == 1


@pytest.mark.parametrize(
    "path", [HERE / "config/rules", *(STOCK / f"falco{part}_rules.yaml" for part in ("", "-incubating", "-sandbox"))]
)
def test_rules_files_become_resources(kubectl: Kubectl, namespace: str, path: Path) -> None:
    files, _ = read_rules([path] if path.exists() else [])
    if not files:
        pytest.skip("no copy of the stock rules beside the checkout, in shared/falco-rules")
    for file in files:
        name = manifest_name(file.name)
        made = to_manifest(file, name, namespace)
        created = kubectl("create", "--validate=false", "-f", "-", text=made)
        assert created.returncode == 0, created.stderr
        assert stored(kubectl, namespace, "securityrule", name)["spec"] == yaml.safe_load(made)["spec"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"rules": {"rule": "x"}}, 'spec.rules in body must be of type array: "object"'),
        ({"rules": [{"rule": "x", "tags": "a"}]}, "tags in body must be of type array"),
        ({"rules": [{"list": "x", "items": [True]}]}, "items in body must be of type integer,string"),
        ({"rules": [{"rule": "x" * 513}]}, "spec.rules"),
        ({"rules": None}, "spec.rules"),
        ({"selector": {"host": "yes"}}, "spec.selector.host in body must be of type boolean"),
        ({"selector": {"pods": {"matchExpressions": [{"key": "a", "operator": "is"}]}}}, "supported values"),
        ({"suspend": "true"}, "spec.suspend in body must be of type boolean"),
        ({"tests": [{"name": "x", "event": {}}, {"name": "x", "event": {}}]}, "Duplicate value"),
        ({"tests": [{"event": {}}]}, "spec.tests"),
    ],
)
def test_a_mistake_is_refused(kubectl: Kubectl, namespace: str, change: Mapping[str, Any], told: str) -> None:
    wrong = yaml.safe_load(RULE)
    wrong["spec"] |= change
    for options in ([], ["--dry-run=server"]):
        refused = apply(kubectl, namespace, yaml.safe_dump(wrong), *options)
        assert refused.returncode == 1
        assert told in refused.stderr


def test_what_the_schema_does_not_know_is_kept_where_leaving_it_out_would_watch_more(
    kubectl: Kubectl, namespace: str
) -> None:
    """The operator refuses it there; elsewhere newer versions of kubectl do by themselves."""
    wrong = yaml.safe_load(RULE)
    wrong["spec"]["selector"] |= {"namespace": {}}
    wrong["spec"] |= {"seletor": {}}
    assert apply(kubectl, namespace, yaml.safe_dump(wrong)).returncode == 0
    kept = stored(kubectl, namespace, "srule", "shell-in-container")["spec"]
    assert kept["selector"] == wrong["spec"]["selector"]
    assert "seletor" not in kept


def test_columns_of_security_rules(kubectl: Kubectl, api: ApiClient, namespace: str) -> None:
    assert apply(kubectl, namespace, RULE).returncode == 0
    header, row = table(kubectl, "srule", "-n", namespace)
    assert header == "NAME RULES READY NODES ALERTS LAST ALERT AGE".split()
    assert row[0] == "shell-in-container"
    status = SecurityRuleStatus(
        conditions=READY, summary=Summary("2/3", "3/5"), alerts=41, last_alert="2020-01-01T00:00:00Z"
    )
    tell(api, "SecurityRule", namespace, row[0], status)
    _, row = table(kubectl, "security", "-n", namespace)
    assert row[0].endswith("shell-in-container")
    assert row[1:5] == ["2/3", "True", "3/5", "41"]
    assert stored(kubectl, namespace, "srule", "shell-in-container")["metadata"]["generation"] == 1


def test_columns_of_alert_sinks(kubectl: Kubectl, api: ApiClient, namespace: str) -> None:
    assert apply(kubectl, namespace, SINK).returncode == 0
    tell(api, "AlertSink", namespace, "chat", AlertSinkStatus(conditions=READY, type="http", delivered=7, lost=0))
    header, row = table(kubectl, "alertsinks", "-n", namespace)
    assert header == "NAME TYPE READY DELIVERED LOST AGE".split()
    assert row[:5] == ["chat", "http", "True", "7", "0"]


def test_columns_of_node_agents(kubectl: Kubectl, api: ApiClient, namespace: str) -> None:
    made = yaml.safe_dump({"apiVersion": API_VERSION, "kind": "NodeAgent", "metadata": {"name": namespace}})
    assert apply(kubectl, "default", made).returncode == 0
    lost = Lost(4, (LossOfCause(LossCause.RATE_LIMIT, 3, "shop/Bob's"), LossOfCause(LossCause.CALL_BUFFER_FULL, 1)))
    warnings = (NodeWarning(WarningKind.TOO_MANY_RULES, "too many", ("shop/Bob's",)),)
    status = NodeAgentStatus(conditions=READY, kernel="6.18.5", rules=90, bundle="0f3a9c", lost=lost, warnings=warnings)
    tell(api, "NodeAgent", "", namespace, status)
    header, row = table(kubectl, "nodeagents", namespace)
    assert header == "NAME READY KERNEL RULES BUNDLE LOST AGE".split()
    assert row[:6] == [namespace, "True", "6.18.5", "90", "0f3a9c", "4"]
    assert stored(kubectl, "default", "nodeagent", namespace)["status"] == to_json(status)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("http: {method: post}", "spec.http.method"),
        ("syslog: {address: 'logs.example:514'}", "spec.syslog.address"),
        ("file: {path: alerts.log}", "spec.file.path"),
        ("{stdout: {}, match: {minimumPriority: warn}}", "supported values"),
        ("{stdout: {}, throttle: {window: soon}}", "spec.throttle.window"),
        (
            "{stdout: {}, silences: [{matcher: {}, until: x, owner: a, reason: b}]}",
            "spec.silences",
        ),
        ("program: {command: mailx -s alert}", "spec.program.command in body must be of type array"),
        ("slack: {tokenFrom: xoxb-1, channel: a}", "spec.slack.tokenFrom in body must be of type object"),
    ],
)
def test_a_mistake_in_a_sink_is_refused(kubectl: Kubectl, namespace: str, spec: str, told: str) -> None:
    wrong = yaml.safe_load(SINK) | {"spec": yaml.safe_load(spec)}
    refused = apply(kubectl, namespace, yaml.safe_dump(wrong))
    assert refused.returncode == 1
    assert told in refused.stderr


@pytest.mark.parametrize(
    ("kind", "change", "told"),
    [
        ("SecurityRule", "rules: [{rule: x, macro: y}]", "an item has exactly one of"),
        ("SecurityRule", "rules: [{condition: evt.type = open}]", "an item has exactly one of"),
        ("SecurityRule", "selector: {pods: {matchExpressions: [{key: a, operator: In}]}}", "In and NotIn need values"),
        (
            "SecurityRule",
            "selector: {nodes: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}",
            "take none",
        ),
        ("AlertSink", "stdout: {}", "exactly one destination"),
        ("AlertSink", "http: null", "exactly one destination"),
        ("AlertSink", "http: {}", "either url or urlFrom"),
        ("AlertSink", "http: {url: 'https://x', tls: {keyFrom: {secretRef: {name: a, key: b}}}}", "given together"),
        ("AlertSink", "format: template", "a template is given if"),
        ("AlertSink", "template: '%rule'", "a template is given if"),
    ],
)
def test_rules_in_cel_say_what_is_wrong(
    kubectl: Kubectl, api: ApiClient, namespace: str, kind: str, change: str, told: str
) -> None:
    version = VersionApi(api).get_code()
    if (int(version.major), int(version.minor.rstrip("+"))) < (1, 25):
        pytest.skip(f"Kubernetes {version.git_version} knows no CEL: 1.25 or newer does")
    wrong = yaml.safe_load(RULE if kind == "SecurityRule" else SINK)
    spec = wrong["spec"] | yaml.safe_load(change)
    wrong["spec"] = {key: value for key, value in spec.items() if value is not None}
    refused = apply(kubectl, namespace, yaml.safe_dump(wrong), "--dry-run=server")
    assert refused.returncode == 1
    assert told in refused.stderr
