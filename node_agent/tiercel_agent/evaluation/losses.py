"""What was lost becomes an alert of the agent's own: at once, and then not more often than each ten seconds."""

from __future__ import annotations

from collections import Counter

from tiercel_agent.loss import Loss, Losses, listed
from tiercel_agent.name_list import MOST_NAMES, joined
from tiercel_engine.alert import Alert
from tiercel_engine.priority import Priority

RULE = "Tiercel: events lost"
INTERVAL = 10.0
"""Seconds between two alerts."""
LONGEST = 3600.0
"""Seconds between two alerts of lost alerts, at most."""


class LossWatch:
    """Compares totals with those that were last reported.

    An alert of lost alerts goes the same way as they do. Where an output fails for good it is lost too, and would be
    reported and lost for ever: so between two such alerts the time doubles, up to an hour, until none was lost for that
    long.
    """

    def __init__(self) -> None:
        self._reported: dict[Loss, int] = {}
        self._reported_at = self._alerts_reported_at = float("-inf")
        self._alerts_pause = INTERVAL

    def news(self, lost: Losses, now: float, *, last: bool = False) -> dict[Loss, int]:
        """What was lost since the last answer that wasn't empty.

        It is empty if nothing was lost, or if that answer is younger than ``INTERVAL``; ``now`` is monotonic
        seconds. With ``last`` the age doesn't matter: detection ends.
        """
        if now - self._reported_at < INTERVAL and not last:
            return {}
        news = {loss: count - self._reported.get(loss, 0) for loss, count in lost.items()}
        news = {loss: count for loss, count in news.items() if count > 0}
        if not last and now - self._alerts_reported_at < self._alerts_pause:
            news = {loss: count for loss, count in news.items() if not _of_alerts(loss)}
        elif any(map(_of_alerts, news)):
            goes_on = now - self._alerts_reported_at < 2 * self._alerts_pause
            self._alerts_pause = min(LONGEST, 2 * self._alerts_pause) if goes_on else INTERVAL
            self._alerts_reported_at = now
        if news:
            self._reported |= {loss: lost[loss] for loss in news}
            self._reported_at = now
        return news


def _of_alerts(loss: Loss) -> bool:
    return loss.unit == "alerts"


def loss_alert(news: Losses, hostname: str, time: int) -> Alert:
    """``time`` is nanoseconds since the epoch.

    The alert's fields are counts (``lost.calls``, ``lost.processes``, ``lost.records``, ``lost.events``,
    ``lost.alerts``), and names as a text with commas: ``lost.cause``, ``lost.rule``, ``lost.pod``, ``lost.container``,
    ``lost.cgroup``, ``lost.output``, ``lost.sink``, ``lost.error``. What isn't the case has no field.
    """
    counts: Counter[str] = Counter()
    for loss, count in news.items():
        counts[f"lost.{loss.unit}"] += count
    names = {
        "lost.cause": joined(loss.cause.value for loss in news),
        "lost.rule": joined(loss.rule for loss in news),
        "lost.pod": joined(loss.by.pod for loss in news),
        "lost.container": joined(loss.by.container for loss in news),
        "lost.cgroup": joined(loss.by.cgroup for loss in news),
        "lost.output": joined(loss.output for loss in news),
        "lost.sink": joined(loss.sink for loss in news),
        "lost.error": joined(loss.error for loss in news),
    }
    return Alert(
        time=time,
        rule=RULE,
        priority=Priority.CRITICAL,
        source="internal",
        hostname=hostname,
        output=f"Events or alerts were lost, attacks among them would not be seen: {listed(_most(news))}",
        tags=("tiercel",),
        output_fields={**counts, **{key: text for key, text in names.items() if text}},
    )


def _most(news: Losses) -> Losses:
    """Those of which most was lost, as many as an alert can list."""
    return dict(sorted(news.items(), key=lambda item: -item[1])[:MOST_NAMES])
