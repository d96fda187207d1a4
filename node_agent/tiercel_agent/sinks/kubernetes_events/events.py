"""Alerts as Kubernetes Events: the first of a rule on a pod at once, its repetitions as a count that grows.

An attacker can raise as many alerts as he likes, but not write as many objects: a namespace has its budget, and what
is more than that is counted in one Event that says so.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol

import urllib3

from tiercel_agent.sinks.kubernetes_events.event_object import (
    NODES_NAMESPACES,
    Reference,
    event_object,
    node_reference,
    pod_of,
    series,
)
from tiercel_agent.sinks.model import BadSink, Place, Refused, Sink, SinkSettings, Unavailable
from tiercel_agent.workloads.cluster.api import ApiError, connect
from tiercel_agent.workloads.settings import NoCluster
from tiercel_engine.alert import Alert
from tiercel_engine.resources.destinations import EventsSink

PER_MINUTE = 60
"""Writes that a namespace gets from this node in a minute."""

COUNT_EVERY = 10.0
"""Seconds between two writes of a count."""

_SERIES_LASTS = 1800.0  # seconds for which repetitions are counted in one Event
_MOST_SERIES = 4096
_TIMEOUT = 10.0
_PATH = "/apis/events.k8s.io/v1/namespaces/{}/events"
_TOO_MANY = "TooManyAlerts"
_FOR_GOOD = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY)
_NO_NAMESPACE = (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)

Key = tuple[str, str]
"""The rule, or "" for what is over the budget, and the uid or namespace."""


class EventsApi(Protocol):
    """The API, as far as Events need it. Raises ApiError, urllib3's errors and OSError."""

    def create(self, path: str, body: Mapping[str, Any], timeout: float) -> None: ...
    def merge(self, path: str, body: Mapping[str, Any], timeout: float) -> None: ...


@dataclass(slots=True)
class _Series:
    """An Event in the API, and how often its alert has come."""

    path: str
    namespace: str
    since: float
    written: float
    count: int
    written_count: int
    last: Alert
    regarding: Reference
    over_budget: bool


@dataclass(slots=True)
class _Budget:
    tokens: float
    at: float


def open_events(sink: EventsSink, place: Place, settings: SinkSettings) -> Sink:
    """Raises BadSink where there is no cluster."""
    if not place.kubernetes:
        raise BadSink("Kubernetes Events need the Kubernetes API (set kubernetes.enabled and kubeconfig)")
    try:
        api = connect(place.kubeconfig)
    except NoCluster as error:
        raise BadSink(str(error)) from error
    wanted = sink.per_minute or PER_MINUTE
    # The API server serves everybody: a tenant can ask for fewer Events than others, not for more.
    writer = EventWriter(api, place.node, per_minute=wanted if settings.trusted else min(wanted, PER_MINUTE))
    # One at a time: if writing several failed halfway, nobody would know which were written.
    return Sink(send=writer.send, tick=writer.tick, close=writer.close, batch=1)


