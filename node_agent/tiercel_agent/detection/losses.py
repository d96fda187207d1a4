"""What was lost becomes an alert of the tool's own: at once, and then not more often than each ten seconds."""

from __future__ import annotations

from collections.abc import Mapping

from tiercel_engine.alert import Alert
from tiercel_engine.priority import Priority

RULE = "Tiercel: events lost"
INTERVAL = 10.0
"""Seconds between two alerts."""
OF_ALERTS = "alerts for "
"""How causes begin that are about alerts: the alert that tells of them may be the next one that is lost."""
LONGEST = 3600.0


class LossWatch:
    """Compares totals by cause with those that were last told.

    What tells of lost alerts goes the same way as they do, and would be lost for ever and told for ever where an output
    fails for good: between two such tellings the time doubles, up to an hour, until none was lost for that long.
    """

    def __init__(self) -> None:
        self._told: dict[str, int] = {}
        self._told_at = self._alerts_told_at = float("-inf")
        self._alerts_pause = INTERVAL

    def news(self, lost: Mapping[str, int], now: float, *, last: bool = False) -> dict[str, int]:
        """What was lost by cause since the last answer that wasn't empty.

        Empty if nothing was, or if that answer is younger than ``INTERVAL``; ``now`` is monotonic
        seconds. With ``last`` the age doesn't matter: detection ends.
        """
        if now - self._told_at < INTERVAL and not last:
            return {}
        news = {cause: count - self._told.get(cause, 0) for cause, count in lost.items()}
        news = {cause: count for cause, count in news.items() if count > 0}
        if not last and now - self._alerts_told_at < self._alerts_pause:
            news = {cause: count for cause, count in news.items() if not cause.startswith(OF_ALERTS)}
        elif any(cause.startswith(OF_ALERTS) for cause in news):
            goes_on = now - self._alerts_told_at < 2 * self._alerts_pause
            self._alerts_pause = min(LONGEST, 2 * self._alerts_pause) if goes_on else INTERVAL
            self._alerts_told_at = now
        if news:
            self._told |= {cause: lost[cause] for cause in news}
            self._told_at = now
        return news


def loss_alert(news: Mapping[str, int], hostname: str, time: int) -> Alert:
    causes = ", ".join(f"{count} ({cause})" for cause, count in news.items())
    return Alert(
        time=time,
        rule=RULE,
        priority=Priority.CRITICAL,
        source="internal",
        hostname=hostname,
        output=f"Events or alerts were lost, attacks among them would not be seen: {causes}",
        tags=("tiercel",),
        output_fields={f"lost.{cause}": count for cause, count in news.items()},
    )
