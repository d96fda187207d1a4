"""What the engine loop needs of a detector: the events of this machine, and what was lost on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tiercel_agent.filter.rule_counters import Suppressed
from tiercel_engine.event import Event
from tiercel_engine.matching.requirements import Requirements
from tiercel_engine.rule import Rule


@dataclass(frozen=True, slots=True)
class Counters:
    """Totals since the source was opened."""

    events: int = 0
    """Events that reached user space."""
    lost: Mapping[str, int] = field(default_factory=dict)
    """Events lost, by cause in words."""
    system_calls: frozenset[str] = frozenset()
    """The system calls that are watched now."""
    stopped: int = 0
    """Calls that were left in the kernel, because no rule can match them."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a detector that measures has counted: system calls made, by name; calls that reached user space for the sake
    of each rule; nanoseconds that the programs have run at system calls while that was accounted, and how often."""

    seen: Mapping[str, int]
    passed: Mapping[str, int]
    run_time: int
    runs: int


@dataclass(frozen=True, slots=True)
class Concerned:
    """A rule by its key: so many of the event types that it can match are not seen, of so many."""

    key: str
    lost: int
    types: int


@dataclass(frozen=True, slots=True)
class Unwatched:
    """A part that the kernel has refused: its name, the kernel's reason, what that costs in words, which calls are not
    seen, and the rules that these concern."""

    part: str
    reason: str
    cost: str
    calls: tuple[str, ...]
    rules: tuple[Concerned, ...]


class EventSource(Protocol):
    """Events in the order in which they reach user space. One thread calls all methods."""

    @property
    def notes(self) -> Sequence[str]:
        """One line for each thing that this kernel lacks or can't take of the rules, and what it costs."""

    def troubles(self) -> Sequence[str]:
        """One line for each thing that it can't learn at present, and what that costs."""

    def unwatched(self) -> Sequence[Unwatched]:
        """What this kernel doesn't let it see of what the rules ask for; it is among the notes, too."""

    def poll(self, timeout: float) -> list[Event]:
        """Waits at most ``timeout`` seconds; empty when nothing came."""

    def update(self, requirements: Requirements, rules: Sequence[Rule]) -> list[Event]:
        """Watches for other rules from now on; the last events that are still for the rules before.

        Raises DetectorError, and goes on watching as before.
        """

    def evaluated(self, event: Event) -> None:
        """Told of an event that the rules were evaluated on: what they can't match of its like need not come."""

    def cgroup(self, event: Event) -> int:
        """The id of the cgroup in which the event occurred."""

    def release(self) -> list[Event]:
        """The events that still wait for what is to be learned of their containers: nothing comes after."""

    def suppressed(self) -> list[Suppressed]:
        """What of a flood was counted since the last call. To be called about once a second."""

    def counters(self) -> Counters: ...

    def close(self) -> None:
        """Detaches from the kernel. Closing twice is allowed."""
