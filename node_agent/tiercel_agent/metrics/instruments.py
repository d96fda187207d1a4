"""The agent's metrics by name, each with how it is read. Names and labels are for others to rely on: they stay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from tiercel_agent.delivery.totals import Totals
from tiercel_agent.metrics.readings import Readings, RuleId, label
from tiercel_engine import __version__
from tiercel_engine.resources.node_agent import LossCause, SinkDeliveryReport
from tiercel_engine.telemetry import Instrument, Measured

Reads = Callable[[Readings], Iterable[Measured]]


def _one(read: Callable[[Readings], float]) -> Reads:
    return lambda readings: [(read(readings), {})]


def _rules(read: Callable[[Readings], Mapping[RuleId, int]]) -> Reads:
    return lambda readings: [(count, _of_rule(rule)) for rule, count in read(readings).items()]


def _of_rule(rule: RuleId) -> Mapping[str, str]:
    origin, name = rule
    namespace, security_rule = (origin.namespace, origin.name) if origin is not None else ("", "")
    return {"rule": name, "namespace": label(namespace), "securityrule": label(security_rule)}


def _outputs(read: Callable[[Totals], int]) -> Reads:
    return lambda readings: [(read(each), {"output": label(name)}) for name, each in readings.outputs.items()]


def _sinks(read: Callable[[SinkDeliveryReport], float]) -> Reads:
    return lambda readings: [
        (read(sink), {"namespace": label(sink.namespace), "sink": label(sink.name)}) for sink in readings.sinks
    ]


def _lost(readings: Readings) -> Iterable[Measured]:
    counts: Counter[LossCause] = Counter()
    for loss, count in readings.lost.items():
        counts[loss.cause] += count
    return [(count, {"cause": cause.value}) for cause, count in counts.items()]


def _bundle(readings: Readings) -> Iterable[Measured]:
    return [(1, {"hash": label(readings.bundle)})] if readings.bundle else []


def _total(name: str, unit: str, description: str, read: Reads) -> Instrument[Readings]:
    return Instrument(f"tiercel.{name}", description, read, total=True, unit=unit)


def _gauge(name: str, description: str, read: Reads, unit: str = "") -> Instrument[Readings]:
    return Instrument(f"tiercel.{name}", description, read, unit=unit)


INSTRUMENTS = (
    _total("events", "{event}", "Events that rules were evaluated on.", _one(lambda each: each.events)),
    _total(
        "events.stopped",
        "{call}",
        "System calls left in the kernel, because no rule can match them.",
        _one(lambda each: each.stopped),
    ),
    _total("lost", "{item}", "Events that couldn't be looked at and alerts that were given up, by cause.", _lost),
    _total("alerts", "{alert}", "Alerts, by rule and the SecurityRule it stands in.", _rules(lambda each: each.alerts)),
    _total(
        "matches.suppressed",
        "{match}",
        "Matches that were counted in alerts of a flood, by rule.",
        _rules(lambda each: each.suppressed),
    ),
    _total("output.delivered", "{item}", "What an output has delivered.", _outputs(lambda totals: totals.delivered)),
    _total("output.dropped", "{item}", "What an output has given up.", _outputs(lambda totals: totals.lost)),
    _total("output.failures", "{attempt}", "Attempts of an output that failed.", _outputs(lambda each: each.retried)),
    _total("sink.delivered", "{alert}", "Alerts that an AlertSink has delivered.", _sinks(lambda sink: sink.delivered)),
    _total(
        "sink.retried",
        "{attempt}",
        "Attempts of an AlertSink that failed, to be made again.",
        _sinks(lambda s: s.retried),
    ),
    _total("sink.lost", "{alert}", "Alerts that an AlertSink will never deliver.", _sinks(lambda sink: sink.lost)),
    _total("sink.silenced", "{alert}", "Alerts that silences have kept back.", _sinks(lambda sink: sink.silenced)),
    _total(
        "sink.suppressed",
        "{alert}",
        "Alerts that a throttle has counted in others.",
        _sinks(lambda sink: sink.suppressed),
    ),
    _gauge("sink.queued", "Alerts that wait to be delivered.", _sinks(lambda sink: sink.queued), "{alert}"),
    _gauge("sink.failing", "Whether the last attempt of an AlertSink failed.", _sinks(lambda sink: int(sink.failing))),
    _gauge("rules", "Rules in force.", _one(lambda each: each.rules), "{rule}"),
    _gauge("uptime", "Time since the agent's start.", _one(lambda each: each.uptime), "s"),
    _gauge("bundle.info", "The bundle in force, by its hash.", _bundle),
    _gauge("build.info", "The agent's version.", lambda _: [(1, {"version": __version__})]),
)
