"""From the alerts that detection raises to the sinks that are to have them: detection hands over and never waits."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tiercel_agent.delivery.backlog import open_backlog
from tiercel_agent.delivery.courier import Courier, Failure, Totals
from tiercel_agent.delivery.folders import SpoolSettings, remove_old, spool_folder
from tiercel_agent.delivery.route import Route
from tiercel_agent.sinks.model import BadSink, Sink, SinkSettings
from tiercel_engine.alert import Alert

CAPACITY = 8192
"""Alerts that wait to be routed, at most."""
_TICK = 1.0  # seconds between two looks at windows that have ended

Key = tuple[str, str]
"""Namespace and name of a sink."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of the alerts of one sink, since the agent's start."""

    settings: SinkSettings
    totals: Totals
    silenced: int = 0
    folded: int = 0

    @property
    def label(self) -> str:
        return label(self.settings)


class Pipeline:
    """One thread of its own routes alerts; each sink has another that delivers them.

    ``open_sink`` makes a sink of its settings and is called in the sink's thread. ``tell`` gets lines for the log.
    """

    def __init__(
        self,
        open_sink: Callable[[SinkSettings], Sink],
        spool: SpoolSettings,
        tell: Callable[[str], None] = lambda _line: None,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_sink = open_sink
        self._spool = spool
        self._tell = tell
        self._now = now
        self._clock = clock
        self._changed = threading.Condition()
        self._alerts: deque[Alert] = deque()
        self._wanted: Sequence[SinkSettings] | None = None
        self._tests: list[tuple[Key, str, Alert]] = []
        self._dropped = 0
        self._closing = False
        self._couriers: dict[Key, Courier] = {}
        self._routes: dict[Key, Route] = {}
        self._broken: dict[Key, Receipt] = {}
        self._gone: list[Courier] = []
        self._thread = threading.Thread(target=self._run, name="pipeline", daemon=True)
        self._thread.start()

    def put(self, alert: Alert) -> None:
        """Takes the alert, or counts it as dropped; returns at once."""
        with self._changed:
            if self._closing or len(self._alerts) >= CAPACITY:
                self._dropped += 1
                return
            self._alerts.append(alert)
            self._changed.notify()

    def use(self, sinks: Sequence[SinkSettings]) -> None:
        """These are the sinks from now on; those that stay as they are take no notice."""
        with self._changed:
            self._wanted = sinks
            self._changed.notify()

    def send_test(self, sink: Key, identifier: str, alert: Alert) -> None:
        """Hands an alert to one sink, whatever it is for; the receipt's ``totals.test`` tells what becomes of it."""
        with self._changed:
            self._tests.append((sink, identifier, alert))
            self._changed.notify()

    def receipts(self) -> list[Receipt]:
        """Of all sinks, those that can't be opened included."""
        found = [
            Receipt(route.settings, route.courier.totals(), route.silenced, route.folded)
            for route in list(self._routes.values())
        ]
        return found + list(self._broken.values())

    @property
    def dropped(self) -> int:
        """Alerts that couldn't be taken, since routing them was too slow."""
        return self._dropped

    def reopen(self) -> None:
        """Lets sinks go of what may have been rotated away."""
        for courier in list(self._couriers.values()):
            courier.reopen()

    def close(self, timeout: float = 5.0) -> None:
        """Delivers what waits, for so many seconds altogether; the rest is kept on the disk, if there is one."""
        end = self._clock() + timeout
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout)
        couriers = [*self._couriers.values(), *self._gone]
        for courier in couriers:
            courier.begin_close()
        for courier in couriers:
            courier.close(max(0.05, end - self._clock()))

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._is_stirred, _TICK)
                alerts, self._alerts = self._alerts, deque()
                wanted, self._wanted = self._wanted, None
                tests, self._tests = self._tests, []
                closing = self._closing
            if wanted is not None:
                self._use(wanted)
            self._route(alerts)
            for key, identifier, alert in tests:
                if key in self._couriers:
                    self._couriers[key].send_test(identifier, alert)
            if closing:
                for route in self._routes.values():
                    route.finish()
                return

    def _is_stirred(self) -> bool:
        return bool(self._alerts or self._tests or self._closing or self._wanted is not None)

    def _route(self, alerts: Sequence[Alert]) -> None:
        now, monotonic = self._now(), self._clock()
        for key, route in self._routes.items():
            try:
                route.take(alerts, now, monotonic)
                route.tick(monotonic)
            except Exception as error:  # what trips one sink's choice must not cost the others theirs
                self._tell(f"sink {label(route.settings)}: {type(error).__name__} while alerts were chosen")
                self._couriers[key].lost(len(alerts))

    def _use(self, wanted: Sequence[SinkSettings]) -> None:
        share = self._spool.limit // max(1, len(wanted))
        routes: dict[Key, Route] = {}
        broken: dict[Key, Receipt] = {}
        for settings in wanted:
            key = settings.namespace, settings.name
            known = self._routes.get(key)
            if known is not None and known.settings == settings:
                routes[key] = known
                known.courier.limit(share)
                continue
            try:
                routes[key] = self._made(settings, known, share)
            except BadSink as error:
                self._tell(f"sink {label(settings)}: {error}")
                failure = Failure(self._now(), str(error))
                broken[key] = Receipt(settings, Totals(failing=True, last_failure=failure))
        for key in self._couriers.keys() - routes.keys():
            courier = self._couriers.pop(key)
            courier.begin_close()
            self._gone.append(courier)
        self._routes, self._broken = routes, broken
        if self._spool.folder is not None:
            remove_old(self._spool.folder, routes.keys(), self._now())

    def _made(self, settings: SinkSettings, known: Route | None, share: int) -> Route:
        key = settings.namespace, settings.name
        courier = self._couriers.get(key)
        if courier is None:
            courier = self._courier(settings, share)
        route = Route(settings, courier)
        if known is not None:
            known.finish()
            courier.limit(share)
            courier.change(lambda: self._open_sink(settings))
        self._couriers[key] = courier
        return route

    def _courier(self, settings: SinkSettings, share: int) -> Courier:
        name = label(settings)
        self._gone = [courier for courier in self._gone if not courier.ended]
        folder = spool_folder(self._spool.folder, settings.namespace, settings.name)
        # One of the same name that has yet to end keeps the folder for that long: what waits is in memory until then.
        return Courier(name, lambda: self._open_sink(settings), open_backlog(folder, share), self._tell)


def label(settings: SinkSettings) -> str:
    """How logs call a sink: ``shop/chat``, or just the name of the agent's own."""
    return f"{settings.namespace}/{settings.name}" if settings.namespace else settings.name


def lost_by_sink(receipts: Sequence[Receipt]) -> Mapping[str, int]:
    """Alerts that sinks of the cluster's or the node's admin lost; a tenant sees its own in its AlertSink."""
    return {each.label: each.totals.lost for each in receipts if each.totals.lost and each.settings.trusted}
