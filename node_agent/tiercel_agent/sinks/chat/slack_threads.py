"""Which messages of Slack make a thread: those of one incident."""

from __future__ import annotations

import time
from collections.abc import Callable

from cachetools import TTLCache

from tiercel_engine.alert import HOST, Alert

LASTS = 1800.0
"""Seconds after an incident's last message in which another one still belongs to it."""
MOST = 1024
"""Incidents that are remembered; of more, those with the oldest last message are forgotten."""

Incident = tuple[str, ...]


def incident_of(alert: Alert) -> Incident:
    """The same rule in the same workload."""
    fields = alert.output_fields
    namespace = fields.get("k8s.ns.name")
    owner = (fields.get("k8s.owner.kind"), fields.get("k8s.owner.name"))
    pod = fields.get("k8s.pod.name")
    container = fields.get("container.id")
    if namespace and all(owner):
        return _incident(alert, namespace, *owner)
    if namespace and pod:
        return _incident(alert, namespace, pod)
    return _incident(alert, container if container and container != HOST else alert.hostname)


def _incident(alert: Alert, *workload: object) -> Incident:
    return (alert.rule_key, *map(str, workload))


class Threads:
    """``clock`` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._known: TTLCache[Incident, str] = TTLCache(MOST, LASTS, timer=clock)

    def of(self, incident: Incident) -> str | None:
        """The first message of the incident's thread, as Slack names it; None if there is none."""
        return self._known.get(incident) or None

    def note(self, incident: Incident, timestamp: str) -> None:
        """A message of the incident was sent now, whose thread begins with the one of this name."""
        self._known[incident] = timestamp

    def forget(self, incident: Incident) -> None:
        self._known.pop(incident, None)
