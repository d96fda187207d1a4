"""What the agent publishes of itself, and the bounds that keep its metrics small however many rules tenants write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from tiercel_agent.delivery.totals import Totals
from tiercel_agent.loss import Losses
from tiercel_engine.printable import printable
from tiercel_engine.resources.node_agent import SinkDeliveryReport
from tiercel_engine.rule import Origin, Rule

RuleId = tuple[Origin | None, str]
"""The SecurityRule (None for a rule of files), and the rule's name."""

MOST_RULES = 500
MOST_SINKS = 200
LONGEST = 128
"""Characters of a label."""
OTHER = "other"
"""The name under which everything beyond the bounds is counted."""

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Totals since the agent's start, unless the field says otherwise."""

    events: int = 0
    """Events that reached the rules."""
    stopped: int = 0
    """System calls that were left in the kernel, because no rule can match them."""
    lost: Losses = field(default_factory=dict)
    """Events and alerts."""
    alerts: Mapping[RuleId, int] = field(default_factory=dict)
    suppressed: Mapping[RuleId, int] = field(default_factory=dict)
    """Matches that were counted in alerts of a flood."""
    rules: int = 0
    """Rules in force now."""
    bundle: str = ""
    """The hash of the bundle in force now, "" if the rules are of files."""
    outputs: Mapping[str, Totals] = field(default_factory=dict)
    sinks: Sequence[SinkDeliveryReport] = ()
    uptime: float = 0.0
    """Seconds since the agent's start."""


def by_rule(counts: Mapping[str, int], rules: Iterable[Rule]) -> dict[RuleId, int]:
    """The counts, which are by ``Rule.key``, of these rules alone, by the names in their metrics."""
    return {(rule.origin, rule.name): counts[rule.key] for rule in rules if rule.key in counts}


class Bounds:
    """The rules and sinks that came first keep their own series as long as they exist; the others share one. One thread
    calls it."""

    def __init__(self) -> None:
        self._alerts: dict[RuleId, None] = {}
        self._suppressed: dict[RuleId, None] = {}
        self._sinks: dict[tuple[str, str], None] = {}

    def bounded(self, readings: Readings) -> Readings:
        """The same with at most so many rules and sinks that each can have its own series, their names safe to show."""
        alerts = _counted((_labels(rule), count) for rule, count in readings.alerts.items())
        suppressed = _counted((_labels(rule), count) for rule, count in readings.suppressed.items())
        return replace(
            readings,
            alerts=_few(alerts, self._alerts, MOST_RULES, (None, OTHER)),
            suppressed=_few(suppressed, self._suppressed, MOST_RULES, (None, OTHER)),
            sinks=self._few_sinks(readings.sinks),
        )

    def _few_sinks(self, sinks: Sequence[SinkDeliveryReport]) -> tuple[SinkDeliveryReport, ...]:
        known = [(sink.namespace, sink.name) for sink in sinks]
        _admit(known, self._sinks, MOST_SINKS)
        rest = [sink for sink in sinks if (sink.namespace, sink.name) not in self._sinks]
        own = tuple(sink for sink in sinks if (sink.namespace, sink.name) in self._sinks)
        return (*own, _together(rest)) if rest else own


def label(text: str) -> str:
    """A text that authors of rules wrote as the value of a label: safe to show, and cut to ``LONGEST`` characters."""
    return printable(text[:LONGEST])[:LONGEST]


def _labels(rule: RuleId) -> RuleId:
    origin, name = rule
    return origin, label(name)


def _counted(counts: Iterable[tuple[Key, int]]) -> Counter[Key]:
    """The sum for each name: names that look the same are counted together."""
    sums: Counter[Key] = Counter()
    for key, count in counts:
        sums[key] += count
    return sums


def _admit(keys: Iterable[Key], admitted: dict[Key, None], most: int) -> None:
    """Changes which keys are admitted: those that are gone make room."""
    there = dict.fromkeys(keys)
    for key in [key for key in admitted if key not in there]:
        del admitted[key]
    for key in there:
        if len(admitted) >= most:
            return
        admitted[key] = None


def _few(counts: Mapping[Key, int], admitted: dict[Key, None], most: int, other: Key) -> dict[Key, int]:
    _admit(counts, admitted, most)
    few = {key: counts[key] for key in admitted}
    if rest := sum(count for key, count in counts.items() if key not in admitted):
        few[other] = few.get(other, 0) + rest
    return few


def _together(sinks: Sequence[SinkDeliveryReport]) -> SinkDeliveryReport:
    return SinkDeliveryReport(
        namespace="",
        name=OTHER,
        generation=0,
        failing=any(sink.failing for sink in sinks),
        delivered=sum(sink.delivered for sink in sinks),
        retried=sum(sink.retried for sink in sinks),
        lost=sum(sink.lost for sink in sinks),
        queued=sum(sink.queued for sink in sinks),
        silenced=sum(sink.silenced for sink in sinks),
        suppressed=sum(sink.suppressed for sink in sinks),
    )
