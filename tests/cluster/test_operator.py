"""The operator as a process of its own, on a real API server: what users apply, and what becomes of it."""

from __future__ import annotations

import json
import signal

import pytest
from cluster_support.control_plane import ControlPlane
from cluster_support.custom_resources import SYSTEM, rule, security_rule
from cluster_support.objects import ask, create_node
from cluster_support.operator_process import Cluster
from cluster_support.starting_server import starting_server
from cluster_support.waiting import until
from kubernetes.client import CoreV1Api

from tiercel_engine.api_group import API_GROUP, VERSION
from tiercel_engine.nesting import read_json
from tiercel_engine.rules.bundle import INDEX


def test_a_rule_that_is_applied_reaches_the_agents_and_its_status_tells(cluster: Cluster, namespace: str) -> None:
    cluster.apply("shells", namespace, rule("Shell", tags=["a"]), rule("Off", enabled=False))
    status = cluster.settled("shells", namespace, "Ready", "NoNodes")
    assert cluster.conditions("shells", namespace)["Valid"] == ("True", "Loaded")
    assert status["rules"] == [{"name": "Shell", "state": "loaded"}, {"name": "Off", "state": "disabled"}]
    assert status["summary"] == {"rules": "1/2", "nodes": "0/0"}
    hash_, objects = until(lambda: cluster.bundle() if cluster.bundle()[1] else None, "bundle")
    assert (status["bundle"], f"{namespace}/shells" in objects) == (hash_, True)

    create_node(cluster.api, f"{namespace}-a")
    cluster.report(f"{namespace}-a", "an older one")
    status = cluster.settled("shells", namespace, "Ready", "RollingOut")
    assert status["summary"]["nodes"] == "0/1"
    cluster.report(
        f"{namespace}-a",
        hash_,
        alerts=[
            {"namespace": namespace, "name": "shells", "rule": "Shell", "count": 3, "last": "2026-11-25T01:02:03Z"}
        ],
    )
    status = cluster.settled("shells", namespace, "Ready", "Running")
    assert status["summary"]["nodes"] == "1/1"
    assert (status["alerts"], status["lastAlert"]) == (3, "2026-11-25T01:02:03Z")


def test_one_bad_rule_leaves_all_others_in_force(cluster: Cluster, namespace: str) -> None:
    cluster.apply("bad", namespace, rule("Bad", "proc.nmae = x"), rule("Good"))
    cluster.apply("other", namespace, rule("Other"))
    status = cluster.settled("bad", namespace, "Valid", "Refused")
    assert status["summary"]["rules"] == "1/2"
    (refused,) = (each for each in status["rules"] if each["state"] == "refused")
    assert (refused["name"], refused["message"]) == ("Bad", "there is no field proc.nmae (did you mean proc.name?)")
    assert cluster.settled("other", namespace, "Valid", "Loaded")["summary"]["rules"] == "1/1"
    cluster.apply("bad", namespace, rule("Bad", "proc.name = x"), rule("Good"))
    cluster.settled("bad", namespace, "Valid", "Loaded")

    def reasons() -> set[str]:
        events = CoreV1Api(cluster.api).list_namespaced_event(namespace).items
        return {event.reason for event in events if event.involved_object.name == "bad"}

    until(lambda: {"Refused", "Loaded"} <= reasons(), "Events of both")


def test_tests_in_the_rule_are_run(cluster: Cluster, namespace: str) -> None:
    tests = [
        {"name": "seen", "event": {"evt.type": "execve"}, "expect": ["Shell"]},
        {"name": "not seen", "event": {"evt.type": "execve"}, "expect": []},
    ]
    cluster.apply("tested", namespace, rule("Shell"), tests=tests)
    status = cluster.settled("tested", namespace, "Valid", "TestsFailed")
    assert [(each["name"], each["passed"]) for each in status["tests"]] == [("seen", True), ("not seen", False)]


def test_what_is_suspended_or_deleted_leaves_the_bundle(cluster: Cluster, namespace: str) -> None:
    cluster.apply("one", namespace, rule("One"))
    cluster.apply("two", namespace, rule("Two"))
    until(lambda: {f"{namespace}/one", f"{namespace}/two"} <= cluster.bundle()[1], "bundle of both")
    cluster.apply("one", namespace, rule("One"), suspend=True)
    until(lambda: f"{namespace}/one" not in cluster.bundle()[1], "bundle without the first")
    assert cluster.settled("one", namespace, "Ready", "Suspended")["rules"] == [{"name": "One", "state": "suspended"}]
    cluster.delete("two", namespace)
    until(lambda: f"{namespace}/two" not in cluster.bundle()[1], "bundle without the second")


