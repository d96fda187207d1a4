"""The delivery reports of all nodes, added up for each AlertSink."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tiercel_engine.resources.node_agent import SinkDeliveryReport
from tiercel_engine.rule import Origin
from tiercel_operator.cluster.objects import Agent, StoredSink

Error = tuple[str, str, str]
"""When it happened, in RFC 3339, on which node, and its message."""


@dataclass(slots=True)
class DeliverySummary:
    """The sum of the reports on one AlertSink. Alerts of its earlier generations are counted too."""

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
    """Nodes that have this generation and whose last attempt failed."""
    failure: Error | None = None
    """The latest failure on those nodes."""
    losing: list[str] = field(default_factory=list)
    """Nodes that lost alerts lately."""
    _best: tuple[bool, bool, bool, str] | None = None

    @property
    def best_node(self) -> str:
        """The node that is most likely to deliver a test alert: it has reported lately, has this generation, and its
        last attempt didn't fail. "" if no node has the sink."""
        return self._best[-1] if self._best is not None else ""

    def add(self, agent: Agent, report: SinkDeliveryReport, silent: bool, loses: bool) -> None:
        """Adds the report of one agent. ``silent`` is whether that agent hasn't reported for long, ``loses`` whether it
        lost alerts of the sink lately."""
        node = agent.node
        self.delivered += report.delivered
        self.retried += report.retried
        self.lost += report.lost
        self.queued += report.queued
        self.silenced += report.silenced
        self.suppressed += report.suppressed
        if report.last_success is not None and report.last_success > self.last_success:
            self.last_success = report.last_success
        error = None
        if report.last_error is not None:
            error = report.last_error.time, node, report.last_error.message or "no reason was given"
            self.last_error = _later(self.last_error, error)
        is_current = report.generation == self.generation
        if is_current:
            self.in_force.add(node)
            if report.failing:
                self.failing.append(node)
                self.failure = _later(self.failure, error)
        if loses:
            self.losing.append(node)
        choice = silent, not is_current, report.failing, node
        if self._best is None or choice < self._best:
            self._best = choice


def _later(one: Error | None, other: Error | None) -> Error | None:
    return max(filter(None, (one, other)), default=None)


def add_up(
    sinks: Iterable[StoredSink], agents: Iterable[Agent], clock: float, silent_since: str
) -> dict[Origin, DeliverySummary]:
    """What agents report, by sink. There may be thousands of agents with dozens of reports each: each is read once.

    ``clock`` is in monotonic seconds; agents that last reported before ``silent_since``, in RFC 3339, may be gone.
    """
    summaries = {sink.origin: DeliverySummary(sink.generation) for sink in sinks}
    by_name = {(origin.namespace, origin.name): each for origin, each in summaries.items()}
    for agent in agents:
        silent = is_silent(agent, silent_since)
        for report in agent.status.sinks:
            name = report.namespace, report.name
            summary = by_name.get(name)
            if summary is not None:
                summary.add(agent, report, silent, bool(agent.sinks_lost_at) and agent.loses_of(name, clock))
    return summaries


def is_silent(agent: Agent, since: str) -> bool:
    """Whether an agent hasn't reported since a moment in RFC 3339."""
    return agent.status.last_report is not None and agent.status.last_report < since


def report_of(agents: Mapping[str, Agent], node: str, origin: Origin) -> SinkDeliveryReport | None:
    """The report of a node on a sink; None if the node doesn't have it."""
    agent = agents.get(node)
    if agent is None:
        return None
    name = origin.namespace, origin.name
    return next((each for each in agent.status.sinks if (each.namespace, each.name) == name), None)
