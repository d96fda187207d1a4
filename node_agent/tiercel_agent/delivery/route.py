"""The way of alerts to one sink: chosen, silenced, throttled, kept until its courier has delivered them."""

from __future__ import annotations

from collections.abc import Iterable

from tiercel_agent.delivery.courier import Courier
from tiercel_agent.delivery.routing import Silences, Test, accepts, silences
from tiercel_agent.delivery.throttle import Throttle, throttle_of
from tiercel_agent.sinks.model import SinkSettings
from tiercel_engine.alert import Alert


class Route:
    """One thread calls all methods; others may read the counts."""

    def __init__(self, settings: SinkSettings, courier: Courier) -> None:
        """Raises BadSink for settings that can't be read."""
        self.settings = settings
        self.courier = courier
        self.silenced = 0
        self._accepts: Test = accepts(settings)
        self._silences: Silences = silences(settings.spec.silences)
        self._throttle: Throttle | None = throttle_of(settings.spec.throttle)

    @property
    def folded(self) -> int:
        """Alerts that the throttle has counted in others."""
        return self._throttle.folded if self._throttle is not None else 0

    def take(self, alerts: Iterable[Alert], now: float, monotonic: float) -> None:
        """Hands the courier those that are for it. ``now`` is seconds since the epoch."""
        wanted = []
        for alert in alerts:
            if not self._accepts(alert):
                continue
            if self._silences.each and self._silences.holds(alert, now):
                self.silenced += 1
            elif self._throttle is None:
                wanted.append(alert)
            else:
                wanted += self._throttle.take(alert, monotonic)
        if wanted:
            self.courier.put(wanted)

    def tick(self, monotonic: float) -> None:
        """Hands over what is told of windows that have ended."""
        if self._throttle is not None and (told := list(self._throttle.ended(monotonic))):
            self.courier.put(told)

    def finish(self) -> None:
        if self._throttle is not None and (told := list(self._throttle.finish())):
            self.courier.put(told)
