"""What rules of namespaces didn't see or tell since it was beyond their share: counted, and told in alerts that are for
the namespace's own sinks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from tiercel_agent.loss import Loss, Losses
from tiercel_engine.alert import Alert
from tiercel_engine.matching.matcher import NAMESPACE
from tiercel_engine.priority import Priority
from tiercel_engine.resources.node_agent import LossCause

RULE = "Tiercel: a namespace's rules exceed their share"
INTERVAL = 60.0
"""Seconds between two alerts of one namespace."""


class Shed:
    """``totals`` are counts since the start, by cause and namespace."""

    def __init__(self) -> None:
        self.totals: Counter[Loss] = Counter()
        self._told: dict[Loss, int] = {}
        self._told_at: dict[str, float] = {}

    def add(self, cause: LossCause, namespace: str, count: int = 1) -> None:
        self.totals[Loss(cause, namespace=namespace)] += count

    def news(self, now: float, *, last: bool = False) -> Mapping[str, Losses]:
        """By namespace, what was shed since it was told last; ``now`` is monotonic seconds. A namespace that was told
        lately is left out, unless detection ends."""
        news: dict[str, dict[Loss, int]] = {}
        for loss, count in self.totals.items():
            more = count - self._told.get(loss, 0)
            recent = now - self._told_at.get(loss.namespace, float("-inf")) < INTERVAL
            if more and (last or not recent):
                news.setdefault(loss.namespace, {})[loss] = more
        for namespace, losses in news.items():
            self._told_at[namespace] = now
            self._told |= {loss: self.totals[loss] for loss in losses}
        return news


def shed_alert(namespace: str, losses: Mapping[Loss, int], hostname: str, time: int) -> Alert:
    """``time`` is nanoseconds since the epoch. Its fields are counts, ``shed.events`` and ``shed.alerts``, and the
    namespace, so that the sinks of that namespace get it."""
    counts: Counter[str] = Counter()
    for loss, count in losses.items():
        counts[f"shed.{loss.unit}"] += count
    told = " and ".join(
        f"{counts[key]} {what}"
        for key, what in (
            ("shed.events", "events of its pods were not looked at by them"),
            ("shed.alerts", "of their alerts were not raised"),
        )
        if counts[key]
    )
    return Alert(
        time=time,
        rule=RULE,
        priority=Priority.WARNING,
        source="internal",
        hostname=hostname,
        output=f"The rules of namespace {namespace} take more time or raise more alerts than they may: {told}",
        tags=("tiercel",),
        output_fields={NAMESPACE: namespace, **counts},
    )
