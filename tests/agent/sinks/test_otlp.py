"""Alerts as OpenTelemetry logs, at real receivers that read the published messages."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from logging.handlers import QueueHandler
from queue import SimpleQueue
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc

from tiercel_agent.config import parse_config
from tiercel_agent.sinks.model import BadSink, Place, Sink, SinkSettings, Unavailable
from tiercel_agent.sinks.otlp.otlp import open_otlp
from tiercel_agent.workloads.settings import WorkloadSettings
from tiercel_engine.alert import Alert
from tiercel_engine.priority import Priority
from tiercel_engine.resources.alert_sink import AlertSinkSpec
from tiercel_engine.resources.destinations import Header, OtlpProtocol, OtlpSink, SecretRef, SecretSource
from tiercel_engine.rule import Origin

Request = logs_service_pb2.ExportLogsServiceRequest

FIELDS: dict[str, Any] = {
    "evt.time": 5,
    "proc.pid": 42,
    "proc.cmdline": "sh -c \x1b[31m\udcff",
    "fd.name": "/etc/shadow",
    "proc.is_exe_writable": True,
    "evt.res": None,
    "k8s.ns.name": "shop",
    "k8s.pod.name": "web-1",
    "k8s.owner.kind": "Deployment",
    "k8s.owner.name": "web",
    "container.image.repository": "docker.io/library/nginx",
    "container.image.tag": "1.27",
    "fd.large": 1 << 70,
}
ALERT = Alert(
    1_795_436_768_078_933_574,
    "Read",
    Priority.WARNING,
    "syscall",
    "node-1",
    "read \udcff by sh",
    ("mitre_credential_access", "T1555", "T1003.008", "host"),
    FIELDS,
    Origin("shop", "reads"),
)

PLACE = Place("node-1", "node-1")


def opened(sink: OtlpSink, namespace: str = "") -> Sink:
    secrets = {"otlp/key": "of-this-sink"}
    return open_otlp(sink, SinkSettings("otlp", AlertSinkSpec(otlp=sink), namespace, secrets), PLACE)


class Receiver:
    """An OTLP receiver: HTTP answers with ``statuses`` first, then 200."""

    def __init__(self) -> None:
        self.got: SimpleQueue[Any] = SimpleQueue()
        self.statuses: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = receiver.statuses.pop(0) if receiver.statuses else 200
                if status == 200:
                    receiver.got.put(
                        (
                            self.path,
                            {name.lower(): value for name, value in self.headers.items()},
                            Request.FromString(body),
                        )
                    )
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def one(self) -> tuple[str, dict[str, str], Any]:
        request: tuple[str, dict[str, str], Any] = self.got.get(timeout=30)
        return request


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.http.shutdown()
    made.http.server_close()


def attributes(pairs: Any) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return [_value(each) for each in value.array_value.values] if kind == "array_value" else getattr(value, kind)


def test_an_alert_is_a_log_by_the_conventions(receiver: Receiver) -> None:
    output = opened(OtlpSink(f"{receiver.url}/v1/logs"))
    output.send([ALERT])
    output.close()
    path, headers, request = receiver.one()
    assert (path, headers["content-type"]) == ("/v1/logs", "application/x-protobuf")
    (logs,) = request.resource_logs
    resource = attributes(logs.resource.attributes)
    assert {
        "service.name": "tiercel-agent",
        "host.name": "node-1",
        "k8s.node.name": "node-1",
    }.items() <= resource.items()
    (record,) = logs.scope_logs[0].log_records
    assert (record.time_unix_nano, record.severity_number, record.severity_text) == (ALERT.time, 13, "Warning")
    assert (record.body.string_value, record.event_name) == ("read \ufffd by sh", "tiercel.alert")
    assert attributes(record.attributes) == {
        "log.record.uid": ALERT.id,
        "tiercel.rule.name": "Read",
        "tiercel.rule.tags": ["mitre_credential_access", "T1555", "T1003.008", "host"],
        "tiercel.rule.namespace": "shop",
        "tiercel.rule.object": "reads",
        "tiercel.priority": "Warning",
        "tiercel.source": "syscall",
        "tiercel.mitre.techniques": ["T1555", "T1003.008"],
        "tiercel.mitre.tactics": ["credential_access"],
        "process.pid": 42,
        "process.command_line": "sh -c \x1b[31m\ufffd",
        "k8s.namespace.name": "shop",
        "k8s.pod.name": "web-1",
        "k8s.deployment.name": "web",
        "container.image.name": "docker.io/library/nginx",
        "container.image.tags": ["1.27"],
        "tiercel.field.fd.name": "/etc/shadow",
        "tiercel.field.proc.is_exe_writable": True,
        "tiercel.field.fd.large": str(1 << 70),
    }


def test_the_standard_variables_are_honoured(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team=blue")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    config = parse_config("/x/tiercel.yaml", "rules: [a.yaml]\nhostname: h").config
    assert config is not None
    (wanted,) = config.sinks
    assert wanted.spec.otlp is not None
    output = open_otlp(wanted.spec.otlp, wanted, PLACE)
    output.send([ALERT, ALERT])
    output.close()
    path, headers, request = receiver.one()
    assert (path, headers["x-team"]) == ("/v1/logs", "blue")
    resource = attributes(request.resource_logs[0].resource.attributes)
    assert resource["deployment.environment.name"] == "test"
    assert len(request.resource_logs[0].scope_logs[0].log_records) == 2


def test_a_receiver_that_refuses_gets_it_again_and_the_reason_is_told(receiver: Receiver) -> None:
    output = opened(OtlpSink(f"{receiver.url}/v1/logs"))
    receiver.statuses = [401]
    with pytest.raises(Unavailable, match=r"the receiver doesn't take them \(401\)"):
        output.send([ALERT])
    output.send([ALERT])
    output.close()
    assert receiver.one()[0] == "/v1/logs"


@pytest.mark.parametrize("namespace", ["tiercel-system", "shop"])
def test_an_alert_sinks_own_address_gets_its_own_headers_and_not_the_agents(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, namespace: str
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=of-the-cluster")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    key = SecretSource(SecretRef("otlp", "key"))
    output = opened(OtlpSink(f"{receiver.url}/v1/logs", headers=(Header("x-key", value_from=key),)), namespace)
    output.send([ALERT, ALERT])
    path, headers, request = receiver.one()
    assert (path, headers["x-key"], headers.get("authorization")) == ("/v1/logs", "of-this-sink", None)
    assert len(request.resource_logs[0].scope_logs[0].log_records) == 2
    receiver.statuses = [429]
    with pytest.raises(Unavailable, match="429"):
        output.send([ALERT])
    output.close()


def test_what_the_variables_say_of_the_agent_is_for_no_tenant(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=of-the-cluster")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "of-the-cluster")
    opened(OtlpSink(f"{receiver.url}/v1/logs"), "shop").send([ALERT])
    resource = attributes(receiver.one()[2].resource_logs[0].resource.attributes)
    assert (resource["service.name"], resource["host.name"]) == ("tiercel-agent", "node-1")
    assert "of-the-cluster" not in resource.values()


def test_what_cant_be_encoded_is_in_no_log_raw(receiver: Receiver) -> None:
    sink = OtlpSink(f"{receiver.url}/v1/logs")
    place = replace(PLACE, hostname="\x1b[31m\udcff")
    said: SimpleQueue[logging.LogRecord] = SimpleQueue()
    handler = QueueHandler(said)
    logging.getLogger().addHandler(handler)
    try:
        open_otlp(sink, SinkSettings("otlp", AlertSinkSpec(otlp=sink), "shop"), place).send([ALERT])
    finally:
        logging.getLogger().removeHandler(handler)
    receiver.one()
    assert said.empty()


@pytest.mark.parametrize("protocol", OtlpProtocol)
def test_no_error_tells_an_address(protocol: OtlpProtocol, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    output = opened(OtlpSink("http://ann:hunter2@127.0.0.1:1/hunter3", protocol=protocol))
    with pytest.raises(Unavailable) as raised:
        output.send([ALERT])
    output.close()
    assert "hunter" not in str(raised.value)
    assert "127.0.0.1" not in str(raised.value)


@pytest.mark.parametrize(
    "sink", [OtlpSink(), OtlpSink("http://collector.example", protocol=OtlpProtocol.GRPC)], ids=["variables", "grpc"]
)
def test_a_tenants_sink_has_an_address_and_speaks_http(sink: OtlpSink) -> None:
    with pytest.raises(BadSink, match=r"needs an otlp.url, and the protocol http/protobuf"):
        opened(sink, "shop")


@pytest.mark.parametrize(("name", "value"), [("OTEL_SDK_DISABLED", "true"), ("OTEL_LOGS_EXPORTER", "none")])
def test_the_standard_variables_can_say_no(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    monkeypatch.setenv(name, value)
    config = parse_config("/x/tiercel.yaml", "rules: [a.yaml]").config
    assert config is not None
    assert config.sinks == ()


def test_grpc() -> None:
    got: SimpleQueue[Any] = SimpleQueue()

    class Service(logs_service_pb2_grpc.LogsServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:
            got.put(request)
            return logs_service_pb2.ExportLogsServiceResponse()

    server = grpc.server(ThreadPoolExecutor(1))
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        output = opened(OtlpSink(f"http://127.0.0.1:{port}", protocol=OtlpProtocol.GRPC))
        output.send([ALERT])
        output.close()
        assert len(got.get(timeout=30).resource_logs) == 1
    finally:
        server.stop(None)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("outputs: {otlp: {enabled: true}}", "add endpoint: http://collector:4318/v1/logs"),
        ("outputs: {otlp: {endpoint: 'http://x', protocol: carrier-pigeon}}", "outputs.otlp.protocol"),
        ("outputs: {otlp: {url: 'http://x'}}", "outputs.otlp.url is no setting"),
    ],
)
def test_a_mistake_in_the_configuration_is_named(text: str, wanted: str) -> None:
    (error,) = parse_config("/x/tiercel.yaml", f"rules: [a.yaml]\n{text}").errors
    assert wanted in f"{error.message} {error.hint}"


def test_without_a_cluster_a_machine_is_no_node_of_one() -> None:
    workloads = WorkloadSettings(node="web-1", kubernetes=False)
    assert Place.of("web-1", workloads) == Place("web-1")
    assert Place.of("web-1", replace(workloads, kubernetes=True)).node == "web-1"
