"""Takes alerts from detection, which never waits, and gives each sink's worker those that are for the sink."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from tiercel_agent.delivery.cpu_budget import OF_ALL, CpuBudget
from tiercel_agent.delivery.queues.fair_buffer import FairBuffer
from tiercel_agent.delivery.queues.flows import flow_of
from tiercel_agent.delivery.queues.queue import AlertQueue, open_queue
from tiercel_agent.delivery.queues.spool_folders import SpoolSettings, remove_old, spool_folder
from tiercel_agent.delivery.queues.stored_alert import weight
from tiercel_agent.delivery.quotas import Key, quotas
from tiercel_agent.delivery.route import Route
from tiercel_agent.delivery.totals import Failure, TestResult, Totals
from tiercel_agent.delivery.worker import SinkWorker
from tiercel_agent.sinks.model import BadSink, Sink, SinkSettings
from tiercel_engine.alert import Alert
from tiercel_engine.located import located

LOGGER = logging.getLogger(__name__)

CAPACITY = 8192
"""Alerts that wait to be matched, at most."""
MOST_BYTES = 32 << 20
"""Bytes of memory that these alerts take, at most."""
IN_MEMORY = 64 << 20
"""Bytes of memory that alerts of all sinks together may take while the disk doesn't take them."""
_TICK = 1.0  # seconds between two looks at windows that have ended
_REMIND = 60.0  # seconds between two lines on trouble that lasts
_AGAIN = 30.0  # seconds between two attempts to begin with sinks that this machine didn't allow
_TIDY = 3600.0  # seconds between two looks at what sinks have left that are gone


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """What became of the alerts of one sink, since the agent's start."""

    settings: SinkSettings
    totals: Totals
    silenced: int = 0
    suppressed: int = 0

    @property
    def label(self) -> str:
        return label(self.settings)


