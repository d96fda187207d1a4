"""Alerts as Kubernetes Events: what is written when, and what happens when the API doesn't take it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import urllib3
from agent_support.http_receiver import HttpReceiver

from tiercel_agent.sinks.kubernetes_events.event_object import event_object, node_reference, reason_of
from tiercel_agent.sinks.kubernetes_events.events import COUNT_EVERY, EventWriter, open_events
from tiercel_agent.sinks.model import Place, Refused, SinkSettings, Unavailable
from tiercel_agent.sinks.text import cut
from tiercel_agent.workloads.cluster.api import ApiError
from tiercel_engine.alert import Alert, uuid7
from tiercel_engine.priority import Priority
from tiercel_engine.resources.alert_sink import AlertSinkSpec
from tiercel_engine.resources.destinations import EventsSink


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Api:
    """Keeps Events by path as the API server does; answers with ``failures`` first, an error each or None."""

    def __init__(self) -> None:
        self.events: dict[str, dict[str, Any]] = {}
        self.failures: list[Exception | None] = []
        self.terminating: set[str] = set()
        self.writes = 0

    def create(self, path: str, body: Mapping[str, Any], timeout: float) -> None:
        self._fail()
        if body["metadata"]["namespace"] in self.terminating:
            raise ApiError(403, "it is being terminated")
        name = f"{path}/{body['metadata']['name']}"
        if name in self.events:
            raise ApiError(409, "exists")
        self.writes += 1
        self.events[name] = dict(body)

    def merge(self, path: str, body: Mapping[str, Any], timeout: float) -> None:
        self._fail()
        if path not in self.events:
            raise ApiError(404, "not found")
        self.writes += 1
        self.events[path] |= body

    def _fail(self) -> None:
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure

    def counts(self, namespace: str = "shop") -> dict[str, int]:
        """By reason."""
        counts: dict[str, int] = {}
        for event in self.events.values():
            if event["metadata"]["namespace"] == namespace:
                count = event.get("series", {}).get("count", 1)
                counts[event["reason"]] = counts.get(event["reason"], 0) + count
        return counts


def alert(rule: str = "Shell in a pod", namespace: str = "shop", pod: str = "web-1", output: str = "sh") -> Alert:
    fields: dict[str, Any] = {"container.id": "0123456789ab"}
    if pod:
        fields |= {"k8s.ns.name": namespace, "k8s.pod.name": pod, "k8s.pod.uid": f"uid-of-{pod}"}
        fields |= {"k8s.owner.kind": "Deployment", "k8s.owner.name": "web"}
    time = 1_795_436_768_078_933_574
    return Alert(time, rule, Priority.WARNING, "syscall", "node-1", output, ("a",), fields)


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def events(api: Api, clock: Clock) -> EventWriter:
    return EventWriter(api, "node-1", per_minute=6, clock=clock)


def test_an_alert_stands_on_its_pod_and_tells_of_its_owner(api: Api, events: EventWriter) -> None:
    made = alert(output="sh -c \x1b[31mred\n")
    events.send([made])
    ((path, event),) = api.events.items()
    assert path == f"/apis/events.k8s.io/v1/namespaces/shop/events/web-1.{made.id.replace('-', '')}"
    assert event["regarding"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "namespace": "shop",
        "name": "web-1",
        "uid": "uid-of-web-1",
    }
    assert event["related"] == {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "web"}
    assert (event["type"], event["reason"], event["note"]) == ("Warning", "ShellInAPod", r"sh -c \x1b[31mred\n")
    assert (event["eventTime"], event["reportingInstance"]) == ("2026-11-23T12:26:08.078933Z", "node-1")
    assert event["metadata"]["annotations"] == {"tiercel.dev/rule": "Shell in a pod", "tiercel.dev/alert": made.id}


def test_what_is_in_no_known_pod_stands_on_the_node(api: Api, events: EventWriter) -> None:
    events.send([alert(pod="")])
    (event,) = api.events.values()
    assert event["regarding"] == {"apiVersion": "v1", "kind": "Node", "name": "node-1", "uid": "node-1"}
    assert event["metadata"]["namespace"] == "default"
    assert "related" not in event


def test_older_servers_want_the_nodes_events_elsewhere(api: Api, events: EventWriter) -> None:
    api.failures = [ApiError(422, "involvedObject.namespace does not match event.namespace")]
    events.send([alert("First", pod=""), alert("Second", pod="")])
    assert api.counts("kube-system") == {"First": 1, "Second": 1}


def test_repetitions_are_a_count_that_is_written_now_and_then(api: Api, events: EventWriter, clock: Clock) -> None:
    events.send([alert()])
    events.send([alert() for _ in range(40)])
    assert (api.writes, api.counts()) == (1, {"ShellInAPod": 1})
    assert events.tick() == COUNT_EVERY
    clock.now += COUNT_EVERY
    assert events.tick() is None
    assert (api.writes, api.counts()) == (2, {"ShellInAPod": 41})
    events.send([alert("Other rule"), alert(pod="web-2")])
    assert api.counts() == {"ShellInAPod": 42, "OtherRule": 1}


def test_counts_that_nobody_was_told_are_told_at_the_end(api: Api, events: EventWriter) -> None:
    events.send([alert(), alert(), alert()])
    events.close()
    assert api.counts() == {"ShellInAPod": 3}


def test_a_namespace_has_a_budget_and_what_is_more_is_counted_in_one_event(
    api: Api, events: EventWriter, clock: Clock
) -> None:
    events.send([alert(f"Rule {number}") for number in range(500)])
    assert api.writes == 7
    assert api.counts()["TooManyAlerts"] == 1
    clock.now += COUNT_EVERY
    events.tick()
    assert api.counts()["TooManyAlerts"] == 494
    (told,) = [event for event in api.events.values() if event["reason"] == "TooManyAlerts"]
    assert "More alerts of this namespace on node node-1 than its 6 Events a minute" in told["note"]
    # neither other namespaces nor the node suffer
    events.send([alert(namespace="bank", pod="vault"), alert(pod="")])
    assert (api.counts("bank"), api.counts("default")) == ({"ShellInAPod": 1}, {"ShellInAPod": 1})


@pytest.mark.parametrize(("namespace", "most"), [("shop", 90), ("tiercel-system", 100)])
def test_a_tenant_cant_raise_the_budget(tmp_path: Path, namespace: str, most: int) -> None:
    """The API server is everybody's."""
    with HttpReceiver() as server:
        kubeconfig = tmp_path / "config"
        kubeconfig.write_text(
            json.dumps(
                {
                    "clusters": [{"name": "c", "cluster": {"server": server.url}}],
                    "users": [{"name": "u", "user": {}}],
                    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                    "current-context": "x",
                }
            )
        )
        place = Place("node-1", "node-1", kubernetes=True, kubeconfig=kubeconfig)
        settings = SinkSettings("events", AlertSinkSpec(), namespace)
        sink = open_events(EventsSink(per_minute=1_000_000), place, settings)
        for number in range(100):
            sink.send([alert(f"Rule {number}")])
        made = len([request for request in server.all() if request.method == "POST"])
    assert made < most if namespace == "shop" else made == most


