"""What of the kernel's filter the rules of each namespace may take, so that no namespace takes what others need.

The rules of the system, which are those of the system's namespace and those of files, have a part of their own that no
other rules can use up. All other namespaces share what is left of a partition, and each gets at most a certain number.
If that isn't enough for all, a namespace that asks for little gets it, and the others get the same number each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_ADDED = 2
"""Clauses that a partition may have beside those of rules: for namespaces beyond their budget, and for the system."""


@dataclass(frozen=True, slots=True)
class FilterBudget:
    """Numbers of clauses in one partition, and of states of the automata for names."""

    shared: int = 64 * 64
    """All clauses together: MAX_WORDS of bpf/decide.h."""
    system: int = 3072
    """Of the system's rules."""
    namespace: int = 256
    """Of the rules of any other namespace."""
    parts: int = 128
    """A clause of a namespace's rule counts as one for each so many parts of the rule's condition, constants included,
    since parts cost time and memory. For the system's rules, parts don't count."""
    states: int = 40_000
    """Of an automaton for names, for all rules together."""
    floating_states: int = 6_000
    """Of the automaton for names that contain or end with something, beyond those that its literals need at least."""

    map_bytes: int = 8 << 20
    """Of the automata together, and of all candidate sets: each is one value of a map, and some kernels take less."""

    def for_namespaces(self, of_system: int) -> int:
        """What is left for all other namespaces together if the system's rules have so many clauses."""
        return max(0, self.shared - _ADDED - of_system)

    @property
    def for_system(self) -> int:
        """The most clauses of the system's rules."""
        return min(self.system, self.shared - _ADDED)


BUDGET = FilterBudget()


def fair_shares(needs: Mapping[str, int], room: int) -> dict[str, int]:
    """Divides ``room`` among those that need something of it, by their names. Nobody gets more than it needs.

    Who needs no more than an equal share of the room gets what it needs; what it leaves is divided among the others.
    Where the room can't be divided equally, those that need least get one more, and among these the first by name. So
    some get nothing if there are more of them than the room has places.
    """
    shares = {}
    waiting = len(needs)
    for name, need in sorted(needs.items(), key=lambda item: (item[1], item[0])):
        shares[name] = min(need, -(-room // waiting))
        room -= shares[name]
        waiting -= 1
    return shares
