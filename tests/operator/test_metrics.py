"""The operator's metrics, by HTTP and by OTLP."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
import yaml
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from tiercel_agent.metrics.instruments import INSTRUMENTS as OF_AGENTS
from tiercel_engine.telemetry import Instrument
from tiercel_operator.cluster.state import State
from tiercel_operator.health import UNHEALTHY_AFTER, serve_health
from tiercel_operator.metrics import INSTRUMENTS as OF_OPERATOR
from tiercel_operator.reconciliation.writer import Counts

HOST = "127.0.0.1"
CONFIG = Path(__file__).parents[2] / "config"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_SDK_DISABLED", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_METRICS_EXPORTER"):
        monkeypatch.delenv(name, raising=False)


def body(name: str, condition: str, status: str, **spec: Any) -> dict[str, Any]:
    conditions = [{"type": "Other", "status": "False"}, {"type": condition, "status": status}]
    return {
        "metadata": {"namespace": "shop", "name": name, "uid": name, "generation": 1},
        "spec": {"rules": [], **spec},
        "status": {"conditions": conditions},
    }


def runner() -> Any:
    state = State()
    for number, status in enumerate(("True", "False", "False", "Unknown")):
        state.take_rule(body(f"rule-{number}", "Valid", status), exists=True)
        state.take_sink(body(f"sink-{number}", "Ready", status), exists=True)
    state.take_rule(body("unchecked", "Checked", "False"), exists=True)
    state.take_sink(body("suspended", "Ready", "False", suspend=True), exists=True)
    state.take_agent({"metadata": {"name": "node-1"}}, exists=True, now=0.0)
    return SimpleNamespace(
        state=state, counts=Counts(plans=3, writes=4, failures=1, plan_seconds=0.25), leads=True, failing_for=0.0
    )


def serving(runner: Any, work: Callable[[str, Any], Awaitable[None]]) -> None:
    async def run() -> None:
        serving = await serve_health(runner, HOST, 0, "tiercel-system")
        try:
            port = serving.addresses[0][1]
            async with asyncio.timeout(60):
                await work(f"http://{HOST}:{port}", runner)
        finally:
            await serving.cleanup()

    asyncio.run(run())


async def values(url: str) -> dict[str, float]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = await answer.text()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {sample.name: sample.value for sample in samples if not sample.labels}


def test_prometheus_reads_what_is_known_at_that_moment() -> None:
    async def work(url: str, runner: Any) -> None:
        first = await values(url)
        assert {name: value for name, value in first.items() if name.startswith("tiercel_")} == {
            "tiercel_operator_leads": 1,
            "tiercel_operator_security_rules": 5,
            "tiercel_operator_security_rules_refused": 3,
            "tiercel_operator_node_agents": 1,
            "tiercel_operator_alert_sinks": 5,
            "tiercel_operator_alert_sinks_not_ready": 2,
            "tiercel_operator_reconciliations_total": 3,
            "tiercel_operator_writes_total": 4,
            "tiercel_operator_failures_total": 1,
            "tiercel_operator_plan_duration_seconds": 0.25,
            "tiercel_operator_failing_duration_seconds": 0,
        }
        assert first["process_resident_memory_bytes"] > 0
        runner.counts.plans += 1
        runner.leads = False
        second = await values(url)
        assert (second["tiercel_operator_reconciliations_total"], second["tiercel_operator_leads"]) == (4, 0)

    serving(runner(), work)


def test_health_and_nothing_else() -> None:
    async def work(url: str, _: Any) -> None:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{url}/healthz") as answer:
                assert (answer.status, await answer.text()) == (200, "ok\n")
            async with session.get(f"{url}/") as answer:
                assert answer.status == 404

    serving(runner(), work)


def test_it_is_unhealthy_once_reconciliations_have_failed_for_long() -> None:
    async def work(url: str, runner: Any) -> None:
        async def status() -> int:
            async with aiohttp.ClientSession() as session, session.get(f"{url}/healthz") as answer:
                return answer.status

        runner.failing_for = UNHEALTHY_AFTER - 1
        assert await status() == 200
        runner.failing_for = UNHEALTHY_AFTER
        assert await status() == 503
        assert (await values(url))["tiercel_operator_failing_duration_seconds"] == UNHEALTHY_AFTER
        runner.failing_for = 0.0
        assert await status() == 200

    serving(runner(), work)


def test_a_port_that_is_taken() -> None:
    async def work(url: str, runner: Any) -> None:
        with pytest.raises(OSError, match="address already in use"):
            await serve_health(runner, HOST, int(url.rpartition(":")[2]))

    serving(runner(), work)


@pytest.fixture
def receiver() -> Iterator[tuple[str, SimpleQueue[bytes]]]:
    got: SimpleQueue[bytes] = SimpleQueue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.put(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer((HOST, 0), Handler)
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://{HOST}:{http.server_port}", got
    http.shutdown()
    http.server_close()


def test_metrics_are_sent_though_nobody_asks(
    receiver: tuple[str, SimpleQueue[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, got = receiver
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "20")

    async def work(_: str, runner: Any) -> None:
        request = ExportMetricsServiceRequest.FromString(await asyncio.to_thread(got.get, timeout=30))
        (of_resource,) = request.resource_metrics
        resource = {each.key: each.value.string_value for each in of_resource.resource.attributes}
        assert (resource["service.name"], resource["k8s.namespace.name"]) == ("tiercel-operator", "tiercel-system")
        metrics = {metric.name: metric for metric in of_resource.scope_metrics[0].metrics}
        assert metrics["tiercel.operator.security.rules"].gauge.data_points[0].as_int == 5
        assert metrics["tiercel.operator.writes"].sum.data_points[0].as_int == 4

    serving(runner(), work)


def prometheus_name(instrument: Instrument[Any]) -> str:
    unit = {"s": "_seconds"}.get(instrument.unit, "")
    return instrument.name.replace(".", "_") + unit + "_total" * instrument.total


def test_alert_rules_and_dashboards_ask_for_metrics_that_there_are() -> None:
    known = {prometheus_name(each) for each in (*OF_AGENTS, *OF_OPERATOR)}
    alerts = yaml.safe_load((CONFIG / "monitoring/alerts.yaml").read_text())
    expressions = [rule["expr"] for group in alerts["spec"]["groups"] for rule in group["rules"]]
    dashboard = json.loads((CONFIG / "dashboards/tiercel.json").read_text())
    expressions += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = set(re.findall(r"\btiercel_\w+", " ".join(expressions)))
    assert len(asked) > 10
    assert asked <= known


def test_who_is_monitored_is_who_runs() -> None:
    deployment = next(yaml.safe_load_all((CONFIG / "base/operator.yaml").read_text()))
    template = deployment["spec"]["template"]
    monitors = {
        each["metadata"]["name"]: each["spec"]
        for each in yaml.safe_load_all((CONFIG / "monitoring/pod-monitors.yaml").read_text())
    }
    monitor = monitors["tiercel-operator"]
    assert monitor["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    (container,) = template["spec"]["containers"]
    assert monitor["podMetricsEndpoints"][0]["port"] in {port["name"] for port in container["ports"]}
