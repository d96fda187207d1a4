"""What the kernel counted by rule and cgroup: matches that it suppressed, calls without room (bpf/rate_limit.h)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct

from tiercel_agent.filter.tables import UNCLASSIFIED
from tiercel_agent.kernel.loading.libbpf import Map

_KEY = Struct("=QII")
_SHARE = Struct("=7Q")
_UNKNOWN_RULE = "several rules"
_IDLE = 60
"""Looks after which the kernel may forget a share that nothing has come of."""


@dataclass(frozen=True, slots=True)
class Suppressed:
    """Matches of a rule, by its key, in one cgroup, by its id, that were counted and not reported one by one."""

    rule: str
    cgroup: int
    count: int


class Shares:
    """Reads the counts of one set of programs."""

    def __init__(self, map_: Map, rules: Sequence[str]) -> None:
        self._map = map_
        self._rules = rules
        self._seen: dict[bytes, tuple[int, int, int]] = {}
        self._idle: Counter[bytes] = Counter()
        self._passed: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()

    def look(self) -> list[Suppressed]:
        """What has been suppressed since the last look. To be called about once a second."""
        suppressed = []
        for key, value in self._map.items(_KEY.size, _SHARE.size):
            cgroup, number, _ = _KEY.unpack(key)
            passed, suppressions, lost, *_ = _SHARE.unpack(value)
            before = self._seen.get(key, (0, 0, 0))
            if (passed, suppressions, lost) == before:
                self._forget_idle(key)
                continue
            self._idle.pop(key, None)
            self._seen[key] = (passed, suppressions, lost)
            rule = _UNKNOWN_RULE if number == UNCLASSIFIED else self._rules[number - 1]
            self._passed[rule] += passed - before[0]
            if lost > before[2]:
                self._lost[rule] += lost - before[2]
            if suppressions > before[1]:
                suppressed.append(Suppressed(rule, cgroup, suppressions - before[1]))
        return suppressed

    def passed(self) -> dict[str, int]:
        """Calls that went to user space for the sake of each rule, up to the last look."""
        return dict(self._passed)

    def lost(self) -> dict[str, int]:
        """Calls that each rule might have matched and that found no room in the buffer, up to the last look."""
        return dict(self._lost)

    def _forget_idle(self, key: bytes) -> None:
        self._idle[key] += 1
        if self._idle[key] > _IDLE:
            self._map.delete(key)
            self._idle.pop(key)
            self._seen.pop(key, None)
