"""Fairness between namespaces: to which flow an alert belongs, whose turn it is, and whose alerts are dropped first."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Mapping
from itertools import chain, repeat
from typing import NamedTuple

from tiercel_engine.alert import HOST, Alert
from tiercel_engine.scope import SYSTEM_NAMESPACE


class Flow(NamedTuple):
    """Alerts that stay in order among themselves: those of one share that have the same priority.

    ``priority`` is the number of a ``Priority``: a smaller one is more urgent.
    """

    share: str
    priority: int


HOSTS_SHARE = "_host"
"""What happened outside of containers, and Tiercel's own alerts."""
NOBODYS_SHARE = "_container"
"""What happened in containers whose pod isn't known."""

_OF_OWN_RULES = ".own"  # no namespace's name has a full stop
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)


ONE_FLOW = Flow("", 0)
"""The flow of what isn't of any namespace."""


def flow_of(alert: Alert) -> Flow:
    """The flow of an alert.

    The share is that of the pod's namespace, whosever rule it was: the pods decide how often a rule matches. What a
    namespace's own rules tell has another share, since whoever writes these chooses their priority too, and must not
    hold up or push out what the system's rules tell of the same pods.
    """
    author = alert.origin.namespace if alert.origin is not None else ""
    if author not in ("", SYSTEM_NAMESPACE):  # such a rule watches its own namespace's pods alone
        share = f"{author}{_OF_OWN_RULES}" if _NAMESPACE.fullmatch(author) else NOBODYS_SHARE
    else:
        share = _share_of_place(alert)
    return Flow(share, int(alert.priority))


def _share_of_place(alert: Alert) -> str:
    namespace = alert.output_fields.get("k8s.ns.name")
    if isinstance(namespace, str) and _NAMESPACE.fullmatch(namespace):
        return namespace
    return HOSTS_SHARE if alert.output_fields.get("container.id") in (None, HOST) else NOBODYS_SHARE


class Rotation:
    """Each share in turn gives one alert, the oldest of its most urgent flow."""

    def __init__(self) -> None:
        self._shares: dict[str, None] = {}  # in the order of their turns

    def turns(self, counts: Mapping[Flow, int], most: int) -> list[Flow]:
        """The flows of the next alerts, ``most`` at most; ``counts`` is how many wait."""
        flows: dict[str, list[Flow]] = {}
        for flow in sorted((flow for flow, count in counts.items() if count), key=lambda flow: flow.priority):
            flows.setdefault(flow.share, []).append(flow)
        self._shares = {share: None for share in (*self._shares, *flows) if share in flows}
        waiting = deque(
            chain.from_iterable(repeat(flow, counts[flow]) for flow in flows[share]) for share in self._shares
        )
        turns: list[Flow] = []
        while waiting and len(turns) < most:
            of_share = waiting.popleft()
            if (turn := next(of_share, None)) is not None:
                turns.append(turn)
                waiting.append(of_share)
        return turns

    def took(self, flow: Flow) -> None:
        """The share has had its turn: all others come before it has another one."""
        if flow.share in self._shares:
            del self._shares[flow.share]
            self._shares[flow.share] = None


def first_to_lose(sizes: Mapping[Flow, int]) -> Flow:
    """The flow of which something is dropped where there is too much: the least urgent of the share that has most.

    ``sizes`` aren't empty.
    """
    of_shares: Counter[str] = Counter()
    for flow, size in sizes.items():
        of_shares[flow.share] += size
    most = max(of_shares, key=of_shares.__getitem__)
    return max(flow for flow in sizes if flow.share == most)
