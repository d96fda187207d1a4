"""Verdicts about SecurityRules without workers, and plans that follow from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tiercel_engine.rule import Origin
from tiercel_engine.rules.objects import RuleObject
from tiercel_engine.scope import SYSTEM_NAMESPACE
from tiercel_operator.cluster.state import State
from tiercel_operator.rules import checking
from tiercel_operator.rules.checked import Verdict, from_json
from tiercel_operator.rules.plan import Plan, Planner


def verdicts_of(objects: Iterable[RuleObject]) -> dict[Origin, Verdict]:
    """What workers would find, had they no limits."""
    by_namespace: dict[str, list[RuleObject]] = {}
    for each in objects:
        by_namespace.setdefault(each.namespace, []).append(each)
    shared = checking.definitions(by_namespace.get(SYSTEM_NAMESPACE, ()))
    verdicts: dict[Origin, Verdict] = {}
    for namespace, members in by_namespace.items():
        seen: Sequence[RuleObject] = () if namespace == SYSTEM_NAMESPACE else shared
        found = from_json(checking.check(members, seen))
        verdicts |= {each.origin: Verdict(each, found[each.origin]) for each in members}
    return verdicts


def planned(planner: Planner, state: State) -> Plan:
    """The plan once everything is checked."""
    return planner.plan(state, verdicts_of(planner.candidates(state)))