def test_pods_of_the_nodes_namespace_do_not_use_up_the_nodes_budget(api: Api, events: EventWriter) -> None:
    events.send([alert(f"Rule {number}", namespace="default") for number in range(50)])
    events.send([alert("On the host", pod="")])
    assert api.counts("default")["OnTheHost"] == 1


def test_an_answer_that_was_lost_makes_no_second_event(api: Api, events: EventWriter) -> None:
    made = alert()
    body = event_object(made, {"kind": "Pod", "namespace": "shop", "name": "web-1", "uid": "u"}, "node-1")
    api.events[f"/apis/events.k8s.io/v1/namespaces/shop/events/{body['metadata']['name']}"] = body
    events.send([made])
    assert len(api.events) == 1


@pytest.mark.parametrize("status", [401, 429, 500, 503])
def test_a_server_in_trouble_gets_it_later(api: Api, events: EventWriter, status: int) -> None:
    api.failures = [ApiError(status, "no")]
    batch = [alert()]
    with pytest.raises(Unavailable, match=str(status)):
        events.send(batch)
    events.send(batch)
    assert api.counts() == {"ShellInAPod": 1}


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_the_server_never_takes_is_refused(api: Api, events: EventWriter, status: int) -> None:
    api.failures = [ApiError(status, "invalid")]
    with pytest.raises(Refused, match="invalid"):
        events.send([alert("First")])
    events.send([alert("Second")])
    assert api.counts() == {"Second": 1}


