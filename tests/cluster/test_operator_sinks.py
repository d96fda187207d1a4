"""AlertSinks on a real API server: what agents get, what they report, and what their owners see of it."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cluster_support.custom_resources import API, SYSTEM
from cluster_support.objects import create_node
from cluster_support.operator_process import Cluster
from cluster_support.waiting import until
from kubernetes.client import ApiException, CoreV1Api, CustomObjectsApi

from tiercel_engine.resources.sink_config import SinkConfig, read_sinks


class Owner:
    """Of an AlertSink; and the agents, which tell of it."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._objects: Any = CustomObjectsApi(cluster.api)
        self._core = CoreV1Api(cluster.api)
        self._cluster = cluster
        self._namespace = namespace

    def status(self) -> dict[str, Any]:
        """Of what was applied last."""
        body = self._objects.get_namespaced_custom_object(*API, self._namespace, "alertsinks", "sink")
        status: dict[str, Any] = body.get("status") or {}
        return status if status.get("observedGeneration") == body["metadata"]["generation"] else {}

    def condition(self, type_: str) -> tuple[str, str]:
        conditions = self.status().get("conditions") or ()
        return next(((each["status"], each["reason"]) for each in conditions if each["type"] == type_), ("", ""))

    def patch(self, **body: Any) -> None:
        self._objects.patch_namespaced_custom_object(*API, self._namespace, "alertsinks", "sink", body)

    def ask_for_test(self, id_: str) -> None:
        self.patch(metadata={"annotations": {"tiercel.dev/send-test": id_}})

    def sink_config(self) -> SinkConfig | None:
        """What agents read of it."""
        content = self._core.read_namespaced_secret("tiercel-sinks", SYSTEM).data["sinks.json"]
        sinks = read_sinks(base64.b64decode(content)).sinks
        return next((each for each in sinks if (each.namespace, each.name) == (self._namespace, "sink")), None)

    def report(self, node: str, **report: Any) -> None:
        """What the agent of a node tells of it."""
        counts = dict.fromkeys(("delivered", "retried", "lost", "queued", "silenced", "suppressed"), 0)
        what = {"namespace": self._namespace, "name": "sink", "generation": 1, "failing": False, **counts, **report}
        self._cluster.report(node, "none", sinks=[what])


@pytest.fixture
def owner(cluster: Cluster, namespace: str) -> Owner:
    return Owner(cluster, namespace)


def test_what_agents_tell_stands_in_the_status(cluster: Cluster, namespace: str, owner: Owner) -> None:
    cluster.apply_sink("sink", namespace, events={})
    until(lambda: owner.condition("Ready") == ("Unknown", "NoReports"), "word that nobody has told anything")
    for node in ("a", "b"):
        create_node(cluster.api, f"{namespace}-{node}")
        owner.report(f"{namespace}-{node}", delivered=2, retried=1, lastSuccess="2026-11-25T01:02:03Z")
    until(lambda: owner.condition("Ready") == ("True", "Delivering"), "word of deliveries")
    until(lambda: owner.status()["delivered"] == 4, "sum")
    assert (owner.status()["retried"], owner.status()["lastSuccess"]) == (2, "2026-11-25T01:02:03Z")

    error = {"time": "2026-11-25T01:03:00Z", "message": "no route"}
    owner.report(f"{namespace}-b", delivered=2, failing=True, lost=1, lastError=error)
    until(lambda: owner.condition("Ready") == ("False", "DeliveryFails"), "word of the failure")
    status = owner.status()
    assert status["lastError"] == {**error, "node": f"{namespace}-b"}
    assert owner.condition("AlertsLost") == ("True", "AlertsLost")

    owner.patch(spec={"suspend": True})
    until(lambda: owner.condition("Ready") == ("False", "Suspended"), "word of the suspension")
    until(lambda: owner.sink_config() is None, "agents without it")


def test_a_test_alert_is_sent_by_one_node_and_told_of(
    cluster: Cluster,
    namespace: str,
    owner: Owner,
) -> None:
    node = f"{namespace}-a"
    create_node(cluster.api, node)
    cluster.apply_sink("sink", namespace, events={})
    owner.report(node)
    until(lambda: owner.condition("Ready") == ("True", "NothingSentYet"), "sink that is ready")
    for id_, took in (("first", 1200), ("second", 34)):
        owner.ask_for_test(id_)
        until(lambda id_=id_: (owner.status().get("test") or {}).get("id") == id_, "test that is under way")  # type: ignore[misc]
        assert owner.status()["test"] == {"id": id_, "node": node}
        config = owner.sink_config()
        assert config is not None
        assert config.test is not None
        assert (config.test.id, config.test.node) == (id_, node)
        told = {"id": id_, "node": node, "sent": "2026-11-25T01:02:03Z", "milliseconds": took}
        owner.report(node, delivered=1, test=told)
        until(lambda told=told: owner.status()["test"] == told, "result of the test")  # type: ignore[misc]
        until(lambda: _has_no_test(owner), "agents that aren't told to send it any more")
    assert owner.condition("Ready") == ("True", "Delivering")


def _has_no_test(owner: Owner) -> bool:
    config = owner.sink_config()
    return config is not None and config.test is None


def test_silences_stand_in_the_status(cluster: Cluster, namespace: str, owner: Owner) -> None:
    silences = [
        {"matcher": {"rules": ["*"]}, "until": f"{year}-01-01T00:00:00Z", "owner": "alice", "reason": "a drill"}
        for year in (2020, 9999)
    ]
    cluster.apply_sink("sink", namespace, events={}, silences=silences)
    until(lambda: owner.condition("Silenced") == ("True", "SilenceInForce"), "word of the silence")
    assert [each["active"] for each in owner.status()["silences"]] == [False, True]
    owner.patch(spec={"silences": silences[:1]})
    until(lambda: owner.condition("Silenced") == ("False", "NoSilence"), "word of its end")
    config = owner.sink_config()
    assert config is not None
    assert config.generation == 2


def test_a_sink_whose_secret_is_elsewhere_is_refused(cluster: Cluster, namespace: str) -> None:
    """A name that is a way to another namespace would have the operator read the Secret of somebody who trusts it."""
    name = f"../../{SYSTEM}/secrets/somebodys"
    with pytest.raises(ApiException, match=r"secretRef.name in body should match") as refused:
        cluster.apply_sink("sink", namespace, slack={"urlFrom": {"secretRef": {"name": name, "key": "url"}}})
    assert refused.value.status == 422
