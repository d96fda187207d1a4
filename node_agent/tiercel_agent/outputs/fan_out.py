"""All outputs together: an alert goes to the queue of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from tiercel_agent.outputs.queue import Delivery, OutputQueue
from tiercel_engine.alert import Alert
from tiercel_engine.event import Event

Item = TypeVar("Item")


class Outputs:
    def __init__(self) -> None:
        self._queues: list[OutputQueue[object]] = []
        self._takers: list[Callable[[Alert, Event | None], None]] = []

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
        return all(queue.ended for queue in self._queues)

    def deliveries(self) -> dict[str, Delivery]:
        return {queue.name: queue.counters() for queue in self._queues}

    def lost(self) -> Mapping[str, int]:
        """Alerts that an output didn't get, by cause in words."""
        return {
            f"alerts for output {name}: it was too slow or failed": delivery.dropped
            for name, delivery in self.deliveries().items()
            if delivery.dropped
        }

    def notes(self) -> list[str]:
        """A line for each output that has lost alerts."""
        return [
            f"output {name} has lost alerts: the agent's log tells why"
            for name, delivery in self.deliveries().items()
            if delivery.dropped
        ]

    def reopen(self) -> None:
        for queue in self._queues:
            queue.reopen()

    def close(self) -> None:
        """Delivers what waits, for a few seconds at most an output."""
        for queue in self._queues:
            queue.close()
