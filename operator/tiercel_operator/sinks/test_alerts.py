"""Test alerts that the annotation tiercel.dev/send-test asks for: which node sends one, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiercel_engine.printable import printable
from tiercel_engine.resources.alert_sink import TestAlert
from tiercel_engine.resources.encoding import from_json
from tiercel_engine.resources.sink_config import WantedTest
from tiercel_operator.objects import Agent, StoredSink
from tiercel_operator.sinks.delivery_reports import DeliverySummary, is_silent, report_of

_LONGEST = 1024


def last_test(sink: StoredSink) -> TestAlert | None:
    """What the status says of the last test alert."""
    found: Mapping[str, Any] | None = sink.status.get("test")
    try:
        return from_json(TestAlert, found) if found else None
    except ValueError:
        return None  # written by others


def test_alert_of(
    sink: StoredSink, summary: DeliverySummary, agents: Mapping[str, Agent], silent_since: str, obstacle: str
) -> TestAlert | None:
    """What is to be said of the test alert that is asked for, of the last one if none is.

    ``obstacle`` is why no node gets the sink, "" if nothing keeps it from them; the test waits until then. A node that
    has the sink no more, or is silent, is relieved by another one.
    """
    last = last_test(sink)
    if not sink.wanted_test or (last is not None and last.id == sink.wanted_test and last.milliseconds is not None):
        return last
    if obstacle:
        return TestAlert(sink.wanted_test, error=f"not sent yet: {obstacle}"[:_LONGEST])
    under_way = last if last is not None and last.id == sink.wanted_test and last.node else None
    node = under_way.node if under_way is not None else ""
    report = report_of(agents, node, sink.origin)
    if report is None or is_silent(agents[node], silent_since):
        node = summary.best_node
        report = report_of(agents, node, sink.origin)
    if not node:
        return TestAlert(sink.wanted_test, error="not sent yet: no node has told of this sink")
    if report is not None and report.test is not None and report.test.id == sink.wanted_test:
        told = report.test
        error = printable(told.error)[:_LONGEST] if told.error is not None else None
        return TestAlert(told.id, node, told.sent, told.milliseconds, error)
    if under_way is not None and under_way.node == node:
        return under_way  # an agent that has started anew says nothing of it at first
    return TestAlert(sink.wanted_test, node)


def wanted_of(sink: StoredSink, test: TestAlert | None) -> WantedTest | None:
    """What the node is to be told, until it has delivered the test alert."""
    if test is None or test.id != sink.wanted_test or not test.node or test.milliseconds is not None:
        return None
    return WantedTest(test.id, test.node)
