"""The status of a SecurityRule: whether its rules are valid, on which nodes they run, and how often they alerted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tiercel_engine.resources.encoding import to_json
from tiercel_engine.resources.node_agent import OVER_SHARE
from tiercel_engine.resources.resource import Condition, ConditionStatus
from tiercel_engine.resources.security_rule import (
    NodeCounts,
    RuleResult,
    RuleState,
    SecurityRuleStatus,
    Summary,
    TestResult,
)
from tiercel_engine.rules.objects import RuleObject
from tiercel_engine.scope import SYSTEM_NAMESPACE
from tiercel_operator.cluster.objects import Problem, StoredRule
from tiercel_operator.conditions import LARGEST_COUNT, MOST_NAMED, and_more, condition, dated, listed, short
from tiercel_operator.rules.checked import CheckedObject
from tiercel_operator.rules.losses import concerns
from tiercel_operator.rules.nodes import Fleet, History

WAITING = "Waiting"
"""The reason of an object that will be checked."""
VALID, CHECKED, READY, DEGRADED = "Valid", "Checked", "Ready", "DetectionDegraded"
_MOST_RULES = 1000
_TRUE, _FALSE, _UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN


@dataclass(frozen=True, slots=True)
class Facts:
    """What the status of one SecurityRule is made of."""

    stored: StoredRule
    carried: RuleObject
    """What agents get of it."""
    problem: Problem
    """Why nobody gets it."""
    unchecked: Problem
    """Why nobody gets it as it is now, as far as that is for want of a check."""
    checked: CheckedObject
    bundle: str
    fleet: Fleet
    """The nodes that the rules are for."""
    alerts: tuple[int, str | None]
    """How many there were, and when the last one was, in RFC 3339."""


def status_of(facts: Facts, history: History, now: str) -> dict[str, Any]:
    """The status as JSON. ``now`` is in RFC 3339; a condition that hasn't changed keeps its time."""
    stored, fleet = facts.stored, facts.fleet
    rules = tuple(_rule_results(facts))[:_MOST_RULES]
    in_force = sum(result.state is RuleState.LOADED for result in rules)
    waiting = [node for bundle, nodes in fleet.by_bundle.items() if not _runs(bundle, facts, history) for node in nodes]
    ready = fleet.size - len(waiting)
    states = (_checked(facts), _valid(facts, rules), _ready(facts, waiting), _degraded(facts))
    status = SecurityRuleStatus(
        observed_generation=stored.generation,
        conditions=tuple(dated(each, stored.status, stored.generation, now) for each in states),
        summary=Summary(f"{in_force}/{len(rules)}", f"{ready}/{fleet.size}"),
        rules=rules,
        tests=tuple(
            TestResult(outcome.name, outcome.passed, short(outcome.message)) for outcome in facts.checked.tests
        ),
        nodes=NodeCounts(fleet.size, ready),
        alerts=min(facts.alerts[0], LARGEST_COUNT),
        last_alert=facts.alerts[1],
        bundle=_first_bundle(facts),
    )
    body: dict[str, Any] = to_json(status)
    return body


def status_of_problem(stored: StoredRule, problem: Problem, now: str) -> dict[str, Any]:
    """The status of an object of which nothing is known but why nobody gets it, as JSON."""
    conditions = (condition(type_, _FALSE, *problem) for type_ in (CHECKED, VALID, READY))
    status = SecurityRuleStatus(
        observed_generation=stored.generation,
        conditions=tuple(dated(each, stored.status, stored.generation, now) for each in conditions),
    )
    body: dict[str, Any] = to_json(status)
    return body


def _first_bundle(facts: Facts) -> str:
    """The first bundle that has the object as it is now, "" if none has. Later bundles have it too, and would only make
    the status change more often."""
    if facts.problem[0] or facts.unchecked[0]:
        return ""
    before = facts.stored.status
    is_same = before.get("observedGeneration") == facts.stored.generation
    return str(before.get("bundle") or facts.bundle) if is_same else facts.bundle


def _runs(bundle: str, facts: Facts, history: History) -> bool:
    return history.holds(bundle, facts.carried) and not facts.stored.suspended


def _rule_results(facts: Facts) -> Iterable[RuleResult]:
    if facts.unchecked[0]:
        return
    loaded = {rule.name: rule for rule in facts.checked.rules}
    wrong: dict[str, list[str]] = {}
    for error in facts.checked.errors:
        wrong.setdefault(error.item_name, []).append(error.message + (f" ({error.hint})" if error.hint else ""))
    warned = {each.item_name: each.message for each in facts.checked.warnings if each.item_type == "rule"}
    for name in _rule_names(facts.stored.object.spec):
        if name in loaded:
            state = RuleState.LOADED if loaded[name].enabled else RuleState.DISABLED
            if facts.stored.suspended:
                state = RuleState.SUSPENDED
            yield RuleResult(name, state, short(warned.get(name, "")))
        else:
            why = facts.problem[1] or "; ".join(wrong.get(name, [])) or warned.get(name, "")
            yield RuleResult(name, RuleState.REFUSED, short(why))


def _rule_names(spec: Mapping[str, Any]) -> dict[str, None]:
    items = spec.get("rules")
    names = (item.get("rule") for item in items if isinstance(item, Mapping)) if isinstance(items, list) else ()
    return {name: None for name in names if isinstance(name, str) and name}


