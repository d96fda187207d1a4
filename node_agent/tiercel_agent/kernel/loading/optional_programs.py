"""Which programs can be done without, and what can't be had then.

A kernel may refuse one of many programs, or lack a tracepoint. A program that stands here is then left out and the rest
watches; every other is needed, and nothing is watched without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dependents:
    """What there isn't without a program."""

    families: frozenset[int] = frozenset()
    """FAMILY_… of bpf/maps.h: calls of these can't be reported."""
    learns_processes: bool = False
    """The filter must learn nothing of processes: a change that makes it void would go unnoticed."""
    cost: str = ""
    """What else that costs, in words."""


OPTIONAL: Mapping[str, Dependents] = {
    "plain": Dependents(families=frozenset({1})),
    "paths": Dependents(families=frozenset({2})),
    "descriptor": Dependents(families=frozenset({3})),
    "message": Dependents(families=frozenset({4})),
    "exec_failed": Dependents(families=frozenset({5})),
    "on_rename": Dependents(
        learns_processes=True,
        cost="more calls come to user space, since the kernel can't be told which processes no rule can match",
    ),
    "cgroup_made": Dependents(cost="a container is known from its first event on, and not before"),
    "cgroup_gone": Dependents(cost="that a container has gone is not noticed"),
}
