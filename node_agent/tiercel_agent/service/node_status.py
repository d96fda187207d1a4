"""What an agent reports of itself: the status of its node's NodeAgent, which nobody else writes."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

from tiercel_agent.background import BackgroundThread
from tiercel_agent.detection.partial import only_failed
from tiercel_agent.detection.source import Counters, Unwatched
from tiercel_agent.evaluation.loop import RuleAlerts
from tiercel_agent.evaluation.rule_set import RuleSet
from tiercel_agent.logs import located
from tiercel_agent.loss import Losses
from tiercel_agent.warning import AgentWarning, describe
from tiercel_engine import __version__
from tiercel_engine.api_group import API_VERSION
from tiercel_engine.printable import printable
from tiercel_engine.resources import node_agent
from tiercel_engine.resources.encoding import to_json
from tiercel_engine.resources.node_agent import NodeAgentStatus, SinkDeliveryReport, WarningKind
from tiercel_engine.resources.resource import Condition, ConditionStatus, time_text

LOGGER = logging.getLogger(__name__)

EVERY = 30.0
"""Seconds between two reports in which only counters have grown."""
HEARTBEAT = 300.0
"""Seconds between two reports although nothing has changed."""
_AT_LEAST = 1.0
_MOST = 500  # rules and names that are in the status one by one
_LONGEST = 500  # characters of one reason
_MANAGER = "tiercel-agent"
_PATH = f"/apis/{API_VERSION}/nodeagents/{{}}"
_TIMEOUT = 10.0


class Applies(Protocol):
    """The API, as far as reports need it."""

    def apply(self, path: str, manager: str, body: Mapping[str, Any], timeout: float) -> None: ...


def status_of(
    rules: RuleSet,
    counters: Counters,
    warnings: Iterable[AgentWarning],
    alerts: Iterable[RuleAlerts],
    since: str,
    sinks: tuple[SinkDeliveryReport, ...] = (),
    unwatched: Sequence[Unwatched] = (),
    hooks: str = "",
) -> NodeAgentStatus:
    """The status without the time of the report. ``since`` is when the rules came into force, in RFC 3339, ``hooks`` as
    the event source tells it."""
    latest = sorted(alerts, key=lambda each: -each.last)[:_MOST]
    return NodeAgentStatus(
        conditions=(_ready(rules, since),),
        version=__version__,
        kernel=platform.release(),
        hooks=hooks or "none",
        bundle=rules.bundle,
        rules=len(rules.rules),
        refused=tuple(
            node_agent.RefusedRule(f"{each.origin.namespace}/{each.origin.name}", each.reason[:_LONGEST])
            for each in rules.refused[:_MOST]
        ),
        warnings=_warnings(warnings),
        unwatched=tuple(map(_unwatched, unwatched)),
        events_seen=counters.events,
        lost=_lost(counters.lost),
        alerts=tuple(
            node_agent.RuleAlerts(each.origin.namespace, each.origin.name, each.rule, each.count, _time(each.last))
            for each in latest
        ),
        sinks=sinks,
    )


def _warnings(warnings: Iterable[AgentWarning]) -> tuple[node_agent.NodeWarning, ...]:
    """The warnings, with a bounded number of names together. Those that tenants can cause come last, so that they don't
    push out the others."""
    told = sorted(warnings, key=lambda warning: warning.kind is WarningKind.FILTER_BUDGET_EXCEEDED)[:_MOST]
    names = _MOST // max(1, len(told))
    return tuple(
        node_agent.NodeWarning(each.kind, printable(describe(each))[:_LONGEST], each.names[:names]) for each in told
    )


def _unwatched(part: Unwatched) -> node_agent.UnwatchedPart:
    rules = tuple(node_agent.ConcernedRule(rule.key, rule.missing, rule.types) for rule in part.rules[:_MOST])
    reason, failed = part.reason[:_LONGEST], only_failed(part.calls)
    return node_agent.UnwatchedPart(part.part, reason, part.calls, failed, part.cost, rules)


def _lost(lost: Losses) -> node_agent.Lost:
    # those that tenants can cause come last, so that they don't push out the others
    most = sorted(lost.items(), key=lambda item: (bool(item[0].namespace), -item[1]))[:_MOST]
    by_cause = tuple(
        node_agent.LossOfCause(
            cause=loss.cause,
            count=count,
            rule=loss.rule,
            namespace=loss.namespace,
            pod=loss.by.pod,
            container=loss.by.container,
            cgroup=loss.by.cgroup,
        )
        for loss, count in most
    )
    return node_agent.Lost(sum(lost.values()), by_cause)


def _ready(rules: RuleSet, since: str) -> Condition:
    if rules.bundle:
        return Condition("Ready", ConditionStatus.TRUE, "Running", f"bundle {rules.bundle} is in force", since)
    return Condition("Ready", ConditionStatus.FALSE, "NoBundle", "there is no bundle of rules yet", since)


def _time(nanoseconds: int) -> str:
    return time_text(datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC))


class Reporter:
    """Writes the latest status that it was offered, in a thread of its own, so that nothing else waits for the API."""

    def __init__(self, api: Applies, node: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._node = node
        self._clock = clock
        self._offered: NodeAgentStatus | None = None
        self._written: NodeAgentStatus | None = None
        self._at = float("-inf")
        self._failures = 0
        self._thread = BackgroundThread("report", self._run)
        self._thread.start()

    def offer(self, status: NodeAgentStatus) -> None:
        """Returns at once."""
        self._offered = status
        if self._written is None or _without_counters(status) != _without_counters(self._written):
            self._thread.wake()

    def close(self) -> None:
        """Ends the thread. A status that isn't written yet is dropped."""
        self._thread.stop()

    def _run(self) -> None:
        while not self._thread.stopping:
            self._thread.pause(_AT_LEAST)
            offered = self._offered
            if offered is not None and not self._thread.stopping and self._is_due(offered):
                self._write(offered)
                self._thread.rest(_AT_LEAST)

    def _is_due(self, offered: NodeAgentStatus) -> bool:
        passed = self._clock() - self._at
        if self._failures:
            return passed >= min(EVERY, 2.0**self._failures)
        if self._written is None or _without_counters(offered) != _without_counters(self._written):
            return True
        return passed >= (EVERY if offered != self._written else HEARTBEAT)

    def _write(self, offered: NodeAgentStatus) -> None:
        self._at = self._clock()
        try:
            if self._written is None:
                self._api.apply(_PATH.format(self._node), _MANAGER, self._object({}), _TIMEOUT)
            status = to_json(replace(offered, last_report=time_text()))
            path = _PATH.format(self._node) + "/status"
            self._api.apply(path, _MANAGER, self._object({"status": status}), _TIMEOUT)
        except Exception as error:  # detection goes on whatever is wrong with the API, and it is tried again
            if not self._failures:
                LOGGER.warning("this node's status can't be written: %s (%s)", error, located(error))
            self._failures, self._written = self._failures + 1, None
            return
        if self._failures:
            LOGGER.info("this node's status is written again")
        self._failures, self._written = 0, offered

    def _object(self, more: Mapping[str, Any]) -> dict[str, Any]:
        metadata = {"name": self._node}
        return {"apiVersion": API_VERSION, "kind": "NodeAgent", "metadata": metadata, **more}


def _without_counters(status: NodeAgentStatus) -> NodeAgentStatus:
    alerted = tuple(sorted((replace(each, count=0, last=None) for each in status.alerts), key=repr))
    return replace(
        status, events_seen=None, lost=None, alerts=alerted, sinks=tuple(map(_report_without_counters, status.sinks))
    )


def _report_without_counters(report: SinkDeliveryReport) -> SinkDeliveryReport:
    """The report without growing numbers, but with whether alerts were delivered or lost at all, and with the error."""
    error, test = report.last_error, report.test
    return replace(
        report,
        delivered=bool(report.delivered),
        lost=bool(report.lost),
        retried=0,
        queued=0,
        silenced=0,
        suppressed=0,
        last_success=None,
        last_error=replace(error, time="") if error is not None else None,
        test=replace(test, error=None) if test is not None else None,
    )
