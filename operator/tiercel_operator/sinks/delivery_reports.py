"""What all nodes tell of each AlertSink, added up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tiercel_engine.resources.node_agent import SinkReceipt
from tiercel_engine.rule import Origin
from tiercel_operator.objects import Agent, StoredSink

Error = tuple[str, str, str]
"""When it was, on which node, and its message."""


@dataclass(slots=True)
class Receipts:
    """Those of one AlertSink. Alerts of earlier generations count too."""

    generation: int
    delivered: int = 0
    retried: int = 0
    lost: int = 0
    queued: int = 0
    silenced: int = 0
    suppressed: int = 0
    last_success: str = ""
    last_error: Error | None = None
    in_force: set[str] = field(default_factory=set)
    """Nodes that have this generation."""
    failing: list[str] = field(default_factory=list)
    """Of these, those whose last attempt failed."""
    failure: Error | None = None
    """The latest of those nodes."""
    losing: list[str] = field(default_factory=list)
    """Nodes that lost alerts lately."""
    _best: tuple[bool, bool, bool, str] | None = None

    @property
    def best_node(self) -> str:
        """The one that is likeliest to deliver a test alert: it has reported lately, has this generation, and its last
        attempt didn't fail. "" if no node has the sink."""
        return self._best[-1] if self._best is not None else ""

    def add(self, agent: Agent, receipt: SinkReceipt, silent: bool, loses: bool) -> None:
        node = agent.node
        self.delivered += receipt.delivered
        self.retried += receipt.retried
        self.lost += receipt.lost
        self.queued += receipt.queued
        self.silenced += receipt.silenced
        self.suppressed += receipt.suppressed
        if receipt.last_success is not None and receipt.last_success > self.last_success:
            self.last_success = receipt.last_success
        error = None
        if receipt.last_error is not None:
            error = receipt.last_error.time, node, receipt.last_error.message or "no reason was given"
            self.last_error = _later(self.last_error, error)
        is_current = receipt.generation == self.generation
        if is_current:
            self.in_force.add(node)
            if receipt.failing:
                self.failing.append(node)
                self.failure = _later(self.failure, error)
        if loses:
            self.losing.append(node)
        choice = silent, not is_current, receipt.failing, node
        if self._best is None or choice < self._best:
            self._best = choice


def _later(one: Error | None, other: Error | None) -> Error | None:
    return max(filter(None, (one, other)), default=None)


def add_up(
    sinks: Iterable[StoredSink], agents: Iterable[Agent], clock: float, silent_since: str
) -> dict[Origin, Receipts]:
    """The receipts by sink. There may be thousands of agents with dozens of receipts each: each is looked at once.

    ``clock`` is in monotonic seconds; agents that last reported before ``silent_since``, in RFC 3339, may be gone.
    """
    found = {sink.origin: Receipts(sink.generation) for sink in sinks}
    by_name = {(origin.namespace, origin.name): each for origin, each in found.items()}
    for agent in agents:
        silent = is_silent(agent, silent_since)
        for receipt in agent.status.sinks:
            name = receipt.namespace, receipt.name
            receipts = by_name.get(name)
            if receipts is not None:
                receipts.add(agent, receipt, silent, bool(agent.sinks_lost_at) and agent.loses_of(name, clock))
    return found


def is_silent(agent: Agent, since: str) -> bool:
    return agent.status.last_report is not None and agent.status.last_report < since


def receipt_of(agents: Mapping[str, Agent], node: str, origin: Origin) -> SinkReceipt | None:
    """What a node tells of a sink, if it has it."""
    agent = agents.get(node)
    if agent is None:
        return None
    name = origin.namespace, origin.name
    return next((each for each in agent.status.sinks if (each.namespace, each.name) == name), None)