def test_a_macro_that_goes_takes_its_users_out_with_a_word(cluster: Cluster, namespace: str) -> None:
    cluster.apply("terms", namespace, {"macro": "started", "condition": "evt.type = execve"})
    cluster.apply("user", namespace, rule("User", "started"))
    cluster.settled("user", namespace, "Valid", "Loaded")
    cluster.delete("terms", namespace)
    status = cluster.settled("user", namespace, "Valid", "Refused")
    assert status["rules"][0]["message"] == "there is no macro started"


def test_only_the_nodes_that_a_selector_names_count(cluster: Cluster, namespace: str) -> None:
    create_node(cluster.api, f"{namespace}-gpu", {"pool": "gpu"})
    create_node(cluster.api, f"{namespace}-cpu", {"pool": "cpu"})
    cluster.apply("gpu", SYSTEM, rule("Gpu"), selector={"nodes": {"matchLabels": {"pool": "gpu"}}})
    hash_ = until(lambda: cluster.bundle()[0] if f"{SYSTEM}/gpu" in cluster.bundle()[1] else "", "bundle")
    cluster.report(f"{namespace}-cpu", "none")
    cluster.report(f"{namespace}-gpu", hash_)
    assert cluster.settled("gpu", SYSTEM, "Ready", "Running")["summary"]["nodes"] == "1/1"


def test_losses_are_told_where_they_may_matter(cluster: Cluster, namespace: str) -> None:
    create_node(cluster.api, f"{namespace}-a")
    cluster.apply("one", namespace, rule("One"))
    cluster.apply("two", namespace, rule("Two"))
    cluster.report(f"{namespace}-a", "none", lost={"total": 0})
    cluster.settled("one", namespace, "Ready", "RollingOut")
    loss = {"cause": "RateLimit", "count": 7, "rule": f"{namespace}/One"}
    cluster.report(f"{namespace}-a", "none", lost={"total": 7, "byCause": [loss]})
    cluster.settled("one", namespace, "DetectionDegraded", "EventsLost")
    assert cluster.conditions("two", namespace)["DetectionDegraded"] == ("False", "NothingLost")


@pytest.mark.parametrize("levels", [255, 5000])
def test_an_object_that_is_nested_too_deeply_costs_nobody_else(cluster: Cluster, namespace: str, levels: int) -> None:
    """The API server stores nearly ten thousand levels, which Python's readers of JSON refuse."""
    path = f"/apis/{API_GROUP}/{VERSION}/namespaces/{namespace}/securityrules"
    values = "[" * levels + "]" * levels
    exceptions = f'[{{"name": "x", "fields": "proc.name", "values": [{values}]}}]'
    poison = json.dumps(security_rule("poison", namespace, rule("Poison", exceptions="here")))

    def reason() -> str:
        status = read_json(ask(cluster.api, "GET", f"{path}/poison")).get("status") or {}
        return next((each["reason"] for each in status.get("conditions") or () if each["type"] == "Valid"), "")

    cluster.apply("before", namespace, rule("Before"))
    cluster.settled("before", namespace, "Valid", "Loaded")
    ask(cluster.api, "POST", path, poison.replace('"here"', exceptions))
    try:
        until(lambda: reason() == "Refused", "refusal of the poison")
        cluster.apply("after", namespace, rule("After"))
        cluster.settled("after", namespace, "Valid", "Loaded")

        cluster.stop()
        cluster.start()
        cluster.apply("later", namespace, rule("Later"))
        cluster.settled("later", namespace, "Valid", "Loaded")
        names = {f"{namespace}/{name}" for name in ("before", "after", "later")}
        until(
            lambda: names == {each for each in cluster.bundle()[1] if each.startswith(namespace)}, "the others' bundle"
        )
    finally:
        ask(cluster.api, "DELETE", f"{path}/poison")


def test_a_hundred_at_once_reach_the_agents(cluster: Cluster, namespace: str) -> None:
    for number in range(100):
        cluster.apply(f"r{number}", namespace, rule(f"Rule {number}"))
    until(lambda: len(cluster.bundle()[1]) >= 100, "bundle of all")
    for number in range(100):
        cluster.settled(f"r{number}", namespace, "Valid", "Loaded")