class EventWriter:
    """``node`` is this node's name in the cluster; ``clock`` gives monotonic seconds."""

    def __init__(
        self,
        api: EventsApi,
        node: str,
        *,
        per_minute: int = PER_MINUTE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._node = node
        self._per_minute = per_minute
        self._clock = clock
        self._series: OrderedDict[Key, _Series] = OrderedDict()
        self._budgets: dict[str, _Budget] = {}
        self._nodes_namespace = NODES_NAMESPACES[0]

    def send(self, alerts: Sequence[Alert]) -> None:
        """Raises Unavailable if the API can't take them now, Refused if it never will."""
        for alert in alerts:
            try:
                self._take(alert)
            except ApiError as error:
                if error.status in _FOR_GOOD:
                    raise Refused(f"the Kubernetes API refuses an Event: {error}") from error
                raise Unavailable(f"the Kubernetes API answers {error}") from error
            except urllib3.exceptions.HTTPError as error:
                raise Unavailable(f"the Kubernetes API can't be reached: {type(error).__name__}") from error

    def tick(self) -> float | None:
        """Writes the counts that are due. Seconds until others are; None if none wait."""
        now = self._clock()
        due = [each for each in self._series.values() if each.count > each.written_count]
        for each in due:
            budget = self._budget(each.namespace)
            if now - each.written < COUNT_EVERY or (budget.tokens < 1 and not each.over_budget):
                continue
            if not self._count(each):  # the others would probably fail too, and alerts wait meanwhile
                break
            if not each.over_budget:
                budget.tokens -= 1
        waiting = [each.written + COUNT_EVERY - now for each in due if each.count > each.written_count]
        told = [key for key, each in self._series.items() if each.count == each.written_count]
        for key in told:
            if now - self._series[key].since > _SERIES_LASTS:
                del self._series[key]
        return max(1.0, min(waiting)) if waiting else None

    def close(self) -> None:
        """Writes the counts that aren't written yet, as far as the API takes them."""
        for each in self._series.values():
            if not self._count(each):
                break
        self._series.clear()

    def _take(self, alert: Alert) -> None:
        regarding = pod_of(alert) or node_reference(self._node)
        key = (alert.rule_key, regarding["uid"])
        if self._repeats(key, alert):
            return
        # Events on the node have a budget of their own, which no pods can use up.
        namespace = regarding.get("namespace", "")
        budget = self._budget(namespace)
        if budget.tokens >= 1:
            self._create(key, alert, regarding)
            budget.tokens -= 1
        elif not self._repeats(("", namespace), alert):
            self._create(("", namespace), alert, regarding)

    def _repeats(self, key: Key, alert: Alert) -> bool:
        known = self._series.get(key)
        if known is None:
            return False
        if self._clock() - known.since > _SERIES_LASTS and self._count(known):
            del self._series[key]
            return False
        known.count, known.last = known.count + 1, alert
        self._series.move_to_end(key)
        return True

    def _create(self, key: Key, alert: Alert, regarding: Reference) -> None:
        over_budget = key[0] == ""
        try:
            made = self._post(alert, regarding, over_budget)
        except ApiError as error:
            if error.status not in _NO_NAMESPACE or regarding["kind"] == "Node":
                raise
            # A namespace that is being deleted takes nothing new; the node outlives it.
            regarding = node_reference(self._node)
            made = self._post(alert, regarding, over_budget)
        now = self._clock()
        namespace = regarding.get("namespace", "")
        self._series[key] = _Series(made, namespace, now, now, 1, 1, alert, regarding, over_budget)
        if len(self._series) > _MOST_SERIES:
            self._count(self._series.popitem(last=False)[1])

    def _post(self, alert: Alert, regarding: Reference, over_budget: bool, count: int = 1) -> str:
        """The path of the Event."""
        reason = note = ""
        if over_budget:
            reason = _TOO_MANY
            whose = "this namespace" if regarding["kind"] == "Pod" else "the host"
            note = (
                f"More alerts of {whose} on node {self._node} than its {self._per_minute} Events a minute: "
                f"those without an Event of their own are counted here. The first of them: {alert.output}"
            )
        body = event_object(
            *(alert, regarding, self._node),
            reason=reason,
            note=note,
            count=count,
            nodes_namespace=self._nodes_namespace,
        )
        path = _PATH.format(body["metadata"]["namespace"])
        try:
            self._api.create(path, body, _TIMEOUT)
        except ApiError as error:
            if self._is_elsewhere(error, regarding):
                return self._post(alert, regarding, over_budget, count)
            if error.status != HTTPStatus.CONFLICT:  # it was made, and the answer was lost
                raise
        return f"{path}/{body['metadata']['name']}"

    def _is_elsewhere(self, error: ApiError, regarding: Reference) -> bool:
        """Whether this server wants Events on nodes in the other namespace, which is tried once."""
        refused = error.status == HTTPStatus.UNPROCESSABLE_ENTITY and regarding["kind"] == "Node"
        if not refused or self._nodes_namespace == NODES_NAMESPACES[1]:
            return False
        self._nodes_namespace = NODES_NAMESPACES[1]
        return True

    def _count(self, counted: _Series) -> bool:
        """Writes a count that isn't written yet. False if it has to be written later."""
        if counted.count == counted.written_count:
            return True
        counted.written = self._clock()
        try:
            try:
                self._api.merge(counted.path, {"series": series(counted.count, counted.last.time)}, _TIMEOUT)
            except ApiError as error:
                if error.status != HTTPStatus.NOT_FOUND:
                    raise
                # The Event has expired or was removed: what came since then gets a new one.
                counted.count -= counted.written_count
                counted.written_count = 0
                counted.path = self._post(counted.last, counted.regarding, counted.over_budget, counted.count)
        except ApiError as error:
            if error.status not in _NO_NAMESPACE:
                return False
            # The namespace is gone. The alert itself was written before.
        except (urllib3.exceptions.HTTPError, OSError):
            return False
        counted.written_count = counted.count
        return True

    def _budget(self, namespace: str) -> _Budget:
        """The budget of the namespace, with what it has earned since the last call."""
        now = self._clock()
        budget = self._budgets.setdefault(namespace, _Budget(self._per_minute, now))
        budget.tokens = min(self._per_minute, budget.tokens + (now - budget.at) * self._per_minute / 60)
        budget.at = now
        return budget
