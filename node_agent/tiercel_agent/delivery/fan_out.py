"""Where alerts go, all together: to the worker of each local output, and to the dispatcher of the sinks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tiercel_agent.backoff import Backoff
from tiercel_agent.delivery.dispatcher import DeliveryReport, Dispatcher
from tiercel_agent.delivery.queues.flows import ONE_FLOW, Flow, flow_of
from tiercel_agent.delivery.queues.memory_queue import MemoryQueue
from tiercel_agent.delivery.queues.stored_alert import weight
from tiercel_agent.delivery.totals import Totals
from tiercel_agent.delivery.worker import SinkWorker
from tiercel_agent.loss import Loss, Losses
from tiercel_agent.sinks.model import ItemSink, Sink
from tiercel_agent.warning import AgentWarning
from tiercel_engine.alert import Alert
from tiercel_engine.event import Event
from tiercel_engine.resources.node_agent import LossCause, WarningKind

CAPACITY = 8192
"""Items that wait for one local output, at most."""
_RETRY = 1.0  # seconds between two attempts of an output on this machine, at most
_LAST = 5.0  # seconds for which what waits is delivered at the end

Item = TypeVar("Item")


def local_worker(
    name: str,
    sink: ItemSink[Item],
    capacity: int = CAPACITY,
    retry: float = _RETRY,
    flow_of: Callable[[Item], Flow] = lambda _: ONE_FLOW,
    weight_of: Callable[[Item], int] = lambda _: 0,
) -> SinkWorker[Item]:
    """A worker for an open output of this machine, whose items wait in memory alone: at most ``capacity`` of them.

    Of what is too much, those of the flow that has most weight are lost first. A failed attempt is made again after
    ``retry`` seconds at most. The worker ends when the output's reader has gone.
    """
    queue = MemoryQueue(capacity, flow_of, weight_of)
    return SinkWorker(f"output {name}", lambda: sink, queue, Backoff(longest=retry), opened=sink)


class FanOut:
    """``dispatcher`` is None where there are no sinks besides the local outputs."""

    def __init__(self, dispatcher: Dispatcher | None = None) -> None:
        self._dispatcher = dispatcher
        self._outputs: dict[str, SinkWorker[Alert] | SinkWorker[object]] = {}
        self._takers: list[Callable[[Alert, Event | None], None]] = []
        if dispatcher is not None:
            self._takers.append(lambda alert, event: dispatcher.put(alert))  # noqa: ARG005

    def add(self, name: str, output: Sink, capacity: int = CAPACITY) -> None:
        """Adds an open output, which logs and metrics call by ``name``. At most ``capacity`` alerts wait for it."""
        worker = local_worker(name, output, capacity, flow_of=flow_of, weight_of=weight)
        self._outputs[name] = worker
        self._takers.append(lambda alert, event: worker.put([alert]))  # noqa: ARG005

    def add_view(
        self,
        name: str,
        output: ItemSink[Item],
        view: Callable[[Alert, Event | None], Item],
        capacity: int = CAPACITY,
    ) -> None:
        """Adds an output that takes more than the alert: ``view`` makes its item while the event is at hand."""
        worker = local_worker(name, output, capacity)
        self._outputs[name] = worker  # type: ignore[assignment]
        self._takers.append(lambda alert, event: worker.put([view(alert, event)]))

    def put(self, alert: Alert, event: Event | None) -> None:
        """Queues the alert for every output and sink; never waits. ``event`` is None for the tool's own alerts."""
        for take in self._takers:
            take(alert, event)

    @property
    def ended(self) -> bool:
        """Whether nobody is left who reads any of the outputs (`| head`), and there are no sinks."""
        return self._dispatcher is None and all(worker.ended for worker in self._outputs.values())

    def outputs(self) -> dict[str, Totals]:
        """What became of alerts for the local outputs, by their names."""
        return {name: worker.totals() for name, worker in self._outputs.items()}

    def delivery_reports(self) -> list[DeliveryReport]:
        """What became of alerts for the sinks."""
        return self._dispatcher.delivery_reports() if self._dispatcher is not None else []

    def lost(self) -> Losses:
        """Alerts that an output or sink didn't get, since the agent's start."""
        lost = {
            Loss(LossCause.OUTPUT_FAILED, output=name): totals.lost
            for name, totals in self.outputs().items()
            if totals.lost
        }
        if self._dispatcher is not None:
            for name, count in self._dispatcher.lost().items():
                lost[Loss(LossCause.SINK_FAILED, sink=name)] = count
            if self._dispatcher.dropped:
                lost[Loss(LossCause.TOO_MANY_ALERTS)] = self._dispatcher.dropped
        return lost

    def warnings(self) -> list[AgentWarning]:
        """One for each output and for each sink of this agent's own that has lost alerts, and one for each way in which
        the disk doesn't take what waits. The operator's AlertSinks tell of their losses in their own statuses."""
        outputs = [name for name, totals in self.outputs().items() if totals.lost]
        reports = self.delivery_reports()
        sinks = [each.label for each in reports if each.totals.lost and not each.settings.namespace]
        troubles = dict.fromkeys(each.totals.trouble for each in reports if each.totals.trouble)
        return [
            *(AgentWarning(WarningKind.OUTPUT_LOSES_ALERTS, (name,)) for name in outputs),
            *(AgentWarning(WarningKind.SINK_LOSES_ALERTS, (name,)) for name in sinks),
            *(AgentWarning(WarningKind.SPOOL_UNUSABLE, detail=trouble) for trouble in troubles),
        ]

    def reopen(self) -> None:
        """Opens files anew that may have been rotated away."""
        for worker in self._outputs.values():
            worker.reopen()
        if self._dispatcher is not None:
            self._dispatcher.reopen()

    def close(self) -> None:
        """Delivers what waits, for a few seconds at most: all outputs side by side, then all sinks."""
        end = time.monotonic() + _LAST
        for worker in self._outputs.values():
            worker.begin_close(_LAST)
        for worker in self._outputs.values():
            worker.close(max(0.0, end - time.monotonic()))
        if self._dispatcher is not None:
            self._dispatcher.close()