def test_a_bundle_that_somebody_changes_is_mended_and_a_restart_changes_nothing(
    cluster: Cluster, namespace: str
) -> None:
    cluster.apply("one", namespace, rule("One"))
    until(lambda: f"{namespace}/one" in cluster.bundle()[1], "bundle")
    core = CoreV1Api(cluster.api)
    before = core.read_namespaced_config_map("tiercel-bundle-0", SYSTEM)
    cluster.settled("one", namespace, "Valid", "Loaded")
    status = cluster.read("one", namespace)["metadata"]["resourceVersion"]
    cluster.stop()
    core.patch_namespaced_config_map("tiercel-bundle-0", SYSTEM, {"data": {INDEX: "{}"}})
    cluster.start()
    until(lambda: core.read_namespaced_config_map("tiercel-bundle-0", SYSTEM).data == before.data, "mended bundle")
    cluster.apply("two", namespace, rule("Two"))
    cluster.settled("two", namespace, "Valid", "Loaded")
    assert cluster.read("one", namespace)["metadata"]["resourceVersion"] == status


def test_two_operators_are_one(cluster: Cluster, namespace: str) -> None:
    first = cluster.processes[0]
    cluster.apply("one", namespace, rule("One"))
    cluster.settled("one", namespace, "Valid", "Loaded")
    cluster.start()
    cluster.apply("two", namespace, rule("Two"))
    cluster.settled("two", namespace, "Valid", "Loaded")
    first.send_signal(signal.SIGTERM)
    first.wait(30)
    cluster.apply("three", namespace, rule("Three"))
    cluster.settled("three", namespace, "Valid", "Loaded")


def test_sinks_reach_the_agents_with_their_secrets(cluster: Cluster, namespace: str) -> None:
    core = CoreV1Api(cluster.api)
    reference = {"urlFrom": {"secretRef": {"name": "chat", "key": "url"}}}
    cluster.apply_sink("chat", namespace, slack=reference)
    cluster.apply_sink("events", namespace, events={})
    cluster.apply_sink("file", namespace, file={"path": "/etc/passwd"})
    cluster.apply_sink("off", namespace, events={}, suspend=True)
    until(lambda: cluster.sink_reason("chat", namespace) == "SecretMissing", "word of the missing Secret")
    until(lambda: cluster.sink_reason("file", namespace) == "Refused", "refusal of a tenant's file")
    until(lambda: cluster.secrets_of_sinks() == {f"{namespace}/events": {}}, "sinks for the agents")
    core.create_namespaced_secret(namespace, {"metadata": {"name": "chat"}, "stringData": {"other": "x"}})
    cluster.apply_sink("again", namespace, events={})  # something new: Secrets are looked at
    until(lambda: cluster.sink_reason("chat", namespace) == "SecretKeyMissing", "word of the missing key")
    core.patch_namespaced_secret("chat", namespace, {"stringData": {"url": "https://chat.example.com/x"}})
    cluster.apply_sink("once-more", namespace, events={})
    until(lambda: cluster.sink_reason("chat", namespace) == "InOrder", "sink in order")
    assert cluster.secrets_of_sinks()[f"{namespace}/chat"] == {"chat/url": "https://chat.example.com/x"}


def load(cluster: Cluster, namespace: str, name: str) -> None:
    """Applies a SecurityRule, and waits until the operator has loaded it."""
    cluster.apply(name, namespace, rule(name.title()))
    cluster.settled(name, namespace, "Valid", "Loaded")


def test_an_outage_of_the_api_server_is_sat_out(cluster: Cluster, namespace: str, control_plane: ControlPlane) -> None:
    load(cluster, namespace, "one")
    control_plane.stop()
    control_plane.start()
    load(cluster, namespace, "two")
    until(lambda: {f"{namespace}/one", f"{namespace}/two"} <= cluster.bundle()[1], "bundle of both")


def test_an_api_server_that_denies_its_resources_while_it_starts_is_sat_out(
    cluster: Cluster, namespace: str, control_plane: ControlPlane
) -> None:
    load(cluster, namespace, "one")
    control_plane.stop()
    with starting_server(control_plane.port, control_plane.ca_file) as asked:
        until(lambda: "/readyz" in asked, "question whether the server is ready, once a watch was denied")
    control_plane.start()
    load(cluster, namespace, "two")
    until(lambda: {f"{namespace}/one", f"{namespace}/two"} <= cluster.bundle()[1], "bundle of both")
    assert [process.poll() for process in cluster.processes] == [None]


def test_sigterm_ends_an_operator_that_waits_for_the_api_server(
    cluster: Cluster, namespace: str, control_plane: ControlPlane
) -> None:
    load(cluster, namespace, "one")
    control_plane.stop()
    with starting_server(control_plane.port, control_plane.ca_file) as asked:
        until(lambda: "/readyz" in asked, "question whether the server is ready")
        cluster.stop()
    assert [process.returncode for process in cluster.processes] == [0]
    control_plane.start()
