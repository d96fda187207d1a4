"""The custom resources as the API server has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from tiercel_engine.located import located
from tiercel_engine.printable import printable
from tiercel_engine.resources.alert_sink import SEND_TEST
from tiercel_engine.resources.node_agent import LossCause, NodeAgentStatus
from tiercel_engine.rule import Origin
from tiercel_engine.rules.objects import RuleObject
from tiercel_engine.scope import Scope
from tiercel_operator.cluster.budgets import NOTHING, Size, Sized

_LONGEST_ID = 256

Problem = tuple[str, str]
"""Reason and message of what is wrong with an object; the reason is "" if it is in order."""
IN_ORDER: Problem = "", ""

LOSS_LASTS = 600.0
"""Seconds for which a loss counts as recent."""


@dataclass(frozen=True, slots=True)
class StoredRule:
    """A SecurityRule as the API server has it. ``status`` is JSON."""

    object: RuleObject
    uid: str
    generation: int
    status: Mapping[str, Any]
    scope: Scope
    created: str = ""
    """When, in RFC 3339."""
    size: Size = NOTHING
    left_out: bool = False
    """Whether the object's spec isn't kept in memory: its namespace has more than it may."""

    @property
    def suspended(self) -> bool:
        return bool(self.object.spec.get("suspend"))

    @property
    def sized(self) -> Sized:
        return Sized(self.object.origin, self.created, self.suspended, self.size)

    def is_version(self, uid: str, generation: int) -> bool:
        """Whether the object has this spec."""
        return (self.uid, self.generation) == (uid, generation)

    def without_spec(self) -> StoredRule:
        """The same, left out of memory."""
        spec = {"suspend": True} if self.suspended else {}
        return replace(self, object=RuleObject(self.object.namespace, self.object.name, spec), left_out=True)


class Lost(NamedTuple):
    """A cause, and the rule's key or the namespace that it concerns alone; both are "" if it may concern any rule."""

    cause: LossCause
    rule: str = ""
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Agent:
    """The agent of a node as in its last report."""

    node: str
    status: NodeAgentStatus
    lost_at: Mapping[Lost, float] = field(default_factory=dict)
    """When it last reported more of a loss, in monotonic seconds."""
    sinks_lost_at: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """When it last reported more losses of alerts, by namespace and name of the AlertSink."""

    def losses(self, now: float) -> list[Lost]:
        """What was lost lately."""
        return [lost for lost, at in self.lost_at.items() if now - at < LOSS_LASTS]

    def loses_of(self, sink: tuple[str, str], now: float) -> bool:
        """Whether alerts of an AlertSink were lost lately."""
        return now - self.sinks_lost_at.get(sink, float("-inf")) < LOSS_LASTS


@dataclass(frozen=True, slots=True)
class StoredSink:
    """An AlertSink as the API server has it. ``spec`` and ``status`` are JSON."""

    origin: Origin
    generation: int
    spec: Mapping[str, Any]
    status: Mapping[str, Any]
    created: str = ""
    wanted_test: str = ""
    """The id of the test alert that is asked for, "" if none is."""

    @property
    def suspended(self) -> bool:
        return bool(self.spec.get("suspend"))


def wanted_test(metadata: Mapping[str, Any]) -> str:
    """The id of the test alert that an AlertSink's metadata asks for: the annotation's value, or "1" if that is empty.
    "" if there is no annotation."""
    value = (metadata.get("annotations") or {}).get(SEND_TEST)
    return printable(value[:_LONGEST_ID])[:_LONGEST_ID] or "1" if isinstance(value, str) else ""


def check_failed(error: Exception) -> Problem:
    """The problem of an object of which an error came that nobody foresaw. It is that object's alone: all others go
    on."""
    return "CheckFailed", f"the object can't be handled: {located(error)} (change it, and please report this)"
