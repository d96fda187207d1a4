"""What is planned: the bundle and the statuses."""

from __future__ import annotations

import random
from typing import Any

import pytest
from operator_support.checked import planned, verdicts_of
from operator_support.rule_objects import of, rule

from tiercel_engine.rule import Origin
from tiercel_engine.rules.bundle import unpack
from tiercel_engine.units import MEBIBYTE
from tiercel_operator.bundle_config_maps import MOST_PARTS
from tiercel_operator.cluster import budgets
from tiercel_operator.cluster.budgets import TENANT
from tiercel_operator.cluster.state import LOOK_AFTER, State
from tiercel_operator.rules import checking
from tiercel_operator.rules import plan as plan_module
from tiercel_operator.rules.checked import Verdict
from tiercel_operator.rules.plan import Plan, Planner

OPEN = "evt.type = open"
SYSTEM = "tiercel-system"


def store(
    state: State, name: str, namespace: str = "shop", generation: int = 1, created: int = 0, **item: Any
) -> dict[str, Any]:
    """A SecurityRule as the API server would tell of it, made in the given minute. Returns its spec."""
    spec = item.pop("spec", {})
    rule = {"rule": name, "desc": "d", "condition": OPEN, "output": "o", "priority": "NOTICE", **item}
    metadata = {
        "namespace": namespace,
        "name": name,
        "uid": name,
        "generation": generation,
        "creationTimestamp": f"2026-11-25T01:{created:02}:00Z",
    }
    body = {"metadata": metadata, "spec": {"rules": [rule], **spec}}
    state.take_rule(body, exists=True)
    return body["spec"]


def keep(state: State, plan: Plan) -> None:
    """Stores the statuses of a plan."""
    for write in plan.statuses:
        stored = state.rules[write.origin]
        metadata = {
            "namespace": write.origin.namespace,
            "name": write.origin.name,
            "uid": stored.uid,
            "generation": stored.generation,
            "creationTimestamp": stored.created,
        }
        state.take_rule({"metadata": metadata, "spec": stored.object.spec, "status": write.status}, exists=True)


def report(state: State, node: str, bundle: str) -> None:
    state.take_agent({"metadata": {"name": node}, "status": {"bundle": bundle}}, exists=True, now=0.0)


def turn(planner: Planner, state: State) -> Plan:
    plan = planned(planner, state)
    keep(state, plan)
    return plan


def condition(state: State, name: str, type_: str = "Ready", namespace: str = "shop") -> tuple[str, str, str]:
    status = state.rules[Origin(namespace, name)].status
    found = next(each for each in status["conditions"] if each["type"] == type_)
    return found["status"], found["reason"], found["message"]


def reason(state: State, name: str, type_: str = "Ready", namespace: str = "shop") -> str:
    return condition(state, name, type_, namespace)[1]


def in_force(plan: Plan) -> set[str]:
    return {f"{each.namespace}/{each.name}" for each in unpack(plan.bundle)}


def noise(kibibytes: int, seed: int = 1) -> str:
    """Text that compresses to half of its size."""
    return random.Random(seed).randbytes(kibibytes * 512).hex()


def test_what_exceeds_its_namespaces_budget_is_left_out_alone_and_says_so() -> None:
    state, planner = State(), Planner(clock=lambda: 0.0)
    store(state, "other", "bank")
    store(state, "default", SYSTEM)
    for number in range(8):
        store(state, f"large-{number}", created=8 - number, output=noise(180, number))
    plan = turn(planner, state)
    kept = {"shop/large-6", "shop/large-7"}
    assert in_force(plan) == {"bank/other", f"{SYSTEM}/default", *kept}, "the oldest of them"
    status, why, message = condition(state, "large-0")
    assert (status, why) == ("False", "OverBudget")
    assert condition(state, "large-0", "Valid") == (status, why, message)
    assert "8 objects, 1,44" in message
    budget = "200 objects, 1,024 KiB, 256 KiB compressed, 2,048 KiB with descriptions and tests"
    assert f"{budget} is the most (remove or shorten some" in message
    assert reason(state, "large-7", "Valid") == reason(state, "other", "Valid", "bank") == "Loaded"

    report(state, "n1", plan.bundle.hash)
    turn(planner, state)
    assert reason(state, "large-7") == reason(state, "other", "Ready", "bank") == "Running"
    assert reason(state, "large-0") == "OverBudget"

    state.rules.pop(Origin("shop", "large-7"))
    assert in_force(turn(planner, state)) == {"bank/other", f"{SYSTEM}/default", "shop/large-5", "shop/large-6"}
    assert reason(state, "large-5") == "RollingOut"


