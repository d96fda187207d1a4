"""One alert of many that are alike: the first go out, the others are counted, and one alert tells the count."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tiercel_agent.delivery.matcher import field_text
from tiercel_agent.delivery.queues.stored_alert import weight
from tiercel_agent.sinks.model import BadSink
from tiercel_engine.alert import Alert, uuid7
from tiercel_engine.resources import alert_sink
from tiercel_engine.units import parse_duration

SEEN_MORE = "tiercel.seen_more"
"""The output field with the number of alerts that one stands for besides itself."""

_BY_DEFAULT = ("rule", "k8s.ns.name", "k8s.owner.kind", "k8s.owner.name")
_PLACES = ("k8s.pod.uid", "container.id")
"""Fields that stand for the workload where there is none."""

_MOST = 1024
"""Windows that are open at a time; with one more, the oldest ends early."""
_MOST_BYTES = 4 << 20
"""Bytes of memory that the windows hold; with more, the oldest ends early."""

Key = tuple[str | None, ...]


@dataclass(slots=True)
class _Window:
    since: float
    sent: int = 1
    suppressed: int = 0
    last: Alert | None = None
    held: int = 0
    """Bytes."""


class Throttle:
    """``window`` is in seconds; times are monotonic seconds.

    ``suppressed`` is the number of alerts that other alerts have counted.
    """

    def __init__(self, window: float, by: tuple[str, ...] = (), burst: int = 1) -> None:
        self._length = window
        self._by = by
        self._burst = burst
        self.suppressed = 0
        self._held = 0
        self._windows: OrderedDict[Key, _Window] = OrderedDict()  # in the order of their beginning

    def take(self, alert: Alert, now: float) -> Iterator[Alert]:
        """The alerts to be sent now: this one or none, and the summary of a window that has ended."""
        key = self._key(alert)
        window = self._windows.get(key)
        if window is not None and now - window.since >= self._length:
            del self._windows[key]
            yield from self._ended(window)
            window = None
        if window is None:
            self._windows[key] = window = _Window(now)
            self._hold(window, sum(len(text) for text in key if text))
            yield from self._made_room()
            yield alert
        elif window.sent < self._burst:
            window.sent += 1
            yield alert
        else:
            window.suppressed += 1
            self._hold(window, weight(alert) - (weight(window.last) if window.last is not None else 0))
            window.last = alert
            self.suppressed += 1
            yield from self._made_room()

    def ended(self, now: float) -> Iterator[Alert]:
        """The summaries of windows that have ended."""
        while self._windows:
            key, window = next(iter(self._windows.items()))
            if now - window.since < self._length:
                return
            del self._windows[key]
            yield from self._ended(window)

    def finish(self) -> Iterator[Alert]:
        """The summaries of all windows, at the end."""
        windows = list(self._windows.values())
        self._windows.clear()
        for window in windows:
            yield from self._ended(window)

    def _key(self, alert: Alert) -> Key:
        if self._by:
            return tuple(_value(alert, name) for name in self._by)
        values = tuple(_value(alert, name) for name in _BY_DEFAULT)
        place = next((value for name in _PLACES if (value := _value(alert, name))), None)
        return values if values[-1] else (*values, place)

    def _hold(self, window: _Window, more: int) -> None:
        window.held += more
        self._held += more

    def _made_room(self) -> Iterator[Alert]:
        while len(self._windows) > _MOST or (self._held > _MOST_BYTES and len(self._windows) > 1):
            yield from self._ended(self._windows.popitem(last=False)[1])

    def _ended(self, window: _Window) -> Iterator[Alert]:
        self._held -= window.held
        if window.last is not None:
            self.suppressed -= 1
            yield _summary(window.last, window.suppressed, self._length)


def throttle_of(spec: alert_sink.Throttle | None) -> Throttle | None:
    """Raises BadSink."""
    if spec is None:
        return None
    try:
        length = parse_duration(spec.window)
    except ValueError as error:
        raise BadSink(f"throttle.window: {error}") from error
    return Throttle(length, spec.by, spec.burst or 1)


def _value(alert: Alert, name: str) -> str | None:
    match name:
        case "rule":
            return alert.rule_key
        case "priority":
            return alert.priority.title
        case "hostname":
            return alert.hostname
        case "source":
            return alert.source
    return field_text(alert, name)


def _summary(last: Alert, count: int, length: float) -> Alert:
    """The last of those that were counted, with how many they were."""
    if count == 1:
        return last
    more = f"seen {count - 1} more time{'s' * (count != 2)} in {_span(length)}"
    fields = {**last.output_fields, SEEN_MORE: count - 1}
    return replace(last, output=f"{last.output} ({more})", output_fields=fields, id=uuid7())


def _span(length: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if length >= size and length % size == 0:
            return f"{length // size:.0f} {unit}"
    return f"{length:g} s"
