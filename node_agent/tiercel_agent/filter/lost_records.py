"""Records that the kernel had no room for, counted by the control group that lost them and the rule that they may have
matched. The kernel's side is bpf/shares.h."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from struct import Struct

from tiercel_agent.filter.tables import UNCLASSIFIED
from tiercel_agent.kernel.loading.libbpf import Map

_KEY = Struct("=QII")
_COUNT = Struct("=Q")
_IDLE_READS = 60
"""A count that hasn't grown for so many readings is deleted from the map."""


class Kind(Enum):
    """Of which ring: the numbers LOST_… of bpf/maps.h."""

    CALLS = 0
    PROCESSES = 1


@dataclass(frozen=True, slots=True)
class LostRecords:
    """``cgroup`` is an id. ``rule`` is a rule's key, "" if several rules may match; None if it isn't by a rule that the
    records were sent."""

    kind: Kind
    cgroup: int
    rule: str | None
    count: int


class LossCounters:
    """Reads the counts of one set of programs. ``rules`` are the keys of the rules, numbered from 1."""

    def __init__(self, map_: Map, rules: Sequence[str]) -> None:
        self._map = map_
        self._rules = rules
        self._seen: dict[bytes, int] = {}
        self._idle: Counter[bytes] = Counter()

    def read(self) -> list[LostRecords]:
        """What was lost since the last reading. It is meant to be called about once a second."""
        lost = []
        for key, value in self._map.items(_KEY.size, _COUNT.size):
            (count,) = _COUNT.unpack(value)
            before = self._seen.get(key, 0)
            if count == before:
                self._delete_if_idle(key)
                continue
            self._idle.pop(key, None)
            self._seen[key] = count
            cgroup, number, kind = _KEY.unpack(key)
            lost.append(LostRecords(Kind(kind), cgroup, self._rule(number), count - before))
        return lost

    def _rule(self, number: int) -> str | None:
        if number == UNCLASSIFIED:
            return ""
        return self._rules[number - 1] if number else None

    def _delete_if_idle(self, key: bytes) -> None:
        self._idle[key] += 1
        if self._idle[key] > _IDLE_READS:
            self._map.delete(key)
            self._idle.pop(key)
            self._seen.pop(key, None)
