"""Where alerts go, all together: to the queue of each local output, and to the dispatcher of the sinks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tiercel_agent.delivery.dispatcher import DeliveryReport, Dispatcher
from tiercel_agent.loss import Loss, Losses
from tiercel_agent.outputs.queue import Delivery, OutputQueue
from tiercel_agent.warning import AgentWarning
from tiercel_engine.alert import Alert
from tiercel_engine.event import Event
from tiercel_engine.resources.node_agent import LossCause, WarningKind

Item = TypeVar("Item")


class Outputs:
    """``dispatcher`` None: there are no sinks."""

    def __init__(self, dispatcher: Dispatcher | None = None) -> None:
        self._dispatcher = dispatcher
        self._queues: list[OutputQueue[object]] = []
        self._takers: list[Callable[[Alert, Event | None], None]] = []
        if dispatcher is not None:
            self._takers.append(lambda alert, event: dispatcher.put(alert))  # noqa: ARG005

    def add(self, queue: OutputQueue[Alert]) -> None:
        self.add_view(queue, lambda alert, event: alert)  # noqa: ARG005

    def add_view(self, queue: OutputQueue[Item], view: Callable[[Alert, Event | None], Item]) -> None:
        """Adds an output that takes more than the alert: ``view`` makes its item while the event is at hand."""
        self._queues.append(queue)  # type: ignore[arg-type]
        self._takers.append(lambda alert, event: queue.put(view(alert, event)))

    def put(self, alert: Alert, event: Event | None) -> None:
        """Queues for every output; never waits. ``event`` is None for alerts of the tool's own."""
        for take in self._takers:
            take(alert, event)

    @property
    def ended(self) -> bool:
        """Whether nobody is left who reads any of them (`| head`)."""
        return self._dispatcher is None and all(queue.ended for queue in self._queues)

    def deliveries(self) -> dict[str, Delivery]:
        return {queue.name: queue.counters() for queue in self._queues}

    def delivery_reports(self) -> list[DeliveryReport]:
        """What became of alerts for the sinks."""
        return self._dispatcher.delivery_reports() if self._dispatcher is not None else []

    def lost(self) -> Losses:
        """Alerts that an output or sink didn't get, since the agent's start."""
        lost = {
            Loss(LossCause.OUTPUT_FAILED, output=name): delivery.dropped
            for name, delivery in self.deliveries().items()
            if delivery.dropped
        }
        if self._dispatcher is not None:
            for name, count in self._dispatcher.lost().items():
                lost[Loss(LossCause.SINK_FAILED, sink=name)] = count
            if self._dispatcher.dropped:
                lost[Loss(LossCause.TOO_MANY_ALERTS)] = self._dispatcher.dropped
        return lost

    def warnings(self) -> list[AgentWarning]:
        """One for each output or sink of this agent's own that has lost alerts, since AlertSinks have a status for it,
        and for each way in which the disk doesn't take what waits."""
        outputs = [name for name, delivery in self.deliveries().items() if delivery.dropped]
        reports = self.delivery_reports()
        sinks = [each.label for each in reports if each.totals.lost and not each.settings.namespace]
        troubles = dict.fromkeys(each.totals.trouble for each in reports if each.totals.trouble)
        return [
            *(AgentWarning(WarningKind.OUTPUT_LOSES_ALERTS, (name,)) for name in outputs),
            *(AgentWarning(WarningKind.SINK_LOSES_ALERTS, (name,)) for name in sinks),
            *(AgentWarning(WarningKind.SPOOL_UNUSABLE, detail=trouble) for trouble in troubles),
        ]

    def reopen(self) -> None:
        for queue in self._queues:
            queue.reopen()
        if self._dispatcher is not None:
            self._dispatcher.reopen()

    def close(self) -> None:
        """Delivers what waits, for a few seconds at most an output, and for all sinks together."""
        for queue in self._queues:
            queue.close()
        if self._dispatcher is not None:
            self._dispatcher.close()