class Dispatcher:
    """A thread of the dispatcher matches alerts with sinks; the worker of each sink has a thread that delivers them.

    ``open_sink`` makes a sink of its settings and is called in the sink's thread.
    """

    def __init__(
        self,
        open_sink: Callable[[SinkSettings], Sink],
        spool: SpoolSettings,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_sink = open_sink
        self._spool = spool
        self._now = now
        self._clock = clock
        self._changed = threading.Condition()
        self._alerts = FairBuffer(flow_of, weight)
        self._wanted: Sequence[SinkSettings] | None = None
        self._tests: list[tuple[Key, str, Alert]] = []
        self._dropped = 0
        self._closing = self._reopen = False
        self._workers: dict[Key, SinkWorker[Alert]] = {}
        self._routes: dict[Key, Route] = {}
        self._broken: dict[Key, DeliveryReport] = {}
        self._budgets: dict[str, CpuBudget] = {}  # by namespace
        self._lost: Counter[str] = Counter()
        self._again: tuple[float, Sequence[SinkSettings]] | None = None
        self._tidied = clock()
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)
        self._thread.start()

    def put(self, alert: Alert) -> None:
        """Takes the alert; drops and counts what is too much then. Returns at once."""
        with self._changed:
            if self._closing:
                self._dropped += 1
                return
            self._alerts.add(alert)
            self._dropped += self._alerts.drop(CAPACITY, MOST_BYTES)
            self._changed.notify()

    def use(self, sinks: Sequence[SinkSettings]) -> None:
        """Sets the sinks from now on. Sinks whose settings haven't changed go on undisturbed."""
        with self._changed:
            self._wanted = sinks
            self._changed.notify()

    def send_test(self, sink: Key, identifier: str, alert: Alert) -> None:
        """Hands an alert to one sink, whatever it is for; the report's ``totals.test`` tells what becomes of it."""
        with self._changed:
            self._tests.append((sink, identifier, alert))
            self._changed.notify()

    def delivery_reports(self) -> list[DeliveryReport]:
        """One report for each sink, also for those that can't be opened."""
        reports = [
            DeliveryReport(route.settings, route.worker.totals(), route.silenced, route.suppressed)
            for route in list(self._routes.values())
        ]
        return reports + list(self._broken.values())

    @property
    def dropped(self) -> int:
        """Alerts that couldn't be taken, since matching them was too slow."""
        return self._dropped

    def lost(self) -> Mapping[str, int]:
        """Alerts that sinks of the cluster's or the node's admin lost, those included that are gone; a tenant sees its
        own in its AlertSink."""
        losses = Counter(self._lost)
        for route in list(self._routes.values()):
            if route.settings.trusted and (lost := route.worker.totals().lost):
                losses[label(route.settings)] += lost
        return losses

    def reopen(self) -> None:
        """Asks the sinks to open files and connections anew, since files may have been rotated."""
        with self._changed:
            self._reopen = True
            self._changed.notify()

    def close(self, timeout: float = 5.0) -> None:
        """Delivers what waits, for so many seconds altogether; the rest is kept on the disk, if there is one."""
        end = self._clock() + timeout
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout)
        with self._changed:
            self._dropped += len(self._alerts.take_all())  # a disk that doesn't answer
        workers = list(self._workers.values())
        for worker in workers:
            worker.begin_close(max(0.0, end - self._clock()))
        for worker in workers:
            worker.close(max(0.0, end - self._clock()))

    def _run(self) -> None:
        closing = False
        while not closing:
            with self._changed:
                self._changed.wait_for(self._is_stirred, _TICK)
                alerts = self._alerts.take_all()
                wanted, self._wanted = self._wanted, None
                tests, self._tests = self._tests, []
                reopen, self._reopen = self._reopen, False
                closing = self._closing
            self._guarded(self._keep, wanted)
            self._route(alerts)
            for test in tests:
                self._guarded(self._test, *test)
            if reopen:
                for worker in self._workers.values():
                    worker.reopen()
        for route in self._routes.values():
            self._guarded(route.finish)

    def _is_stirred(self) -> bool:
        return bool(self._alerts.count or self._tests or self._closing or self._reopen or self._wanted is not None)

    def _guarded(self, act: Callable[..., None], *arguments: object) -> None:
        """Calls ``act``. An error is logged, so that the thread goes on."""
        try:
            act(*arguments)
        except BaseException as error:
            LOGGER.error("sinks: unexpected error: %s", located(error))

    def _keep(self, wanted: Sequence[SinkSettings] | None) -> None:
        """Changes to the sinks that are wanted, or tries again to start those that couldn't be started."""
        if wanted is None and self._again is not None and self._clock() >= self._again[0]:
            wanted = self._again[1]
        if wanted is not None:
            self._use(wanted)
        if wanted is not None or self._clock() - self._tidied >= _TIDY:
            self._tidied = self._clock()
            self._remove_old()

    def _remove_old(self) -> None:
        if self._spool.folder is not None:
            keep = self._routes.keys() | self._broken.keys()
            remove_old(self._spool.folder, keep, self._now(), self._spool.limit)

    def _test(self, key: Key, identifier: str, alert: Alert) -> None:
        if key in self._workers:
            self._workers[key].send_test(identifier, alert)
        elif key in self._broken:
            report = self._broken[key]
            why = report.totals.last_failure
            result = TestResult(identifier, self._now(), None, why.message if why is not None else "")
            self._broken = {**self._broken, key: replace(report, totals=replace(report.totals, test=result))}

    def _route(self, alerts: Sequence[Alert]) -> None:
        now, monotonic = self._now(), self._clock()
        for each in self._budgets.values():
            each.grow(monotonic)
        for route in self._routes.values():
            try:
                budget = None if route.settings.trusted else self._budgets[route.settings.namespace]
                trouble = route.take(alerts, now, monotonic, budget)
                route.tick(monotonic)
            except BaseException as error:  # what trips one sink must not cost the others theirs
                trouble = f"error while alerts were chosen: {located(error)}"
                route.worker.lost(len(alerts), trouble)
            if trouble and monotonic - route.told >= _REMIND:
                route.told = monotonic
                LOGGER.error("sink %s: %s: they are lost", label(route.settings), trouble)

    def _use(self, wanted: Sequence[SinkSettings]) -> None:
        self._again = None
        parts = _parts(wanted, self._spool.limit)
        in_memory = _parts(wanted, IN_MEMORY)
        routes: dict[Key, Route] = {}
        broken: dict[Key, DeliveryReport] = {}
        for settings in wanted:
            key = settings.namespace, settings.name
            try:
                routes[key] = self._kept_or_made(settings)
                routes[key].queue.limit(parts[key], in_memory[key])
            except BadSink as error:
                broken[key] = self._is_broken(settings, str(error))
            except BaseException as error:  # no thread is to be had, or the like
                broken[key] = self._is_broken(settings, f"it can't be started: {located(error)}")
                self._again = self._clock() + _AGAIN, wanted
        self._allow({namespace for namespace, _ in routes})
        gone = [route for key, route in self._routes.items() if key not in routes]
        self._workers = {key: route.worker for key, route in routes.items()}
        self._routes, self._broken = routes, broken
        for route in gone:
            self._guarded(self._end, route)

    def _allow(self, namespaces: Collection[str]) -> None:
        for namespace in namespaces:
            budget = self._budgets.setdefault(namespace, CpuBudget(self._clock()))
            budget.share = OF_ALL / len(namespaces)
        self._budgets = {each: self._budgets[each] for each in namespaces}

    def _is_broken(self, settings: SinkSettings, message: str) -> DeliveryReport:
        LOGGER.error("sink %s: %s", label(settings), message)
        return DeliveryReport(settings, Totals(failing=True, last_failure=Failure(self._now(), message)))

    def _kept_or_made(self, settings: SinkSettings) -> Route:
        key = settings.namespace, settings.name
        known = self._routes.get(key)
        if known is None:
            return Route(settings, lambda: self._open_worker(settings))
        if known.settings == settings:
            return known
        known.finish()
        route = Route(settings, lambda: (known.queue, known.worker), known)
        known.worker.change(lambda: self._open_sink(settings))
        return route

    def _end(self, route: Route) -> None:
        """Sends nothing more: the sink may have been removed because alerts went to the wrong place.

        What waits is kept on the disk, in case the sink comes back.
        """
        route.finish()
        route.worker.stop()
        if route.settings.trusted and (lost := route.worker.totals().lost):
            self._lost[label(route.settings)] += lost

    def _open_worker(self, settings: SinkSettings) -> tuple[AlertQueue, SinkWorker[Alert]]:
        folder = spool_folder(self._spool.folder, settings.namespace, settings.name)
        queue = open_queue(folder, self._spool.limit)
        try:
            return queue, SinkWorker(f"sink {label(settings)}", lambda: self._open_sink(settings), queue)
        except BaseException:
            queue.close()
            raise


def _parts(wanted: Sequence[SinkSettings], whole: int) -> Mapping[Key, int]:
    trusted = [(each.namespace, each.name) for each in wanted if each.trusted]
    return quotas(trusted, [(each.namespace, each.name) for each in wanted if not each.trusted], whole)


def label(settings: SinkSettings) -> str:
    """The sink's name in logs: ``shop/chat``, or just the name of the agent's own."""
    return f"{settings.namespace}/{settings.name}" if settings.namespace else settings.name
