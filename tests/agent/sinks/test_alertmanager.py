"""Alerts to Alertmanager's API, at a receiver that takes what Alertmanager takes."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

import pytest
from agent_support.http_receiver import Answer, HttpReceiver

from tiercel_agent.sinks.http.alertmanager import open_alertmanager
from tiercel_agent.sinks.model import BadSink, Refused, Sink, SinkSettings, Unavailable
from tiercel_engine.alert import Alert
from tiercel_engine.priority import Priority
from tiercel_engine.resources.alert_sink import AlertSinkSpec
from tiercel_engine.resources.destinations import AlertmanagerSink, Header, SecretRef, SecretSource
from tiercel_engine.rule import Origin

HOSTILE = 'quote" back\\slash \n\x00\x1b[31m \u202e \udcff </a> {{ x }}'


def alert(
    rule: str = "Read", output: str = "read by cat", priority: Priority = Priority.WARNING, **fields: Any
) -> Alert:
    return Alert(
        1_795_436_768_078_933_574, rule, priority, "syscall", "node-1", output, (), fields, Origin("shop", "reads")
    )


IN_POD: dict[str, Any] = {
    "k8s.ns.name": "shop",
    "k8s.pod.name": "web-1",
    "container.name": "web",
    "k8s.node.name": "worker-1",
    "proc.name": "cat",
}


def opened(url: str, **more: Any) -> Sink:
    settings = SinkSettings("am", AlertSinkSpec(), secrets={"s/url": url, "s/token": "hunter2"})
    return open_alertmanager(AlertmanagerSink(url_from=SecretSource(SecretRef("s", "url")), **more), settings)


def read(body: bytes) -> list[dict[str, Any]]:
    """The alerts, as Alertmanager (api/v2, types.Alert.Validate) takes them."""
    alerts: list[dict[str, Any]] = json.loads(body)
    for each in alerts:
        assert set(each) <= {"labels", "annotations", "startsAt", "endsAt", "generatorURL"}
        datetime.fromisoformat(each["startsAt"][:26])
        assert each["labels"]["alertname"]
        for name, value in {**each["labels"], **each["annotations"]}.items():
            assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name)
            assert value.isprintable()
            assert value
    return alerts


def test_an_alert_with_its_labels() -> None:
    sent = alert(**IN_POD)
    with HttpReceiver() as receiver:
        opened(receiver.url, labels={"team": "blue"}).send([sent])
        request = receiver.one()
    assert (request.method, request.path) == ("POST", "/api/v2/alerts")
    assert request.headers["content-type"] == "application/json"
    (posted,) = read(request.body)
    assert posted == {
        "labels": {
            "alertname": "Read",
            "severity": "warning",
            "priority": "Warning",
            "source": "syscall",
            "instance": "node-1",
            "rule_origin": "shop/reads",
            "namespace": "shop",
            "pod": "web-1",
            "container": "web",
            "node": "worker-1",
            "team": "blue",
        },
        "annotations": {
            "summary": "read by cat",
            "description": "12:26:08.078933574: Warning read by cat",
            "id": sent.id,
        },
        "startsAt": "2026-11-23T12:26:08.078933574Z",
    }


@pytest.mark.parametrize(
    ("priority", "severity"),
    [
        (Priority.EMERGENCY, "critical"),
        (Priority.ALERT, "critical"),
        (Priority.CRITICAL, "critical"),
        (Priority.ERROR, "error"),
        (Priority.WARNING, "warning"),
        (Priority.NOTICE, "info"),
        (Priority.INFORMATIONAL, "info"),
        (Priority.DEBUG, "info"),
    ],
)
def test_severities(priority: Priority, severity: str) -> None:
    with HttpReceiver() as receiver:
        opened(receiver.url).send([alert(priority=priority)])
        (posted,) = read(receiver.one().body)
    assert posted["labels"]["severity"] == severity


def test_hostile_alerts_are_valid_and_bounded() -> None:
    fields = {**IN_POD, "k8s.pod.name": HOSTILE * 500, "container.name": None, "k8s.node.name": ["x"]}
    with HttpReceiver() as receiver:
        opened(receiver.url).send([alert(HOSTILE * 500, HOSTILE * 5000, **fields), alert("", "", **IN_POD)])
        posted, empty = read(receiver.one().body)
    assert all(len(value.encode()) <= 1024 for value in posted["labels"].values())
    assert all(len(value.encode()) <= 8192 for value in posted["annotations"].values())
    assert posted["labels"]["pod"].startswith('quote" back\\slash \\n\\x00\\x1b[31m')
    assert not {"container", "node"} & set(posted["labels"])
    assert empty["labels"]["alertname"] == "-"


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("", "/api/v2/alerts"),
        ("/", "/api/v2/alerts"),
        ("/am/", "/am/api/v2/alerts"),
        ("/api/v2/alerts", "/api/v2/alerts"),
        ("/am/api/v2/alerts/", "/am/api/v2/alerts"),
        ("/am?tenant=a", "/am/api/v2/alerts?tenant=a"),
    ],
)
def test_addresses(path: str, wanted: str) -> None:
    with HttpReceiver() as receiver:
        opened(f"{receiver.url}{path}\n").send([alert()])
        assert receiver.one().path == wanted


def test_several_are_one_request() -> None:
    with HttpReceiver() as receiver:
        sink = opened(receiver.url, headers=(Header("X-Key", value_from=SecretSource(SecretRef("s", "token"))),))
        assert (sink.batch, sink.wait) == (64, 0.2)
        sink.send([alert("a"), alert("b")])
        request = receiver.one()
    assert [each["labels"]["alertname"] for each in read(request.body)] == ["a", "b"]
    assert request.headers["x-key"] == "hunter2"


def test_configured_labels_are_the_stronger_ones() -> None:
    with HttpReceiver() as receiver:
        opened(receiver.url, labels={"severity": "page", "namespace": ""}).send([alert(**IN_POD)])
        (posted,) = read(receiver.one().body)
    assert posted["labels"]["severity"] == "page"
    assert "namespace" not in posted["labels"]


@pytest.mark.parametrize("name", ["a-b", "1a", "", "é", "a b", "a\n"])
def test_what_is_no_label(name: str) -> None:
    with pytest.raises(BadSink, match="is no label's name"):
        opened("http://x/", labels={name: "x"})


def test_what_it_does_not_take() -> None:
    with HttpReceiver([Answer(400, body=b'"bad"'), Answer(503, {"Retry-After": "3"})]) as receiver:
        sink = opened(receiver.url)
        with pytest.raises(Refused):
            sink.send([alert()])
        with pytest.raises(Unavailable) as raised:
            sink.send([alert()])
        assert raised.value.retry_after == 3.0
