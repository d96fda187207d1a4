"""What the kernel and the process table have lost, in total, with the names of those that lost it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

from tiercel_agent.filter.lost_records import Kind, LostRecords
from tiercel_agent.loss import Loss, LostBy
from tiercel_engine.resources.node_agent import LossCause

_MOST_NAMED = 1000
"""So many losses are told apart by where they occurred. Those of further places are added up by their cause."""


class LossTotals:
    """Adds up what was lost, by where it was.

    ``lost_by`` tells where a cgroup belongs. It is asked once for each loss, so that a count stays under one name.
    """

    def __init__(self, lost_by: Callable[[int], LostBy]) -> None:
        self._lost_by = lost_by
        self._losses: dict[tuple[Loss, int | str], Loss] = {}
        self._totals: Counter[Loss] = Counter()

    def add(self, records: Iterable[LostRecords]) -> None:
        for each in records:
            self.count(_loss(each), each.cgroup, each.count)

    def count(self, loss: Loss, where: int | str, number: int) -> None:
        """``where`` is the id of a cgroup, or its name for people. The loss doesn't name it yet."""
        key = loss, where
        if key not in self._losses and len(self._losses) < _MOST_NAMED:
            by = LostBy(where) if isinstance(where, str) else self._lost_by(where)
            self._losses[key] = replace(loss, by=by)
        self._totals[self._losses.get(key, loss)] += number

    def totals(self) -> dict[Loss, int]:
        return dict(self._totals)


def _loss(records: LostRecords) -> Loss:
    if records.rule is not None:
        return Loss(LossCause.RATE_LIMIT, rule=records.rule)
    return Loss(LossCause.PROCESS_BUFFER_FULL if records.kind is Kind.PROCESSES else LossCause.CALL_BUFFER_FULL)
