"""What the kernel counts of each rule in each control group: calls that it passed on, and matches that it suppressed.
The kernel's side is bpf/rate_limit.h."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from struct import Struct

from tiercel_agent.filter.tables import UNCLASSIFIED
from tiercel_agent.kernel.loading.libbpf import Map
from tiercel_agent.kernel.loading.loader import Size
from tiercel_engine.matching.owners import SYSTEM, namespace_of
from tiercel_engine.rule import Rule

SEVERAL_RULES = ""
"""Stands for a rule's key where too little is known of a call to say which rules it may match."""
SEVERAL_CGROUPS = 0
"""Stands for a cgroup where the namespace of a rule has no room for one more."""
_ROOM = 16384
"""Counters of one rule in one cgroup, of all namespaces together. The system's rules have half of them."""
_KEY = Struct("=QII")
_COUNTERS = Struct("=5Q")
_POOL = Struct("=2I")
_IDLE_READS = 60
"""A counter that hasn't changed for so many readings is deleted."""


@dataclass(frozen=True, slots=True)
class Suppressed:
    """Matches of a rule, by its key, that were counted and not reported one by one; ``cgroup`` is the id of their
    cgroup, or SEVERAL_CGROUPS."""

    rule: str
    cgroup: int
    count: int


@dataclass(frozen=True, slots=True)
class CounterMaps:
    counters: Map
    pools: Map
    pool_of_rule: Map


class RuleCounters:
    """Reads the counters of one set of programs, whose maps have the sizes of ``counter_sizes``.

    ``rules`` are in the order in which the programs number them from 1. Each namespace has a part of the room:
    where its rules in many cgroups need more, matches in the others are counted together by rule.
    """

    def __init__(self, maps: CounterMaps, rules: Sequence[Rule]) -> None:
        self._maps = maps
        self._rules = [rule.key for rule in rules]
        pools = _pools(rules)
        self._pool_of_rule = [pools[namespace_of(rule)] for rule in rules]
        self._rooms = _rooms(len(pools))
        self._seen: dict[bytes, tuple[int, int]] = {}
        self._idle: Counter[bytes] = Counter()
        self._passed: Counter[str] = Counter()
        for number, pool in enumerate(self._pool_of_rule, start=1):
            maps.pool_of_rule.update(_u32(number), _u32(pool))
        for number in (*range(1, len(rules) + 1), UNCLASSIFIED):
            maps.counters.update(_KEY.pack(SEVERAL_CGROUPS, number, 0), bytes(_COUNTERS.size))
        self._tell_room([])

    def read(self) -> list[Suppressed]:
        """What has been suppressed since the last reading. It is meant to be called about once a second."""
        suppressed, kept = [], []
        for key, value in self._maps.counters.items(_KEY.size, _COUNTERS.size):
            cgroup, number, _ = _KEY.unpack(key)
            passed, suppressions, *_ = _COUNTERS.unpack(value)
            before = self._seen.get(key, (0, 0))
            if (passed, suppressions) == before and cgroup != SEVERAL_CGROUPS and self._is_deleted(key):
                continue
            if cgroup != SEVERAL_CGROUPS:
                kept.append(number)
            if (passed, suppressions) == before:
                continue
            self._idle.pop(key, None)
            self._seen[key] = (passed, suppressions)
            rule = SEVERAL_RULES if number == UNCLASSIFIED else self._rules[number - 1]
            self._passed[rule] += passed - before[0]
            if suppressions > before[1]:
                suppressed.append(Suppressed(rule, cgroup, suppressions - before[1]))
        self._tell_room(kept)
        return suppressed

    def passed(self) -> dict[str, int]:
        """By rule: the calls that were passed to user space because they may match it, up to the last reading."""
        return dict(self._passed)

    def _is_deleted(self, key: bytes) -> bool:
        """Notes that a counter hasn't changed, and deletes it after a while."""
        self._idle[key] += 1
        if self._idle[key] <= _IDLE_READS:
            return False
        self._maps.counters.delete(key)
        self._idle.pop(key)
        self._seen.pop(key, None)
        return True

    def _tell_room(self, kept: Iterable[int]) -> None:
        """Tells the kernel how much of each namespace's room is in use, by the rules' numbers of the counters."""
        used = Counter(0 if number == UNCLASSIFIED else self._pool_of_rule[number - 1] for number in kept)
        for pool, room in enumerate(self._rooms):
            self._maps.pools.update(_u32(pool), _POOL.pack(used[pool], room))


def counter_sizes(rules: Sequence[Rule]) -> dict[str, Size]:
    """The sizes of the maps for these rules."""
    numbers = len(rules) + 1
    return {
        "rule_counters": Size(_ROOM + numbers, _COUNTERS.size),
        "counter_pools": Size(len(_pools(rules)), _POOL.size),
        "pool_of_rule": Size(numbers, 4),
    }


def _pools(rules: Sequence[Rule]) -> dict[str, int]:
    """The number of each namespace; that of the system is 0."""
    others = dict.fromkeys(namespace_of(rule) for rule in rules)
    others.pop(SYSTEM, None)
    return {SYSTEM: 0, **{namespace: number for number, namespace in enumerate(others, start=1)}}


def _rooms(pools: int) -> list[int]:
    others = pools - 1
    return [_ROOM // 2, *[_ROOM // 2 // others] * others] if others else [_ROOM]


def _u32(number: int) -> bytes:
    return number.to_bytes(4, "little")
