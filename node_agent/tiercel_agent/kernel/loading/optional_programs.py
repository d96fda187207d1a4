"""The programs that the others work without, and what is missing then.

A kernel may refuse one of the programs, or lack a tracepoint. If the program is listed here, it is left out and the
others watch. Every other program is needed: without it nothing is watched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tiercel_agent.kernel.bytecode.hook_points import HOOK_POINTS


@dataclass(frozen=True, slots=True)
class Dependents:
    """What is missing without a program."""

    families: frozenset[int] = frozenset()
    """FAMILY_… of bpf/maps.h: calls of these can't be reported."""
    learns_processes: bool = False
    """The filter must learn nothing of processes: a change that makes it void would go unnoticed."""
    cost: str = ""
    """What else is missing, in words."""


AT_THE_RETURN = (
    "what a call did is looked at when it returns, so that a program may hide it if it exchanges descriptors, names or "
    "addresses meanwhile"
)
"""What is missing without a program at a hook of the kernel."""
RINGS_UNSEEN = "what programs do by io_uring isn't seen"
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
    "rings": Dependents(cost=RINGS_UNSEEN),
    **{program: Dependents(cost=AT_THE_RETURN) for program in HOOK_POINTS},
}
