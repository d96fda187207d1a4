"""What the operator knows of the cluster. Events replace objects in it, and never change them in place."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tiercel_engine.located import located
from tiercel_engine.nesting import bounded
from tiercel_engine.resources.encoding import from_json
from tiercel_engine.resources.node_agent import NodeAgentStatus
from tiercel_engine.rule import Origin
from tiercel_engine.rules.objects import RuleObject, scope_of
from tiercel_engine.units import MEBIBYTE
from tiercel_operator.cluster.budgets import NOTHING, TENANT, Size, over_budget, size_of
from tiercel_operator.cluster.objects import LOSS_LASTS, Agent, Lost, StoredRule, StoredSink, wanted_test

LOGGER = logging.getLogger(__name__)

LOOK_AFTER = 16 * MEBIBYTE
"""Bytes of SecurityRules that come until the budgets are looked at. So much beyond them may be in memory."""
_NUMERIC = ("InternalIP", "ExternalIP")


@dataclass(slots=True)
class State:
    """One thread changes the state; others get a snapshot of it."""

    rules: dict[Origin, StoredRule] = field(default_factory=dict)
    agents: dict[str, Agent] = field(default_factory=dict)
    sinks: dict[Origin, StoredSink] = field(default_factory=dict)
    nodes: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """Labels by the node's name."""
    addresses: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Addresses by the node's name."""
    api_addresses: tuple[str, ...] = ()
    """Addresses at which the API server itself listens."""
    service_networks: tuple[str, ...] = ()
    """The networks of the cluster's Services, in CIDR notation."""
    delivery_changes: int = 0
    """How often a delivery report of an agent has changed."""
    tenant: Size = TENANT
    """The budget of each tenant's namespace. What is over it isn't kept whole."""
    _unlooked: int = field(default=0, compare=False)
    """Bytes of SecurityRules that came since the budgets were last looked at."""

    def snapshot(self) -> State:
        """A copy that later events don't change."""
        return State(
            rules=dict(self.rules),
            agents=dict(self.agents),
            sinks=dict(self.sinks),
            nodes=dict(self.nodes),
            addresses=dict(self.addresses),
            api_addresses=self.api_addresses,
            service_networks=self.service_networks,
            delivery_changes=self.delivery_changes,
            tenant=self.tenant,
        )

    def cluster_addresses(self) -> set[str]:
        """The addresses of all nodes and of the API server."""
        return {*self.api_addresses, *(address for each in self.addresses.values() for address in each)}

    def take_rule(self, body: Mapping[str, Any], *, exists: bool, whole: bool = False) -> bool:
        """Takes an event of a SecurityRule, whose body is JSON. Returns whether it has changed anything.

        One that was left out of memory is left out again, unless it has changed or is wanted ``whole``.
        """
        metadata = body["metadata"]
        origin = Origin(metadata["namespace"], metadata["name"])
        before = self.rules.get(origin)
        if not exists:
            return self.rules.pop(origin, None) is not None
        uid, generation, spec = metadata["uid"], metadata.get("generation", 0), body.get("spec") or {}
        status, created = bounded(body.get("status") or {}), str(metadata.get("creationTimestamp") or "")
        is_left_out = before is not None and before.left_out and before.is_version(uid, generation) and not whole
        if before is not None and (is_left_out or (before.object.spec == spec and not before.left_out)):
            # The same object is kept, so that a change of the status alone doesn't have its rules resolved again.
            now = replace(before, uid=uid, generation=generation, status=status, created=created)
        else:
            rules = RuleObject(origin.namespace, origin.name, bounded(spec))
            now = StoredRule(rules, uid, generation, status, scope_of(rules), created, _size(rules))
            self._unlooked += now.size.applied
        self.rules[origin] = now
        if self._unlooked > LOOK_AFTER:
            self._leave_out()
        return before != now

    def _leave_out(self) -> None:
        """Leaves out of memory what is over a budget."""
        self._unlooked = 0
        for origin in over_budget((stored.sized for stored in self.rules.values()), self.tenant):
            if not self.rules[origin].left_out:
                self.rules[origin] = self.rules[origin].without_spec()

    def take_sink(self, body: Mapping[str, Any], *, exists: bool) -> bool:
        """Takes an event of an AlertSink. Returns whether it has changed anything."""
        metadata = body["metadata"]
        origin = Origin(metadata["namespace"], metadata["name"])
        before = self.sinks.get(origin)
        if not exists:
            return self.sinks.pop(origin, None) is not None
        spec, status = bounded(body.get("spec") or {}), bounded(body.get("status") or {})
        created = str(metadata.get("creationTimestamp") or "")
        now = StoredSink(origin, metadata.get("generation", 0), spec, status, created, wanted_test(metadata))
        self.sinks[origin] = now
        return before != now

    def take_agent(self, body: Mapping[str, Any], *, exists: bool, now: float) -> bool:
        """Takes an event of a NodeAgent at ``now``, in monotonic seconds. Returns whether it has changed anything."""
        name = body["metadata"]["name"]
        before = self.agents.get(name)
        if not exists:
            self.delivery_changes += 1
            return self.agents.pop(name, None) is not None
        try:
            status = from_json(NodeAgentStatus, bounded(body.get("status") or {}))
        except Exception as error:  # an agent of another version wrote it, or somebody who means harm
            LOGGER.warning("the status of the NodeAgent %s can't be read: %s", name, located(error))
            return False
        lost_at = _lost_at(before, status, now) if before is not None else {}
        has_news = before is None or before.status.sinks != status.sinks
        sinks_lost_at = before.sinks_lost_at if before is not None else {}
        if before is not None and has_news:
            sinks_lost_at = _sinks_lost_at(before, status, now)
        self.agents[name] = Agent(name, status, lost_at, sinks_lost_at)
        self.delivery_changes += has_news
        return before is None or before.status != status

    def take_node(self, body: Mapping[str, Any], *, exists: bool) -> bool:
        """Takes an event of a Node. Returns whether it has changed anything."""
        metadata = body["metadata"]
        name, labels = metadata["name"], dict(metadata.get("labels") or {})
        if not exists:
            self.addresses.pop(name, None)
            return self.nodes.pop(name, None) is not None
        before = self.nodes.get(name), self.addresses.get(name)
        listed = (body.get("status") or {}).get("addresses") or ()
        addresses = tuple(sorted({each["address"] for each in listed if each["type"] in _NUMERIC}))
        self.nodes[name], self.addresses[name] = labels, addresses
        return before != (labels, addresses)

    def take(self, kind: str, body: Mapping[str, Any], *, exists: bool) -> bool:
        """Takes an event of an object of the kind, whatever the object is like. Returns whether it has changed
        anything."""
        try:
            match kind:
                case "SecurityRule":
                    return self.take_rule(body, exists=exists)
                case "AlertSink":
                    return self.take_sink(body, exists=exists)
                case "NodeAgent":
                    return self.take_agent(body, exists=exists, now=time.monotonic())
                case _:
                    return self.take_node(body, exists=exists)
        except Exception as error:  # one object that nobody foresaw must not keep others from being known
            LOGGER.error("an object of the kind %s can't be read: %s", kind, located(error))
            return False

    def objects(self) -> Iterator[RuleObject]:
        """The SecurityRules that are kept whole."""
        return (stored.object for stored in self.rules.values() if not stored.left_out)


