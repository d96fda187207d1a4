"""The agent's metrics: scraped and parsed as Prometheus does, received as published messages of OTLP."""

from __future__ import annotations

import http.client
import logging
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from tiercel_agent.delivery.totals import Totals
from tiercel_agent.loss import Loss
from tiercel_agent.metrics import Metrics, Readings, RuleId, by_rule, serve_metrics
from tiercel_engine.diagnostics import Location
from tiercel_engine.priority import Priority
from tiercel_engine.resources.node_agent import LossCause, SinkDeliveryReport
from tiercel_engine.rule import Origin, Rule

Request = metrics_service_pb2.ExportMetricsServiceRequest
Labels = frozenset[tuple[str, str]]

CHAT = SinkDeliveryReport(
    namespace="shop",
    name="chat",
    generation=1,
    failing=True,
    delivered=5,
    retried=4,
    lost=3,
    queued=2,
    silenced=1,
    suppressed=6,
)
READINGS = Readings(
    events=1000,
    stopped=5000,
    lost={
        Loss(LossCause.CALL_BUFFER_FULL): 7,
        Loss(LossCause.RATE_LIMIT, rule="shop/Read"): 2,
        Loss(LossCause.RATE_LIMIT, rule="shop/Write"): 3,
    },
    alerts={(Origin("shop", "reads"), "Read"): 3, (None, "Write"): 1},
    suppressed={(Origin("shop", "reads"), "Read"): 40},
    rules=12,
    bundle="0123abcd",
    outputs={"stdout": Totals(delivered=9, lost=2, retried=1)},
    sinks=(CHAT,),
    uptime=61.5,
)


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_SDK_DISABLED", raising=False)
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_METRICS_EXPORTER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    made = serve()
    yield made
    made.close()


