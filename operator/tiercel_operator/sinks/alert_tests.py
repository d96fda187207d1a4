"""Test alerts, which the annotation tiercel.dev/send-test asks for: which node sends one, and what became of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from tiercel_engine.located import located
from tiercel_engine.printable import printable
from tiercel_engine.resources.alert_sink import TestAlert
from tiercel_engine.resources.encoding import from_json
from tiercel_engine.resources.sink_config import WantedTest
from tiercel_operator.cluster.objects import Agent, StoredSink
from tiercel_operator.conditions import LONGEST_TEXT
from tiercel_operator.sinks.delivery_reports import DeliverySummary, is_silent, report_of

LOGGER = logging.getLogger(__name__)


def last_test(sink: StoredSink) -> TestAlert | None:
    """The last test alert as the status has it; None if there was none."""
    written: Mapping[str, Any] | None = sink.status.get("test")
    try:
        return from_json(TestAlert, written) if written else None
    except ValueError as error:  # not written by an operator
        name = f"{sink.origin.namespace}/{sink.origin.name}"
        LOGGER.warning("the test alert in the status of the AlertSink %s can't be read: %s", name, located(error))
        return None


def test_alert_of(
    sink: StoredSink, summary: DeliverySummary, agents: Mapping[str, Agent], silent_since: str, obstacle: str
) -> TestAlert | None:
    """The state of the test alert that is asked for; of the last one if none is.

    ``obstacle`` is why no node gets the sink, "" if nodes get it; the test waits as long as there is one. Another node
    takes over from a node that doesn't have the sink any more or hasn't reported since ``silent_since``, in RFC 3339.
    """
    last = last_test(sink)
    if not sink.wanted_test or (last is not None and last.id == sink.wanted_test and last.milliseconds is not None):
        return last
    if obstacle:
        return TestAlert(sink.wanted_test, error=f"not sent yet: {obstacle}"[:LONGEST_TEXT])
    under_way = last if last is not None and last.id == sink.wanted_test and last.node else None
    node = under_way.node if under_way is not None else ""
    report = report_of(agents, node, sink.origin)
    if report is None or is_silent(agents[node], silent_since):
        node = summary.best_node
        report = report_of(agents, node, sink.origin)
    if not node:
        return TestAlert(sink.wanted_test, error="not sent yet: no node has reported on this sink")
    if report is not None and report.test is not None and report.test.id == sink.wanted_test:
        test = report.test
        error = printable(test.error)[:LONGEST_TEXT] if test.error is not None else None
        return TestAlert(test.id, node, test.sent, test.milliseconds, error)
    if under_way is not None and under_way.node == node:
        return under_way  # an agent that was restarted doesn't report on it at first
    return TestAlert(sink.wanted_test, node)


def wanted_of(sink: StoredSink, test: TestAlert | None) -> WantedTest | None:
    """What the node is asked to send, until it has delivered the test alert; None if nothing."""
    if test is None or test.id != sink.wanted_test or not test.node or test.milliseconds is not None:
        return None
    return WantedTest(test.id, test.node)