def test_an_api_that_is_not_there_is_told(api: Api, events: EventWriter) -> None:
    api.failures = [urllib3.exceptions.ProtocolError("reset")]
    with pytest.raises(Unavailable, match="can't be reached: ProtocolError"):
        events.send([alert()])


def test_a_server_that_is_away_uses_up_no_budget(api: Api, events: EventWriter) -> None:
    api.failures = [ApiError(503, "later")] * 20
    for _ in range(20):
        with pytest.raises(Unavailable, match="503"):
            events.send(batch := [alert()])
    events.send(batch)
    assert api.counts() == {"ShellInAPod": 1}


def test_a_count_outlives_a_server_that_is_away_for_an_hour(api: Api, events: EventWriter, clock: Clock) -> None:
    events.send([alert(), alert()])
    api.failures = [urllib3.exceptions.ProtocolError("reset")] * 12
    for _ in range(12):
        clock.now += 300
        events.tick()
    clock.now += COUNT_EVERY
    assert events.tick() is None
    assert api.counts() == {"ShellInAPod": 2}


def test_an_alert_of_a_namespace_that_is_being_deleted_stands_on_the_node(api: Api, events: EventWriter) -> None:
    api.terminating.add("shop")
    events.send([alert()])
    (event,) = api.events.values()
    assert (event["regarding"]["kind"], event["metadata"]["namespace"]) == ("Node", "default")


def test_an_event_that_has_run_out_is_made_anew(api: Api, events: EventWriter, clock: Clock) -> None:
    events.send([alert()])
    api.events.clear()
    events.send([alert(), alert()])
    clock.now += COUNT_EVERY
    events.tick()
    assert api.counts() == {"ShellInAPod": 2}


def test_counts_wait_for_a_server_that_is_away(api: Api, events: EventWriter, clock: Clock) -> None:
    events.send([alert(), alert()])
    clock.now += COUNT_EVERY
    api.failures = [urllib3.exceptions.ProtocolError("reset")]
    assert events.tick() == COUNT_EVERY
    clock.now += COUNT_EVERY
    assert events.tick() is None
    assert api.counts() == {"ShellInAPod": 2}


def test_texts_keep_to_what_the_api_takes() -> None:
    long = replace(alert(output="ü" * 2000, rule="a-" * 300), hostname="x")
    event = event_object(long, {"kind": "Pod", "namespace": "n", "name": "p" * 219 + "-" * 30, "uid": "u"}, "n" * 300)
    assert len(event["note"].encode()) <= 1024
    assert event["note"].endswith("ü…")
    assert len(event["reason"]) <= 128
    assert len(event["reportingInstance"]) <= 128
    assert len(event["metadata"]["name"]) <= 253
    assert "-." not in event["metadata"]["name"]
    assert event_object(alert(output=""), node_reference("n"), "n")["note"]
    assert (reason_of("容器"), cut("abc", 3)) == ("Alert", "abc")


def test_ids_are_of_version_7_and_unlike() -> None:
    ids = [uuid7() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert {(each[14], each[19] in "89ab") for each in ids} == {("7", True)}
    assert [each[:8] for each in ids] == sorted(each[:8] for each in ids)
