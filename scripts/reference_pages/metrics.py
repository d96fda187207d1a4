"""The page of metrics, from what the agent and the operator publish."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from prometheus_client.parser import text_string_to_metric_families

from reference_pages.markdown import code, prose, table
from tiercel_agent.delivery.totals import Totals
from tiercel_agent.loss import Loss
from tiercel_agent.metrics.instruments import INSTRUMENTS as AGENT
from tiercel_agent.metrics.readings import Readings as AgentReadings
from tiercel_engine.resources.node_agent import LossCause, SinkDeliveryReport
from tiercel_engine.rule import Origin
from tiercel_engine.telemetry import Instrument, Telemetry
from tiercel_operator.metrics import INSTRUMENTS as OPERATOR
from tiercel_operator.metrics import Readings as OperatorReadings

_HEAD = """# Metrics

Agents and the operator answer Prometheus at `/metrics`, and send the same by OTLP where the `OTEL_` variables say so.
The names are as Prometheus shows them; OTLP has them with dots and without the unit. A counter counts from the start of
the process. Beside these there are the usual metrics of the process (`process_…`).

`config/monitoring` has what Prometheus needs, with alerting rules, and `config/dashboards` a dashboard for Grafana."""

_SINK = SinkDeliveryReport(
    namespace="shop",
    name="chat",
    generation=1,
    failing=False,
    delivered=0,
    retried=0,
    lost=0,
    queued=0,
    silenced=0,
    suppressed=0,
)
_RULE = (Origin("shop", "rules"), "A rule")
_AGENT = AgentReadings(
    lost={Loss(LossCause.CALL_BUFFER_FULL): 0},
    alerts={_RULE: 0},
    suppressed={_RULE: 0},
    bundle="hash",
    outputs={"stdout": Totals()},
    sinks=[_SINK],
)
_OPERATOR = OperatorReadings(
    leads=True,
    **dict.fromkeys(("rules", "refused_rules", "agents", "sinks", "sinks_not_ready"), 0),
    **dict.fromkeys(("plans", "writes", "failures"), 0),
    plan_seconds=0.0,
    failing_for=0.0,
)

Readings = TypeVar("Readings")


def page() -> str:
    return "\n\n".join((_HEAD, "## Agent", _table(AGENT, _AGENT), "## Operator", _table(OPERATOR, _OPERATOR)))


def _table(instruments: Sequence[Instrument[Readings]], example: Readings) -> str:
    return table(("Metric", "Kind", "Labels", "Meaning"), _rows(instruments, example))


def _rows(instruments: Sequence[Instrument[Readings]], example: Readings) -> Iterable[tuple[str, ...]]:
    """The metrics as Prometheus would read them after an example was published."""
    telemetry = Telemetry({}, instruments, lambda _: None)
    telemetry.publish(example)
    text = telemetry.text().decode()
    telemetry.close()
    for family in text_string_to_metric_families(text):
        if not family.name.startswith("process_"):
            sample = family.samples[0]
            labels = " ".join(code(name) for name in sample.labels)
            yield code(sample.name), family.type, labels, prose(family.documentation)
