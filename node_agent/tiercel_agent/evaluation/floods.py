"""A flood of matches of one rule in one cgroup becomes one alert with their number."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

from tiercel_agent.filter.rule_counters import SEVERAL_CGROUPS, Suppressed
from tiercel_engine.alert import Alert, uuid7
from tiercel_engine.rule import Rule

COUNT = "tiercel.suppressed"
"""The output field with the number of matches that an alert stands for."""

_MOST_REMEMBERED = 1024


class Floods:
    """Remembers the last alert of each rule in each cgroup, as an example of the matches that are suppressed."""

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[str, int], Alert] = OrderedDict()

    def remember(self, alert: Alert, cgroup: int) -> None:
        self._last[alert.rule_key, cgroup] = alert
        self._last.move_to_end((alert.rule_key, cgroup))
        if len(self._last) > _MOST_REMEMBERED:
            self._last.popitem(last=False)

    def alert(self, suppressed: Suppressed, rule: Rule | None, hostname: str, time: int) -> Alert | None:
        """The alert for suppressed matches; None if there is neither an example nor the rule any more.

        ``time`` is nanoseconds since the epoch.
        """
        last = self._last.get((suppressed.rule, suppressed.cgroup))
        where = "several cgroups" if suppressed.cgroup == SEVERAL_CGROUPS else "one cgroup"
        matches, were = ("match", "was") if suppressed.count == 1 else ("matches", "were")
        if last is not None:
            more = f"{suppressed.count} more {matches} in the same cgroup {were} counted"
            output = f"{more}, the last one reported: {last.output}"
            fields = {**last.output_fields, COUNT: suppressed.count}
            return replace(last, time=time, output=output, output_fields=fields, id=uuid7())
        if rule is None:
            return None
        return Alert(
            time=time,
            rule=rule.name,
            priority=rule.priority,
            source=rule.source,
            hostname=hostname,
            output=f"{suppressed.count} {matches} in {where} {were} counted and not reported one by one",
            tags=rule.tags,
            output_fields={COUNT: suppressed.count},
            origin=rule.origin,
        )
