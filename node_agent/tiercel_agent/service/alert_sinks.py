"""The AlertSinks that the operator has made for this node, and what became of their alerts.

The kubelet changes the mounted file under the agent, some time after the operator has changed the Secret.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tiercel_agent.background import BackgroundThread
from tiercel_agent.delivery.dispatcher import DeliveryReport, Dispatcher
from tiercel_agent.delivery.totals import Failure, TestResult
from tiercel_agent.logs import located
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
LOOK = 1.0
"""Seconds between two looks at the file."""
_LONGEST = 1024
_FIRST_LOOK = 5.0  # seconds for which an agent that starts waits for its sinks

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Read:
    """What stood in the file; ``at`` is seconds since the epoch."""

    configs: Mapping[Key, SinkConfig] = field(default_factory=dict)
    unread: Sequence[UnreadSink] = ()
    at: float = 0.0


class AlertSinks:
    """Tells the dispatcher which sinks there are: the agent's ``own``, and those of the file.

    Between ``start`` and ``close``, the file is looked at in a thread: a disk may not answer.
    """

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
        self._last = _Read()
        self._tested: dict[Key, str] = {}
        self._looked = threading.Event()
        self._thread = BackgroundThread("sinks", self._run)
        if path is None:
            dispatcher.use(own)

    def start(self) -> None:
        """Begins to look at the file. Has looked at it once afterwards, unless that takes very long."""
        if self._path is not None:
            self._thread.start()
            self._looked.wait(_FIRST_LOOK)

    def close(self) -> None:
        """Ends it, without waiting for a look that hangs."""
        self._thread.stop()

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
        self._set_cluster(configs.cluster_addresses, configs.service_networks)
        self._use(configs.sinks, configs.unread)

    def delivery_reports(self) -> tuple[SinkDeliveryReport, ...]:
        """What became of the alerts of each sink; the agent's own are in no namespace."""
        read, node = self._last, self._place.node
        reports = [_unread_report(each, read.at, node) for each in read.unread if each.namespace]
        for each in self._dispatcher.delivery_reports():
            config = read.configs.get((each.settings.namespace, each.settings.name))
            if config is not None or not each.settings.namespace:
                reports.append(_delivery_report(each, config.generation if config is not None else 0, node))
        return tuple(reports)

    def _run(self) -> None:
        while not self._thread.stopping:
            try:
                self.look()
            except Exception as error:  # the sinks that there are go on
                self._warn(f"the AlertSinks could not be taken: {located(error)}")
            self._looked.set()
            self._thread.pause(LOOK)

    def _use(self, sinks: Sequence[SinkConfig], unread: Sequence[UnreadSink] = ()) -> None:
        configs = {(each.namespace, each.name): each for each in sinks}
        self._last = _Read(configs, unread, self._now() / 1e9)
        has_events = any(each.namespace == SYSTEM_NAMESPACE and each.spec.events is not None for each in sinks)
        # An AlertSink that says how the cluster's Events are to be takes the place of those that are there by default.
        own = [each for each in self._own if not (has_events and each.spec.events is not None)]
        given = [SinkSettings(each.name, each.spec, each.namespace, each.secrets) for each in sinks]
        self._dispatcher.use([*own, *given])
        for key, each in configs.items():
            if each.test is not None and each.test.node == self._place.node and self._tested.get(key) != each.test.id:
                self._tested[key] = each.test.id
                self._dispatcher.send_test(key, each.test.id, self._test_alert(each))
        self._tested = {key: value for key, value in self._tested.items() if key in configs}
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
