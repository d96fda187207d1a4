"""Which nodes a SecurityRule is for, and which of them run it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tiercel_engine.resources.node_agent import NodeWarning, UnwatchedPart, WarningKind
from tiercel_engine.rule import Origin
from tiercel_engine.rules.objects import RuleObject
from tiercel_engine.scope import SYSTEM_NAMESPACE, Scope
from tiercel_operator.cluster.objects import Agent, Lost

_BUNDLES = 64


class History:
    """Which bundles hold an object as it is now. A node with an older bundle may run the object nevertheless."""

    def __init__(self) -> None:
        self._bundles: OrderedDict[str, Mapping[Origin, RuleObject]] = OrderedDict()

    def made(self, bundle: str, objects: Iterable[RuleObject]) -> None:
        """Notes a bundle of these objects, which is what nodes are to have from now on."""
        self._bundles[bundle] = {each.origin: each for each in objects}
        self._bundles.move_to_end(bundle)
        if len(self._bundles) > _BUNDLES:
            self._bundles.popitem(last=False)

    def holds(self, bundle: str, object_: RuleObject) -> bool:
        """Whether the bundle of this hash holds exactly this object; False for a bundle of long ago."""
        return self._bundles.get(bundle, {}).get(object_.origin) is object_


@dataclass(frozen=True, slots=True)
class Fleet:
    """The agents of some nodes, grouped by what they report: there may be thousands."""

    size: int
    by_bundle: Mapping[str, Sequence[str]]
    """Names of nodes."""
    lost: Mapping[Lost, Sequence[str]]
    """Names of nodes that lost events lately, by what was lost."""
    unwatched: Mapping[Sequence[UnwatchedPart], Sequence[str]]
    """Names of nodes whose kernels refuse parts of the programs, by the parts."""
    over_budget: Mapping[str, Mapping[Sequence[str], Sequence[str]]]
    """Names of nodes on which a namespace's rules are too many for the filter, by namespace and by the rules' keys."""

    @classmethod
    def of(cls, agents: Iterable[Agent], clock: float) -> Fleet:
        by_bundle: dict[str, list[str]] = {}
        unwatched: dict[Sequence[UnwatchedPart], list[str]] = {}
        over_budget: dict[str, dict[Sequence[str], list[str]]] = {}
        losing: dict[Lost, list[str]] = {}
        size = 0
        for agent in agents:
            size += 1
            by_bundle.setdefault(agent.status.bundle, []).append(agent.node)
            for lost in agent.losses(clock):
                losing.setdefault(lost, []).append(agent.node)
            if agent.status.unwatched:
                unwatched.setdefault(agent.status.unwatched, []).append(agent.node)
            for namespace, rules in _over_budget(agent.status.warnings):
                over_budget.setdefault(namespace, {}).setdefault(rules, []).append(agent.node)
        return cls(size, by_bundle, losing, unwatched, over_budget)


def _over_budget(warnings: Iterable[NodeWarning]) -> Iterable[tuple[str, Sequence[str]]]:
    """Namespaces whose rules are too many for an agent's filter, each with the keys of rules that are."""
    for warning in warnings:
        if warning.kind is WarningKind.TOO_MANY_RULES:
            yield SYSTEM_NAMESPACE, warning.names
        elif warning.kind is WarningKind.FILTER_BUDGET_EXCEEDED and warning.names:
            yield warning.names[0].partition("/")[0], warning.names


def alerts_of(agents: Iterable[Agent]) -> dict[Origin, tuple[int, str | None]]:
    """How many alerts there were by SecurityRule, and when the last one was, in RFC 3339."""
    totals: dict[Origin, tuple[int, str | None]] = {}
    for agent in agents:
        for each in agent.status.alerts:
            origin = Origin(each.namespace, each.name)
            count, last = totals.get(origin, (0, None))
            totals[origin] = count + each.count, max(filter(None, (last, each.last)), default=None)
    return totals


def is_for(scope: Scope, node: str, labels: Mapping[str, str]) -> bool:
    """Whether rules of that scope watch on a node."""
    named = scope.node_names is None or node in scope.node_names
    return named and all(test.holds(labels) for test in scope.nodes)
