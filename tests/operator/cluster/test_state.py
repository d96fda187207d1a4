"""What the operator notes of objects that somebody has made to harm it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from tiercel_engine.resources.encoding import from_json
from tiercel_engine.rule import Origin
from tiercel_operator.cluster import state as module
from tiercel_operator.cluster.budgets import TENANT
from tiercel_operator.cluster.state import LOOK_AFTER, State

KINDS = ("SecurityRule", "AlertSink", "NodeAgent", "Node")


def nested(levels: int) -> Mapping[str, Any]:
    """As views, which is what events have."""
    deep: Any = MappingProxyType({})
    for _ in range(levels):
        deep = MappingProxyType({"a": (deep,)})
    return deep


def body(kind: str, **parts: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": "one", "namespace": "shop", "uid": "1"}, **parts}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", ["spec", "status"])
def test_what_is_nested_without_end_is_noted_and_told_apart_from_what_has_changed(kind: str, part: str) -> None:
    state = State()
    assert state.take(kind, body(kind, **{part: nested(5000)}), exists=True)
    assert not state.take(kind, body(kind, **{part: nested(5000)}), exists=True)
    assert state.take(kind, body(kind), exists=False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strange", [{}, {"metadata": None}, {"metadata": {}}, {"metadata": {"name": []}}])
def test_what_is_no_object_is_logged_and_changes_nothing(
    kind: str, strange: Mapping[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    state = State()
    with caplog.at_level(logging.ERROR):
        assert not state.take(kind, strange, exists=True)
    assert f"an object of the kind {kind} can't be read: " in caplog.text
    assert state == State()


@pytest.mark.parametrize("error", [RecursionError, MemoryError, AttributeError])
def test_whatever_comes_of_a_node_agent_the_others_are_known(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reads = from_json

    def fails(kind: type, status: Mapping[str, Any]) -> Any:
        if status.get("version") == "poison":
            raise error("a shape that nobody foresaw")
        return reads(kind, status)

    monkeypatch.setattr(module, "from_json", fails)
    state = State()
    for name, version in (("one", "poison"), ("two", "1")):
        state.take("NodeAgent", {"metadata": {"name": name}, "status": {"version": version}}, exists=True)
    assert state.agents.keys() == {"two"}
    assert f"the status of the NodeAgent one can't be read: {error.__name__}" in caplog.text


def test_a_rule_is_noted_with_when_it_was_made() -> None:
    state = State()
    made = body("SecurityRule")
    made["metadata"]["creationTimestamp"] = "2026-11-25T01:02:03Z"
    state.take("SecurityRule", made, exists=True)
    assert state.rules[Origin("shop", "one")].created == "2026-11-25T01:02:03Z"


def large(number: int, generation: int = 1, text: str = "x") -> dict[str, Any]:
    rule = {"rule": f"r{number}", "desc": text * (900 << 10), "condition": "evt.type = open", "output": "o"}
    made = body("SecurityRule", spec={"rules": [rule]})
    made["metadata"] |= {"name": f"r{number:03}", "generation": generation, "creationTimestamp": f"{number:03}"}
    return made


def kept(state: State) -> int:
    """Bytes of the SecurityRules that are in memory."""
    return sum(stored.size.applied for stored in state.rules.values() if not stored.left_out)


def test_of_what_a_namespace_has_beyond_its_budget_little_is_kept_in_memory() -> None:
    state = State()
    most = 0
    for number in range(100):
        assert state.take("SecurityRule", large(number), exists=True)
        most = max(most, kept(state))
    assert most < TENANT.applied + LOOK_AFTER + (1 << 20)
    assert len(state.rules) == 100
    assert not any(stored.left_out for stored in list(state.rules.values())[:2]), "older ones come first"
    assert all(stored.size.applied > 900 << 10 for stored in state.rules.values()), "it is known how much there is"
    for number in range(100):  # as a listing tells them again
        assert not state.take("SecurityRule", large(number), exists=True)
    assert kept(state) <= most


def test_what_was_left_out_is_taken_again_if_it_changes_or_is_wanted() -> None:
    state = State()
    for number in range(40):
        state.take("SecurityRule", large(number), exists=True)
    origin = Origin("shop", "r010")
    assert state.rules[origin].left_out
    assert state.take_rule(large(10), exists=True, whole=True)
    assert not state.rules[origin].left_out
    state.take_rule(large(11, generation=2, text="y"), exists=True)
    assert not state.rules[Origin("shop", "r011")].left_out
    assert {each.name for each in state.objects()} >= {"r010", "r011"}


def test_what_cannot_be_measured_takes_memory_too() -> None:
    state = State()
    for number in range(100):
        state.take("SecurityRule", large(number, text="\ud800"), exists=True)
    assert sum(not stored.left_out for stored in state.rules.values()) < 20