def test_an_object_that_is_left_out_is_in_no_bundle_of_its_status() -> None:
    state, planner = State(), Planner(clock=lambda: 0.0)
    store(state, "one")
    first = turn(planner, state)
    assert state.rules[Origin("shop", "one")].status["bundle"] == first.bundle.hash
    store(state, "one", generation=2, output=noise(1200))
    assert in_force(turn(planner, state)) == set()
    assert "bundle" not in state.rules[Origin("shop", "one")].status
    store(state, "one", generation=3)
    last = turn(planner, state)
    assert state.rules[Origin("shop", "one")].status["bundle"] == last.bundle.hash


def test_many_namespaces_at_their_budgets_cost_neither_the_system_nor_small_ones_anything() -> None:
    """The ConfigMaps hold them all in any case."""
    state, planner = State(), Planner(clock=lambda: 0.0)
    store(state, "default", SYSTEM, output=noise(100, 1000))
    store(state, "small", "small")
    for number in range(48):
        for part in range(2):
            store(state, f"r{part}", f"n{number}", created=part, output=noise(110, 2 * number + part))
    plan = turn(planner, state)
    assert len(plan.bundle.parts) <= MOST_PARTS
    olds = {f"n{number}/r0" for number in range(48)}
    assert in_force(plan) == {f"{SYSTEM}/default", "small/small", *olds}, "each has the same"
    assert reason(state, "r1", namespace="n7") == "OverBudget"


def test_what_compresses_well_counts_unpacked() -> None:
    state, planner = State(), Planner(clock=lambda: 0.0)
    for number in range(40):
        store(state, f"bomb-{number:02}", created=number, output="a" * (100 << 10))
    assert len(in_force(turn(planner, state))) == 10


def test_very_many_small_ones_count_by_their_number() -> None:
    state, planner = State(), Planner(clock=lambda: 0.0, tenant=TENANT._replace(objects=3))
    for number in range(6):
        store(state, f"r{number}", created=number)
    assert in_force(turn(planner, state)) == {"shop/r0", "shop/r1", "shop/r2"}


def test_suspended_ones_take_no_room_from_those_in_force() -> None:
    state, planner = State(), Planner(clock=lambda: 0.0, tenant=TENANT._replace(objects=1))
    store(state, "old", created=1, spec={"suspend": True})
    store(state, "young", created=2)
    assert in_force(turn(planner, state)) == {"shop/young"}
    assert reason(state, "old") == "Suspended"


def test_descriptions_and_tests_take_no_room_in_the_bundle() -> None:
    state, planner = State(), Planner(clock=lambda: 0.0)
    tests = [{"name": "t", "event": {"evt.type": "open", "proc.cmdline": noise(60)}, "expect": ["r0"]}]
    for number in range(8):
        store(state, f"r{number}", desc=noise(200, number), spec={"tests": tests} if not number else {})
    assert len(in_force(turn(planner, state))) == 8
    assert reason(state, "r0", "Valid") == "Loaded"
    for number in range(8, 12):
        store(state, f"r{number}", desc=noise(200, number), created=1)
    assert len(in_force(turn(planner, state))) == 9
    assert reason(state, "r11", "Valid") == "OverBudget"


