"""What is planned: the bundle and the statuses."""

from __future__ import annotations

import random
from typing import Any

from tiercel_operator.bundle_config_maps import MOST_PARTS
from tiercel_operator.rules.plan import Plan, Planner
from tiercel_operator.state import State

OPEN = "evt.type = open"


def store(state: State, name: str, generation: int = 1, output: str = "o", **spec: Any) -> None:
    """A SecurityRule as the API server would tell of it, with the status that it has."""
    rule = {"rule": name, "desc": "d", "condition": OPEN, "output": output, "priority": "NOTICE"}
    metadata = {"namespace": "shop", "name": name, "uid": name, "generation": generation}
    state.take_rule({"metadata": metadata, "spec": {"rules": [rule], **spec}}, exists=True)


def keep(state: State, plan: Plan) -> None:
    """Stores the statuses of a plan."""
    for write in plan.statuses:
        stored = state.rules[write.origin]
        metadata = {
            "namespace": write.origin.namespace,
            "name": write.origin.name,
            "uid": stored.uid,
            "generation": stored.generation,
        }
        state.take_rule({"metadata": metadata, "spec": stored.object.spec, "status": write.status}, exists=True)


def report(state: State, node: str, bundle: str) -> None:
    state.take_agent({"metadata": {"name": node}, "status": {"bundle": bundle}}, exists=True, now=0.0)


def ready(state: State, name: str) -> dict[str, Any]:
    (status,) = (stored.status for origin, stored in state.rules.items() if origin.name == name)
    return next(each for each in status["conditions"] if each["type"] == "Ready")


def bundle(state: State, name: str) -> str:
    (status,) = (stored.status for origin, stored in state.rules.items() if origin.name == name)
    return str(status.get("bundle", ""))


def incompressible(size: int) -> str:
    return random.Random(1).randbytes(size // 2).hex()


def test_a_rule_in_a_bundle_that_is_too_large_says_so() -> None:
    """No node will ever have it: what they have goes on, and the other rules are as they were."""
    state, planner = State(), Planner(clock=lambda: 0.0)
    store(state, "small")
    first = planner.plan(state)
    assert first.too_large == ""
    keep(state, first)
    report(state, "n1", first.bundle.hash)
    keep(state, planner.plan(state))
    assert ready(state, "small")["reason"] == "Running"

    store(state, "large", output=incompressible(12 << 20))
    second = planner.plan(state)
    assert len(second.bundle.parts) > MOST_PARTS
    keep(state, second)
    condition = ready(state, "large")
    assert (condition["status"], condition["reason"]) == ("False", "BundleTooLarge")
    assert condition["message"] == second.too_large
    assert "remove or suspend some" in condition["message"]
    assert bundle(state, "large") == ""
    assert ready(state, "small")["reason"] == "Running"
    assert bundle(state, "small") == first.bundle.hash

    store(state, "small", generation=2, output="another")
    keep(state, planner.plan(state))
    assert ready(state, "small")["reason"] == "BundleTooLarge"
    assert bundle(state, "small") == ""

    store(state, "large", generation=2, suspend=True)
    last = planner.plan(state)
    assert last.too_large == ""
    keep(state, last)
    assert ready(state, "small")["reason"] == "RollingOut"
    assert bundle(state, "small") == last.bundle.hash
