"""The way of alerts to one sink: they are matched, silenced, throttled, and put into the queue of the sink's worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tiercel_agent.delivery.cpu_budget import CpuBudget
from tiercel_agent.delivery.matcher import NAMESPACE, Silences, Test, accepts, silences
from tiercel_agent.delivery.queues.queue import AlertQueue
from tiercel_agent.delivery.throttle import Throttle, throttle_of
from tiercel_agent.delivery.worker import SinkWorker
from tiercel_agent.sinks.model import SinkSettings
from tiercel_engine.alert import Alert
from tiercel_engine.located import located


class Route:
    """One thread calls all methods; others may read the counts."""

    def __init__(
        self,
        settings: SinkSettings,
        make: Callable[[], tuple[AlertQueue, SinkWorker[Alert]]],
        before: Route | None = None,
    ) -> None:
        """Goes on with the counts of ``before``. Raises BadSink for settings that can't be read, before ``make``
        is called for the queue and its worker."""
        self.settings = settings
        self.silenced: int = before.silenced if before is not None else 0
        self.told = float("-inf")  # when the log was told of trouble, in monotonic seconds
        self._suppressed = before.suppressed if before is not None else 0
        self._accepts: Test = accepts(settings)
        self._silences: Silences = silences(settings.spec.silences)
        self._throttle: Throttle | None = throttle_of(settings.spec.throttle)
        self.queue, self.worker = make()

    @property
    def suppressed(self) -> int:
        """Alerts that the throttle has counted in others."""
        return self._suppressed + (self._throttle.suppressed if self._throttle is not None else 0)

    def take(self, alerts: Iterable[Alert], now: float, monotonic: float, budget: CpuBudget | None = None) -> str:
        """Hands the worker those that are for it. ``now`` is seconds since the epoch. Tenants' sinks have CPU budgets.

        One that can't be judged is counted as lost, and is all that is: the answer is why, "" if there was none.
        """
        if budget is not None:
            alerts = [each for each in alerts if each.output_fields.get(NAMESPACE) == self.settings.namespace]
        wanted: list[Alert] = []
        trouble = ""
        for alert in alerts:
            try:
                if budget is None:
                    wanted += self._chosen(alert, now, monotonic)
                elif budget.spent:
                    raise TimeoutError
                else:
                    with budget.spending():
                        wanted += self._chosen(alert, now, monotonic)
            except TimeoutError:
                trouble = "match, silences or throttle take too long"
                self.worker.lost(1, trouble)
            except Exception as error:
                trouble = f"error while alerts were chosen: {located(error)}"
                self.worker.lost(1, trouble)
        if wanted:
            self.worker.put(wanted)
        return trouble

    def _chosen(self, alert: Alert, now: float, monotonic: float) -> Iterable[Alert]:
        if not self._accepts(alert):
            return ()
        if self._silences.each and self._silences.holds(alert, now):
            self.silenced += 1
            return ()
        if self._throttle is None:
            return (alert,)
        return list(self._throttle.take(alert, monotonic))

    def tick(self, monotonic: float) -> None:
        """Puts the summaries of throttle windows that have ended into the queue."""
        if self._throttle is not None and (told := list(self._throttle.ended(monotonic))):
            self.worker.put(told)

    def finish(self) -> None:
        if self._throttle is not None and (told := list(self._throttle.finish())):
            self.worker.put(told)