def test_what_was_left_out_of_memory_is_missed_when_there_is_room_for_it() -> None:
    state, planner = State(), Planner(clock=lambda: 0.0)
    for number in range(2 * LOOK_AFTER // MEBIBYTE):
        store(state, f"r{number:02}", created=number, desc=noise(1000, number))
    left_out = {origin.name for origin, stored in state.rules.items() if stored.left_out}
    assert {"r02", "r10"} <= left_out
    assert in_force(turn(planner, state)) == {"shop/r00", "shop/r01"}
    assert planner.missing(state) == []
    assert reason(state, "r02", "Valid") == "OverBudget"
    state.rules.pop(Origin("shop", "r00"))
    assert [origin.name for origin in planner.missing(state)] == ["r02"]
    assert in_force(turn(planner, state)) == {"shop/r01"}


def deep(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("levels", [60, 255, 900, 5000])
@pytest.mark.parametrize("namespace", ["shop", SYSTEM])
def test_an_object_that_is_nested_too_deeply_costs_nobody_else(levels: int, namespace: str) -> None:
    state, planner = State(), Planner(clock=lambda: 0.0)
    store(state, "good", namespace)
    store(state, "other", "bank")
    exceptions = [{"name": "x", "fields": "proc.name", "values": [deep(levels)]}]
    store(state, "poison", namespace, exceptions=exceptions)
    assert in_force(turn(planner, state)) == {f"{namespace}/good", "bank/other"}
    told = condition(state, "poison", "Valid", namespace)
    assert told[:2] == ("False", "Refused")
    assert told[2] == "spec.rules[0].exceptions[0].values[0][0]… is nested deeper than 64 levels"
    assert condition(state, "poison", "Ready", namespace) == told
    assert reason(state, "good", "Valid", namespace) == "Loaded"
    report(state, "n1", "")
    assert turn(planner, state).statuses, "and statuses go on"


@pytest.mark.parametrize("kind", [RecursionError, MemoryError, KeyError])
@pytest.mark.parametrize("stage", ["carried", "packed_size", "tests_of", "status_of"])
def test_what_nobody_foresaw_is_told_of_the_object_that_it_came_of(
    stage: str, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    modules: dict[str, Any] = {"packed_size": budgets, "tests_of": checking}
    module = modules.get(stage, plan_module)
    works = getattr(module, stage)

    def fails(given: Any, *more: Any) -> Any:
        rules = given.stored.object if stage == "status_of" else given
        if rules.name == "poison":
            raise kind("a shape that nobody foresaw")
        return works(given, *more)

    monkeypatch.setattr(module, stage, fails)
    state, planner = State(), Planner(clock=lambda: 0.0)
    for name in ("good", "poison"):
        event = {"name": "t", "event": {"evt.type": "open"}, "expect": [name]}
        store(state, name, spec={"tests": [event]})
    assert "shop/good" in in_force(turn(planner, state))
    assert reason(state, "good", "Valid") == "Loaded"
    status, why, message = condition(state, "poison", "Valid")
    assert (status, why) == ("False", "TestsFailed" if stage == "tests_of" else "CheckFailed")
    assert f"the object can't be handled: {kind.__name__} at " in message
    assert turn(planner, state).statuses == (), "it is told once"


def test_counts_of_nodes_that_no_integer_holds_are_no_status_that_nobody_stores() -> None:
    state, planner = State(), Planner(clock=lambda: 0.0)
    store(state, "one")
    for node in ("a", "b"):
        alerts = [{"namespace": "shop", "name": "one", "rule": "one", "count": (1 << 63) - 1}]
        state.take_agent({"metadata": {"name": node}, "status": {"alerts": alerts}}, exists=True, now=0.0)
    turn(planner, state)
    assert state.rules[Origin("shop", "one")].status["alerts"] == (1 << 63) - 1


def test_nobody_gets_what_isnt_checked_and_its_status_says_so() -> None:
    state, planner = State(), Planner(clock=lambda: 0.0)
    store(state, "known")
    store(state, "new", created=1)
    known = {origin: each for origin, each in verdicts_of(planner.candidates(state)).items() if origin.name == "known"}
    plan = planner.plan(state, known)
    keep(state, plan)
    assert in_force(plan) == {"shop/known"}
    told = ("Waiting", "not checked yet; no agent gets it before")
    assert condition(state, "new", "Checked") == ("False", *told)
    assert condition(state, "new", "Valid") == ("Unknown", *told)
    assert condition(state, "new", "Ready") == ("False", *told)
    assert condition(state, "known", "Checked")[:2] == ("True", "Checked")
    assert in_force(turn(planner, state)) == {"shop/known", "shop/new"}
    assert reason(state, "new", "Checked") == "Checked"
    assert reason(state, "new", "Valid") == "Loaded"


def test_what_takes_too_much_to_be_checked_is_in_force_as_it_was_before() -> None:
    state, planner = State(), Planner(clock=lambda: 0.0)
    store(state, "one", output="as it was")
    turn(planner, state)
    store(state, "one", generation=2, output="costly")
    failed = Verdict(state.rules[Origin("shop", "one")].object, None, "it took more than it may")
    for _ in range(2):
        plan = planner.plan(state, {Origin("shop", "one"): failed})
        keep(state, plan)
        assert [each.spec["rules"][0]["output"] for each in unpack(plan.bundle)] == ["as it was"]
    told = condition(state, "one", "Checked")
    assert told == ("False", "TookTooMuch", "it took more than it may; what was in force before stays in force")
    assert condition(state, "one", "Ready") == told
    assert "bundle" not in state.rules[Origin("shop", "one")].status
    store(state, "one", generation=3, spec={"suspend": True})
    assert in_force(planner.plan(state, {})) == set()


def test_a_verdict_is_about_the_object_as_it_was_checked() -> None:
    state, planner = State(), Planner(clock=lambda: 0.0)
    store(state, "one")
    verdicts = verdicts_of(planner.candidates(state))
    store(state, "one", generation=2, output="another")
    assert in_force(planner.plan(state, verdicts)) == set()


def test_a_new_operator_leaves_in_force_what_agents_have_until_it_is_checked() -> None:
    state, planner = State(), Planner(clock=lambda: 0.0)
    store(state, "one")
    first = turn(planner, state)
    again = Planner(clock=lambda: 0.0)
    again.begin_with([*unpack(first.bundle), of("shop", "gone", rule("gone", OPEN))])
    plan = again.plan(state, {})
    assert plan.bundle == first.bundle, "of what is there still"
    assert plan.statuses == (), "and the status of the last one stands"
