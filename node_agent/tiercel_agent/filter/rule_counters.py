"""What the kernel counts by rule and control group: matches that it suppressed, and calls that the buffer had no room
for. The kernel's side is bpf/rate_limit.h."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct

from tiercel_agent.filter.tables import UNCLASSIFIED
from tiercel_agent.kernel.loading.libbpf import Map

_KEY = Struct("=QII")
_COUNTERS = Struct("=7Q")
SEVERAL_RULES = ""
"""Stands for a rule's key where too little is known of a call to say which rules it may match."""
_IDLE_READS = 60
"""An entry that hasn't changed for so many readings is deleted from the map."""


@dataclass(frozen=True, slots=True)
class Suppressed:
    """Matches of a rule, by its key, in one cgroup, by its id, that were counted and not reported one by one."""

    rule: str
    cgroup: int
    count: int


class RuleCounters:
    """Reads the counters of one set of programs.

    ``rules`` are the keys of the rules, in the order in which the programs number them from 1.
    """

    def __init__(self, map_: Map, rules: Sequence[str]) -> None:
        self._map = map_
        self._rules = rules
        self._seen: dict[bytes, tuple[int, int, int]] = {}
        self._idle: Counter[bytes] = Counter()
        self._passed: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()

    def read(self) -> list[Suppressed]:
        """What has been suppressed since the last reading. It is meant to be called about once a second."""
        suppressed = []
        for key, value in self._map.items(_KEY.size, _COUNTERS.size):
            cgroup, number, _ = _KEY.unpack(key)
            passed, suppressions, lost, *_ = _COUNTERS.unpack(value)
            before = self._seen.get(key, (0, 0, 0))
            if (passed, suppressions, lost) == before:
                self._delete_if_idle(key)
                continue
            self._idle.pop(key, None)
            self._seen[key] = (passed, suppressions, lost)
            rule = SEVERAL_RULES if number == UNCLASSIFIED else self._rules[number - 1]
            self._passed[rule] += passed - before[0]
            if lost > before[2]:
                self._lost[rule] += lost - before[2]
            if suppressions > before[1]:
                suppressed.append(Suppressed(rule, cgroup, suppressions - before[1]))
        return suppressed

    def passed(self) -> dict[str, int]:
        """By rule: the calls that were passed to user space because they may match it, up to the last reading."""
        return dict(self._passed)

    def lost(self) -> dict[str, int]:
        """By rule: the calls that may match it and were lost since the buffer was full, up to the last reading."""
        return dict(self._lost)

    def _delete_if_idle(self, key: bytes) -> None:
        self._idle[key] += 1
        if self._idle[key] > _IDLE_READS:
            self._map.delete(key)
            self._idle.pop(key)
            self._seen.pop(key, None)