def serve(**settings: Any) -> Metrics:
    return serve_metrics(0, hostname="node-1", node="node-1", host="127.0.0.1", **settings)


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What metrics have logged themselves."""
    return [record.getMessage() for record in caplog.records if record.name == "tiercel_agent.metrics"]


def ask(metrics: Metrics, path: str, method: str = "GET") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", metrics.port, timeout=30)
    connection.request(method, path)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def scrape(metrics: Metrics) -> dict[str, dict[Labels, float]]:
    """Values by name and labels."""
    status, text = ask(metrics, "/metrics")
    assert status == 200
    found: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            series = found.setdefault(sample.name, {})
            labels = frozenset(sample.labels.items())
            assert labels not in series, f"{sample.name} twice"
            series[labels] = sample.value
    return found


def labels(**of: str) -> Labels:
    return frozenset(of.items())


def test_prometheus_reads_what_was_published(metrics: Metrics) -> None:
    metrics.publish(READINGS)
    found = scrape(metrics)
    chat = labels(namespace="shop", sink="chat")
    wanted = {
        "tiercel_events_total": {labels(): 1000},
        "tiercel_events_stopped_total": {labels(): 5000},
        "tiercel_lost_total": {labels(cause="CallBufferFull"): 7, labels(cause="RateLimit"): 5},
        "tiercel_alerts_total": {
            labels(rule="Read", namespace="shop", securityrule="reads"): 3,
            labels(rule="Write", namespace="", securityrule=""): 1,
        },
        "tiercel_matches_suppressed_total": {labels(rule="Read", namespace="shop", securityrule="reads"): 40},
        "tiercel_output_delivered_total": {labels(output="stdout"): 9},
        "tiercel_output_dropped_total": {labels(output="stdout"): 2},
        "tiercel_output_failures_total": {labels(output="stdout"): 1},
        "tiercel_sink_delivered_total": {chat: 5},
        "tiercel_sink_retried_total": {chat: 4},
        "tiercel_sink_lost_total": {chat: 3},
        "tiercel_sink_queued": {chat: 2},
        "tiercel_sink_silenced_total": {chat: 1},
        "tiercel_sink_suppressed_total": {chat: 6},
        "tiercel_sink_failing": {chat: 1},
        "tiercel_rules": {labels(): 12},
        "tiercel_uptime_seconds": {labels(): 61.5},
        "tiercel_bundle_info": {labels(hash="0123abcd"): 1},
    }
    assert {name: series for name, series in found.items() if name in wanted} == wanted
    own = {name for name in found if name.startswith("tiercel_")}
    assert own == {*wanted, "tiercel_build_info"}
    assert found["process_resident_memory_bytes"][labels()] > 0
    assert "target_info" not in found


def test_the_next_scrape_tells_what_was_published_since(metrics: Metrics) -> None:
    assert not any(name.startswith("tiercel_") for name in scrape(metrics))
    metrics.publish(Readings(events=1, sinks=(CHAT,)))
    assert scrape(metrics)["tiercel_events_total"] == {labels(): 1}
    metrics.publish(Readings(events=2))
    found = scrape(metrics)
    assert found["tiercel_events_total"] == {labels(): 2}
    assert "tiercel_sink_delivered_total" not in found  # a sink that is gone


def test_many_rules_become_few_series_and_none_is_lost(metrics: Metrics) -> None:
    rules: dict[RuleId, int] = {(Origin("shop", "many"), f"Rule {number}"): 1 for number in range(2000)}
    metrics.publish(Readings(alerts=rules, suppressed=rules))
    found = scrape(metrics)["tiercel_alerts_total"]
    other = labels(rule="other", namespace="", securityrule="")
    assert (len(found), found[other], sum(found.values())) == (501, 1500, 2000)
    # New ones don't take the place of those that are there.
    newer: dict[tuple[Origin | None, str], int] = {
        (Origin("bank", "new"), f"Newer {number}"): 1 for number in range(100)
    }
    metrics.publish(Readings(alerts=newer | rules))
    again = scrape(metrics)["tiercel_alerts_total"]
    assert (again.keys(), again[other]) == (found.keys(), 1600)
    # Those that are gone make room.
    metrics.publish(Readings(alerts=newer))
    assert len(scrape(metrics)["tiercel_alerts_total"]) == 100


def test_many_sinks_become_few_series(metrics: Metrics) -> None:
    sinks = [
        SinkDeliveryReport(
            namespace="shop",
            name=f"sink-{number}",
            generation=1,
            failing=number == 299,
            delivered=1,
            retried=0,
            lost=0,
            queued=0,
            silenced=0,
            suppressed=0,
        )
        for number in range(300)
    ]
    metrics.publish(Readings(sinks=sinks))
    found = scrape(metrics)
    other = labels(namespace="", sink="other")
    assert len(found["tiercel_sink_delivered_total"]) == 201
    assert (found["tiercel_sink_delivered_total"][other], found["tiercel_sink_failing"][other]) == (100, 1)


def test_names_of_rules_can_not_break_out_of_their_label(metrics: Metrics) -> None:
    origin = Origin("shop", "evil")
    names = ['"} 1\ntiercel_rules 9', "\x1b[31mred\u202e", "not UTF-8 \udcff", "long" * 1024, "back\\slash"]
    metrics.publish(Readings(alerts={(origin, name): 1 for name in names}, rules=1))
    found = scrape(metrics)
    assert found["tiercel_rules"] == {labels(): 1}
    shown = {dict(each)["rule"] for each in found["tiercel_alerts_total"]}
    assert shown == {
        '"} 1\\ntiercel_rules 9',
        "\\x1b[31mred\\u202e",
        "not UTF-8 \ufffd",
        "long" * 32,
        "back\\slash",
    }


def test_names_that_look_the_same_are_counted_together(metrics: Metrics) -> None:
    origin = Origin("shop", "twins")
    metrics.publish(Readings(alerts={(origin, f"{'long' * 40}{number}"): 2 for number in range(3)}))
    assert list(scrape(metrics)["tiercel_alerts_total"].values()) == [6]


def test_counts_by_key_are_told_by_the_rules_that_run() -> None:
    origin = Origin("shop", "reads")
    rules = [
        Rule(name, "d", "syscall", Priority.NOTICE, None, "o", (), Location("f", 1, 1), origin=where)
        for name, where in (("Read", origin), ("Write", None), ("Silent", None))
    ]
    counts = {"shop/Read": 3, "Write": 1, "bank/Gone": 9}
    assert by_rule(counts, rules) == {(origin, "Read"): 3, (None, "Write"): 1}


def test_health_is_whether_something_was_published_of_late() -> None:
    now = 100.0
    metrics = serve(clock=lambda: now)
    try:
        assert ask(metrics, "/healthz") == (200, b"ok\n")
        now += 31
        status, text = ask(metrics, "/healthz")
        assert (status, b"31 seconds" in text) == (503, True)
        metrics.publish(Readings())
        assert ask(metrics, "/healthz") == (200, b"ok\n")
        now += 31
        metrics.alive()
        assert ask(metrics, "/healthz") == (200, b"ok\n"), "it is compiling programs"
    finally:
        metrics.close()


def test_nothing_else_is_answered(metrics: Metrics) -> None:
    assert ask(metrics, "/")[0] == 404
    assert ask(metrics, "/metrics", "POST")[0] == 501
    assert ask(metrics, "/healthz?a=b")[0] == 200


def test_clients_that_say_nothing_keep_nobody_from_an_answer(metrics: Metrics) -> None:
    """Those of one address, which have all the connections that it may have: a probe comes from another."""
    metrics.publish(READINGS)
    silent = [socket.create_connection(("127.0.0.1", metrics.port), 30) for _ in range(40)]
    connection = http.client.HTTPConnection("127.0.0.1", metrics.port, timeout=30, source_address=("127.0.0.2", 0))
    connection.request("GET", "/healthz")
    assert connection.getresponse().status == 200
    connection.close()
    # Most were turned away at once.
    assert sum(_is_closed(each) for each in silent[4:]) == 36
    for each in silent:
        each.close()


def _is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_request_of_any_length_ends(metrics: Metrics) -> None:
    with socket.create_connection(("127.0.0.1", metrics.port), 30) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 8192)
        assert _is_closed(connection)
    assert ask(metrics, "/healthz")[0] == 200


def test_scrapes_at_once_are_all_whole(metrics: Metrics) -> None:
    metrics.publish(READINGS)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: scrape(metrics), range(24)):
            assert found["tiercel_events_total"] == {labels(): 1000}


def test_a_port_that_is_taken_is_named(metrics: Metrics) -> None:
    with pytest.raises(OSError, match=f"metrics can't be served on port {metrics.port}: Address already in use"):
        serve_metrics(metrics.port, hostname="node-1", host="127.0.0.1")


class Receiver:
    """An OTLP receiver by HTTP, which answers with ``status``."""

    def __init__(self) -> None:
        self.got: SimpleQueue[Any] = SimpleQueue()
        self.status = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.put((self.path, dict(self.headers), Request.FromString(body)))
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.http.shutdown()
    made.http.server_close()


def received(request: Any) -> tuple[dict[str, str], dict[str, Any]]:
    """Attributes of the resource, and metrics by name."""
    (of_resource,) = request.resource_metrics
    resource = {each.key: each.value.string_value for each in of_resource.resource.attributes}
    return resource, {metric.name: metric for metric in of_resource.scope_metrics[0].metrics}


def test_metrics_are_sent_where_the_variables_say(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "x-team=blue")
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "3600000")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    metrics = serve()
    metrics.publish(READINGS)
    metrics.close()  # sends the last ones
    path, headers, request = receiver.got.get(timeout=30)
    assert (path, headers["x-team"]) == ("/v1/metrics", "blue")
    resource, found = received(request)
    assert {
        "service.name": "tiercel-agent",
        "host.name": "node-1",
        "k8s.node.name": "node-1",
        "deployment.environment.name": "test",
    }.items() <= resource.items()
    assert resource["service.version"]
    assert (found["tiercel.events"].sum.is_monotonic, found["tiercel.events"].sum.data_points[0].as_int) == (True, 1000)
    assert found["tiercel.uptime"].gauge.data_points[0].as_double == 61.5
    assert {
        tuple(sorted((each.key, each.value.string_value) for each in point.attributes)): point.as_int
        for point in found["tiercel.alerts"].sum.data_points
    } == {
        (("namespace", "shop"), ("rule", "Read"), ("securityrule", "reads")): 3,
        (("namespace", ""), ("rule", "Write"), ("securityrule", "")): 1,
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [("OTEL_SERVICE_NAME", "eyes"), ("OTEL_RESOURCE_ATTRIBUTES", "service.name=eyes")],
)
def test_the_variables_name_the_service(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, value: str
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"{receiver.url}/own/path")
    monkeypatch.setenv(name, value)
    metrics = serve()
    metrics.publish(READINGS)
    metrics.close()
    path, _, request = receiver.got.get(timeout=30)
    assert (path, received(request)[0]["service.name"]) == ("/own/path", "eyes")


@pytest.mark.parametrize(("name", "value"), [("OTEL_METRICS_EXPORTER", "none"), ("OTEL_SDK_DISABLED", "true")])
def test_the_variables_switch_sending_off(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, value: str
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setenv(name, value)
    metrics = serve()
    metrics.publish(READINGS)
    found = scrape(metrics)
    assert ask(metrics, "/healthz")[0] == 200
    metrics.close()
    assert receiver.got.empty()
    # A disabled SDK has nothing for Prometheus either, and says so.
    assert ("tiercel_events_total" in found) is (name != "OTEL_SDK_DISABLED")
    assert any("OTEL_SDK_DISABLED" in line for line in logged(caplog)) is (name == "OTEL_SDK_DISABLED")
    assert "process_resident_memory_bytes" in found


def test_grpc(monkeypatch: pytest.MonkeyPatch) -> None:
    got: SimpleQueue[Any] = SimpleQueue()

    class Service(metrics_service_pb2_grpc.MetricsServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:
            got.put(request)
            return metrics_service_pb2.ExportMetricsServiceResponse()

    server = grpc.server(ThreadPoolExecutor(1))
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    try:
        metrics = serve()
        metrics.publish(READINGS)
        metrics.close()
        assert "tiercel.events" in received(got.get(timeout=30))[1]
    finally:
        server.stop(None)


def test_a_receiver_that_refuses_is_told_once_and_without_secrets(
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    receiver.status = 401
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"{receiver.url}/v1/metrics?token=swordfish")
    metrics = serve()
    metrics.publish(READINGS)
    metrics.close()
    (line,) = logged(caplog)
    assert "401" in line
    logging.getLogger("opentelemetry.sdk.metrics").warning("what is said later on")
    assert capfd.readouterr() == ("", "")


def test_what_exporters_say_is_logged_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    metrics = serve()
    logger = logging.getLogger("opentelemetry.exporter.otlp.test")
    for number in range(3):
        logger.error("no %s at https://user:pw@host/x?token=swordfish\x1b[31m, attempt %d", "luck", number)
    logger.error("Failed to export %s batch", "logs")  # of a sink
    metrics.close()
    assert logged(caplog) == ["metrics: no luck at its address attempt 0"]


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "carrier-pigeon", "there is no protocol carrier-pigeon"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "-1", "interval value -1"),
    ],
)
def test_a_mistake_in_the_variables_is_told_and_ends_nothing(
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
    value: str,
    wanted: str,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setenv(name, value)
    metrics = serve()
    metrics.publish(READINGS)
    assert scrape(metrics)["tiercel_events_total"] == {labels(): 1000}
    metrics.close()
    assert any(wanted in line for line in logged(caplog))
