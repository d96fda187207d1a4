"""Records that the kernel has lost, in total, with the names of those that lost them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from tiercel_agent.filter.lost_records import Kind, LostRecords
from tiercel_agent.loss import Loss, LostBy
from tiercel_engine.resources.node_agent import LossCause

_MOST_NAMED = 1000
"""So many losses are told apart by where they occurred. Those of further places are added up by their cause."""


class LossTotals:
    """Adds up what was read.

    ``lost_by`` tells where a cgroup belongs. It is asked once for each loss, so that a count stays under one name.
    """

    def __init__(self, lost_by: Callable[[int], LostBy]) -> None:
        self._lost_by = lost_by
        self._losses: dict[tuple[Kind, int, str | None], Loss] = {}
        self._totals: Counter[Loss] = Counter()

    def add(self, records: Iterable[LostRecords]) -> None:
        for each in records:
            self._totals[self._loss(each)] += each.count

    def totals(self) -> dict[Loss, int]:
        return dict(self._totals)

    def _loss(self, records: LostRecords) -> Loss:
        key = records.kind, records.cgroup, records.rule
        known = self._losses.get(key)
        if known is None:
            if len(self._losses) >= _MOST_NAMED:
                return _loss(records, LostBy())
            known = self._losses[key] = _loss(records, self._lost_by(records.cgroup))
        return known


def _loss(records: LostRecords, by: LostBy) -> Loss:
    if records.rule is not None:
        return Loss(LossCause.RATE_LIMIT, rule=records.rule, by=by)
    cause = LossCause.PROCESS_BUFFER_FULL if records.kind is Kind.PROCESSES else LossCause.CALL_BUFFER_FULL
    return Loss(cause, by=by)
