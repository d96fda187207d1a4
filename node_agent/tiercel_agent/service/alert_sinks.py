"""The AlertSinks that the operator has made for this node, and what became of their alerts.

The kubelet changes the mounted file under the agent, some time after the operator has changed the Secret.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tiercel_agent.delivery.dispatcher import DeliveryReport, Dispatcher
from tiercel_agent.delivery.totals import Failure, TestResult
from tiercel_agent.sinks.model import Place, SinkSettings
from tiercel_engine.alert import Alert
from tiercel_engine.printable import printable
from tiercel_engine.priority import Priority
from tiercel_engine.resources.alert_sink import DeliveryError, TestAlert
from tiercel_engine.resources.node_agent import SinkDeliveryReport
from tiercel_engine.resources.resource import time_text
from tiercel_engine.resources.sink_config import SinkConfig, UnreadSink, read_sinks
from tiercel_engine.scope import SYSTEM_NAMESPACE

LOGGER = logging.getLogger(__name__)

RULE = "Tiercel: test alert"
_LONGEST = 1024

Key = tuple[str, str]


class AlertSinks:
    """Tells the dispatcher which sinks there are: the agent's ``own``, and those of the file. One thread calls it."""

    def __init__(
        self,
        path: Path | None,
        own: Sequence[SinkSettings],
        dispatcher: Dispatcher,
        place: Place,
        set_cluster: Callable[[Sequence[str], Sequence[str]], None] = lambda _addresses, _services: None,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self._path = path
        self._own = own
        self._dispatcher = dispatcher
        self._place = place
        self._set_cluster = set_cluster
        self._now = now
        self._content: bytes | None = None
        self._warning = ""
        self._unread: Sequence[UnreadSink] = ()
        self._read_at = 0.0
        self._configs: Mapping[Key, SinkConfig] = {}
        self._tested: dict[Key, str] = {}
        if path is None:
            dispatcher.use(own)

    def look(self) -> None:
        """Reads the file if it has changed. Nothing changes while it isn't there or can't be read."""
        if self._path is None:
            return
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            content = b'{"sinks": []}' if self._content is None else self._content  # the operator has made none yet
        except OSError as error:
            self._unreadable(error.strerror)
            return
        if content == self._content:
            return
        try:
            configs = read_sinks(content)
        except ValueError as error:
            self._unreadable(str(error))
            return
        self._content, self._warning = content, ""
        for each in configs.unread:
            LOGGER.error("AlertSink %s/%s: %s", each.namespace, each.name, each.message)
        self._unread, self._read_at = configs.unread, self._now() / 1e9
        self._set_cluster(configs.cluster_addresses, configs.service_networks)
        self._use(configs.sinks)

    def delivery_reports(self) -> tuple[SinkDeliveryReport, ...]:
        """What became of the alerts of each sink; the agent's own are in no namespace."""
        reports = [_unread_report(each, self._read_at, self._place.node) for each in self._unread if each.namespace]
        for each in self._dispatcher.delivery_reports():
            config = self._configs.get((each.settings.namespace, each.settings.name))
            if config is not None or not each.settings.namespace:
                reports.append(_delivery_report(each, config.generation if config is not None else 0, self._place.node))
        return tuple(reports)

    def _use(self, sinks: Sequence[SinkConfig]) -> None:
        self._configs = {(each.namespace, each.name): each for each in sinks}
        has_events = any(each.namespace == SYSTEM_NAMESPACE and each.spec.events is not None for each in sinks)
        # An AlertSink that says how the cluster's Events are to be takes the place of those that are there by default.
        own = [each for each in self._own if not (has_events and each.spec.events is not None)]
        given = [SinkSettings(each.name, each.spec, each.namespace, each.secrets) for each in sinks]
        self._dispatcher.use([*own, *given])
        for key, each in self._configs.items():
            if each.test is not None and each.test.node == self._place.node and self._tested.get(key) != each.test.id:
                self._tested[key] = each.test.id
                self._dispatcher.send_test(key, each.test.id, self._test_alert(each))
        self._tested = {key: value for key, value in self._tested.items() if key in self._configs}
        LOGGER.info("%d AlertSinks", len(sinks))

    def _test_alert(self, sink: SinkConfig) -> Alert:
        assert sink.test is not None
        return Alert(
            time=self._now(),
            rule=RULE,
            priority=Priority.NOTICE,
            source="internal",
            hostname=self._place.hostname,
            output=f"This is a test of the AlertSink {sink.namespace}/{sink.name}, asked for as {sink.test.id!r}",
            tags=("tiercel",),
            output_fields={"k8s.node.name": self._place.node, "tiercel.test": sink.test.id},
        )

    def _unreadable(self, why: str | None) -> None:
        self._warn(f"{self._path}: {why}: the sinks stay as they are")
        if self._content is None:  # at the start: those that the agent has of itself are there all the same
            self._content = b""
            self._use(())

    def _warn(self, warning: str) -> None:
        if warning != self._warning:
            LOGGER.error("%s", warning)
        self._warning = warning


def _delivery_report(report: DeliveryReport, generation: int, node: str) -> SinkDeliveryReport:
    totals = report.totals
    return SinkDeliveryReport(
        namespace=report.settings.namespace,
        name=report.settings.name,
        generation=generation,
        failing=totals.failing,
        delivered=totals.delivered,
        retried=totals.retried,
        lost=totals.lost,
        queued=totals.queued,
        silenced=report.silenced,
        suppressed=report.suppressed,
        last_success=_time(totals.last_success) if totals.last_success is not None else None,
        last_error=_error(totals.last_failure, node) if totals.last_failure is not None else None,
        test=_test(totals.test, node) if totals.test is not None else None,
    )


def _unread_report(sink: UnreadSink, at: float, node: str) -> SinkDeliveryReport:
    error = _error(Failure(at, printable(sink.message)), node)
    return SinkDeliveryReport(
        namespace=sink.namespace,
        name=sink.name,
        generation=sink.generation,
        failing=True,
        delivered=0,
        retried=0,
        lost=0,
        queued=0,
        silenced=0,
        suppressed=0,
        last_error=error,
    )


def _error(failure: Failure, node: str) -> DeliveryError:
    return DeliveryError(_time(failure.at), failure.message[:_LONGEST], node)


def _test(result: TestResult, node: str) -> TestAlert:
    took = round(result.took * 1000) if result.took is not None else None
    return TestAlert(result.id, node, _time(result.sent), took, result.error[:_LONGEST] or None)


def _time(seconds: float) -> str:
    return time_text(datetime.fromtimestamp(seconds, UTC))