def _size(rule_object: RuleObject) -> Size:
    """What an object takes of its namespace's budget. One that can't be in a bundle takes memory alone, it isn't known
    how much."""
    try:
        return size_of(rule_object)
    except Exception:  # text that can't be JSON, and what nobody foresaw
        return NOTHING._replace(applied=MEBIBYTE)


def _sinks_lost_at(before: Agent, status: NodeAgentStatus, now: float) -> dict[tuple[str, str], float]:
    """When alerts of each AlertSink were last lost, in monotonic seconds. An agent that was restarted counts from
    zero."""
    lost = {(each.namespace, each.name): each.lost for each in before.status.sinks}
    lost_at = {sink: at for sink, at in before.sinks_lost_at.items() if now - at < LOSS_LASTS}
    for each in status.sinks:
        if each.lost and each.lost != lost.get((each.namespace, each.name), 0):
            lost_at[each.namespace, each.name] = now
    return lost_at


def _lost_at(before: Agent, status: NodeAgentStatus, now: float) -> dict[Lost, float]:
    """When each loss of events last grew, in monotonic seconds. An agent that was restarted counts from zero."""
    counts = _lost(before.status)
    lost_at = {lost: at for lost, at in before.lost_at.items() if now - at < LOSS_LASTS}
    for lost, count in _lost(status).items():
        if count and count != counts.get(lost, 0):
            lost_at[lost] = now
    return lost_at


def _lost(status: NodeAgentStatus) -> dict[Lost, int]:
    by_cause = status.lost.by_cause if status.lost is not None else ()
    return {Lost(each.cause, each.rule, each.namespace): each.count for each in by_cause}