def _checked(facts: Facts) -> Condition:
    if facts.unchecked[0]:
        return condition(CHECKED, _FALSE, *facts.unchecked)
    if facts.problem[0]:
        return condition(CHECKED, _FALSE, *facts.problem)
    return condition(CHECKED, _TRUE, "Checked", "the operator has checked it")


def _valid(facts: Facts, rules: Sequence[RuleResult]) -> Condition:
    if facts.unchecked[0]:
        return condition(VALID, _UNKNOWN, *facts.unchecked)
    if facts.problem[0]:
        return condition(VALID, _FALSE, *facts.problem)
    errors = (*(error.line for error in facts.checked.errors), *facts.checked.test_errors)
    failed = [outcome.name for outcome in facts.checked.tests if not outcome.passed]
    if errors:
        message = "; ".join(errors[:MOST_NAMED]) + and_more(len(errors))
        return condition(VALID, _FALSE, "Refused", message)
    if failed or facts.checked.tests_failure:
        message = facts.checked.tests_failure or f"tests that failed: {listed(failed)}"
        return condition(VALID, _FALSE, "TestsFailed", message)
    return condition(VALID, _TRUE, "Loaded", f"{len(rules)} rule{'s' * (len(rules) != 1)}")


def _ready(facts: Facts, waiting: Sequence[str]) -> Condition:
    if facts.stored.suspended:
        return condition(READY, _FALSE, "Suspended", "spec.suspend is true")
    wrong = facts.unchecked if facts.unchecked[0] else facts.problem
    if wrong[0]:
        return condition(READY, _FALSE, *wrong)
    if not facts.fleet.size:
        return condition(READY, _FALSE, "NoNodes", "no agent of a node that these rules are for has reported yet")
    if facts.checked.errors and not facts.checked.rules:
        return condition(READY, _FALSE, "Refused", "none of its rules is valid")
    if waiting:
        message = f"not reported yet by {listed(sorted(waiting))}"
        return condition(READY, _FALSE, "RollingOut", message)
    return condition(READY, _TRUE, "Running", f"on {facts.fleet.size} node{'s' * (facts.fleet.size != 1)}")


def _degraded(facts: Facts) -> Condition:
    causes = {
        "EventsLost": _losses(facts),
        "NotEverythingWatched": _blindness(facts),
        "OverBudget": _over_budget(facts),
    }
    told = {reason: message for reason, message in causes.items() if message}
    if not told:
        return condition(DEGRADED, _FALSE, "NothingLost", "no events were lost lately that these rules ask for")
    return condition(DEGRADED, _TRUE, next(iter(told)), "; ".join(told.values()))


def _losses(facts: Facts) -> str:
    """On which nodes events were lost lately that can concern the rules."""
    rules, origin = facts.checked.rules, facts.stored.object.origin
    hit = {
        node
        for lost, nodes in facts.fleet.lost.items()
        if lost.cause not in OVER_SHARE and concerns(lost, rules, origin)
        for node in nodes
    }
    if not hit or facts.stored.suspended:
        return ""
    return f"events were lost on {listed(sorted(hit))}: what these rules ask for may be among them"


def _blindness(facts: Facts) -> str:
    """On which nodes the kernel refuses to show events that the rules ask for, and why."""
    if not facts.fleet.unwatched or facts.stored.suspended:
        return ""
    asked = {rule.name: rule.types for rule in facts.checked.rules if rule.enabled}
    sentences = []
    for parts, nodes in facts.fleet.unwatched.items():
        for part in parts:
            rules = [name for name, types in asked.items() if not types.isdisjoint(part.calls)]
            calls = [call for call in part.calls if any(call in asked[name] for name in rules)]
            if rules:
                that_fail = " that fail" if part.only_failed else ""
                sentences.append(
                    f"on {listed(sorted(nodes))} the kernel doesn't let {listed(calls)}{that_fail} be seen, "
                    f"which is asked for by {listed(rules)}: {part.reason}"
                )
    return "; ".join(sentences[:MOST_NAMED]) + and_more(len(sentences))


def _over_budget(facts: Facts) -> str:
    """On which nodes the rules of the object's namespace exceed its budget, which all of its objects share."""
    namespace = facts.stored.object.namespace
    if facts.stored.suspended:
        return ""
    where = "" if namespace == SYSTEM_NAMESPACE else " of its pods"
    sentences = []
    for keys, nodes in facts.fleet.over_budget.get(namespace, {}).items():
        rules = listed([key.removeprefix(f"{namespace}/") for key in keys])
        sentences.append(
            f"on {listed(sorted(nodes))} the rules of this namespace exceed its budget in the kernel's filter: "
            f"for {rules}, more calls{where} go to user space, where some may be lost"
        )
    over_share = {
        node
        for lost, nodes in facts.fleet.lost.items()
        if lost.cause in OVER_SHARE and lost.namespace == namespace
        for node in nodes
    }
    if over_share:
        sentences.append(
            f"on {listed(sorted(over_share))} the rules of this namespace take more time, or raise more alerts, than "
            "they may: lately they did not see all events of its pods, or alerts were left out"
        )
    return "; ".join(sentences[:MOST_NAMED]) + and_more(len(sentences))


def differs(status: Mapping[str, Any], stored: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether a status differs from the stored one, and whether it does in more than its counters."""
    if status == stored:
        return False, False
    return True, _without_counters(status) != _without_counters(stored)


def _without_counters(status: Mapping[str, Any]) -> dict[str, Any]:
    """The status without its counters. Of these only stays whether there were alerts at all."""
    counters = ("alerts", "lastAlert")
    return {key: bool(value) if key in counters else value for key, value in status.items()}
