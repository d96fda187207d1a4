"""From AlertSinks, their Secrets and what agents report, to the configuration for agents and the statuses."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tiercel_engine.resources.resource import time_text
from tiercel_engine.rule import Origin
from tiercel_operator.cluster.objects import Problem, StoredSink, check_failed
from tiercel_operator.cluster.state import State
from tiercel_operator.sinks.alert_tests import test_alert_of, wanted_of
from tiercel_operator.sinks.config import ClusterNetwork, Secrets, problem_of, sink_entries, sinks_file, too_many
from tiercel_operator.sinks.delivery_reports import add_up
from tiercel_operator.sinks.statuses import SinkFacts, differs, obstacle, sink_status, status_of_problem
from tiercel_operator.status_schedule import StatusSchedule, StatusWrite

LOGGER = logging.getLogger(__name__)

SILENT_AFTER = timedelta(minutes=15)
"""Agents report every five minutes at least. One that hasn't reported for this time is given no test alert."""


@dataclass(frozen=True, slots=True)
class SinkPlan:
    """What is to be written: the content of the file for the agents, and statuses."""

    content: bytes
    statuses: tuple[StatusWrite, ...]


class SinkPlanner:
    """Makes plans, and remembers when statuses were written. ``clock`` is in monotonic seconds."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._clock = clock
        self._now = now
        self._schedule = StatusSchedule(clock)

    def plan(self, state: State, secrets: Secrets) -> SinkPlan:
        now = self._now()
        silent_since = time_text(now - SILENT_AFTER)
        sinks = state.sinks
        beyond = too_many(sinks.values())
        problems = {origin: beyond.get(origin) or _problem(sink, secrets) for origin, sink in sinks.items()}
        good = [sink for origin, sink in sinks.items() if not sink.suspended and not problems[origin][0]]
        network = ClusterNetwork(state.cluster_addresses(), state.service_networks)
        entries = sink_entries(good, secrets, network)
        summaries = add_up(sinks.values(), state.agents.values(), self._clock(), silent_since)
        nodes = sorted(state.agents)
        tests, writes = {}, []
        for origin, sink in sinks.items():
            too_large = entries.too_large.get(origin, "")
            try:
                _, reason = obstacle(sink, problems[origin], too_large)
                test = test_alert_of(sink, summaries[origin], state.agents, silent_since, reason)
                wanted = wanted_of(sink, test)
                if wanted is not None:
                    tests[origin] = wanted
                facts = SinkFacts(sink, problems[origin], too_large, summaries[origin], nodes, test)
                status = sink_status(facts, now)
            except Exception as error:  # one object that nobody foresaw must not end the work on all others
                _log(sink, error)
                status = status_of_problem(sink, check_failed(error), now)
            if self._schedule.is_due(origin, differs(status, sink.status)):
                writes.append(StatusWrite(origin, status, sink.status))
        self._schedule.keep(sinks)
        return SinkPlan(sinks_file(entries, tests, network), tuple(writes))

    def written(self, origin: Origin) -> None:
        """Notes that the status of an AlertSink was written just now."""
        self._schedule.written(origin)


def _problem(sink: StoredSink, secrets: Secrets) -> Problem:
    """What is wrong with a sink. Whatever comes of it, agents are given only what can be written for them."""
    try:
        problem = problem_of(sink, secrets)
        sink_entries([sink] if not problem[0] else [], secrets)
    except Exception as error:
        _log(sink, error)
        return check_failed(error)
    return problem


def _log(sink: StoredSink, error: Exception) -> None:
    origin = sink.origin
    LOGGER.error("AlertSink %s/%s can't be handled: %s", origin.namespace, origin.name, check_failed(error)[1])
