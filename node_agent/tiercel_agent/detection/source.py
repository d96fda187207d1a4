"""What the engine loop needs of a detector: the events of this machine, and what is known of those that it misses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tiercel_agent.filter.rule_counters import Suppressed
from tiercel_agent.loss import Losses
from tiercel_agent.warning import AgentWarning
from tiercel_engine.event import Event
from tiercel_engine.matching.requirements import Requirements
from tiercel_engine.rule import Rule


@dataclass(frozen=True, slots=True)
class Counters:
    """Totals since the source was opened."""

    events: int = 0
    """Events that reached user space."""
    lost: Losses = field(default_factory=dict)
    """Events, or records of them, that were lost."""
    system_calls: frozenset[str] = frozenset()
    """The system calls that are watched now."""
    stopped: int = 0
    """System calls that the kernel did not report, because no rule can match them."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a detector that measures has counted."""

    seen: Mapping[str, int]
    """System calls that were made, by name."""
    passed: Mapping[str, int]
    """Calls that reached user space because of a rule, by the rule's key."""
    run_time: int
    """Nanoseconds that the programs have run at system calls, while the kernel accounted for it."""
    runs: int
    """How often they ran in that time."""


@dataclass(frozen=True, slots=True)
class Concerned:
    """A rule that doesn't see all that it asks for."""

    key: str
    missing: int
    """How many of the event types that it can match are not seen."""
    types: int
    """How many event types it can match."""


@dataclass(frozen=True, slots=True)
class Unwatched:
    """A part of the programs that the kernel has refused, while the rest watches."""

    part: str
    reason: str
    """Why the kernel refused it, for people."""
    cost: str
    """What that costs apart from calls, for people; "" if it costs nothing else."""
    calls: tuple[str, ...]
    """The system calls that are not seen."""
    rules: tuple[Concerned, ...]
    """The rules that can match these calls."""


class EventSource(Protocol):
    """Events in the order in which they reach user space. One thread calls all methods."""

    @property
    def lasting_warnings(self) -> Sequence[AgentWarning]:
        """What this machine lacks, and what it can't take of the rules. It changes with the rules alone."""

    def current_warnings(self) -> Sequence[AgentWarning]:
        """What can't be learned at present."""

    def unwatched(self) -> Sequence[Unwatched]:
        """What this kernel doesn't let it see of what the rules ask for. It changes with the rules alone."""

    @property
    def hooks(self) -> str:
        """How it is at the kernel's own hooks: ``LSM``, ``fexit``, or "" where calls are looked at when they return."""

    def poll(self, timeout: float) -> list[Event]:
        """Waits at most ``timeout`` seconds; empty when nothing came."""

    def load(self, requirements: Requirements, rules: Sequence[Rule]) -> None:
        """Begins to make what watches for other rules, and watches as before meanwhile."""

    def is_loading(self) -> bool:
        """Whether that isn't made yet."""

    def switch(self) -> list[Event]:
        """Watches for the rules that were loaded last from now on; waits until that can be. The last events that are
        still for the rules before.

        Raises DetectorError, and goes on watching as before.
        """

    def hold(self, event: Event) -> None:
        """Tells the source that it may take long until the event is evaluated: what can be read only while its process
        runs is read now."""

    def size(self, event: Event) -> int:
        """The bytes that the event takes, about."""

    def evaluated(self, event: Event) -> None:
        """Tells the source that the rules were evaluated on an event: it may stop what is like it and matches none."""

    def concerns_system(self, event: Event) -> bool:
        """Whether rules of the system may match the event. If not, only those of a namespace can."""

    def cgroup(self, event: Event) -> int:
        """The id of the cgroup in which the event occurred."""

    def finish(self) -> list[Event]:
        """Ends watching; all events that occurred until then and weren't handed out yet. To be called once, last."""

    def suppressed(self) -> list[Suppressed]:
        """The matches that were suppressed since the last call. To be called about once a second."""

    def counters(self) -> Counters: ...

    def close(self) -> None:
        """Detaches from the kernel. Closing twice is allowed."""
