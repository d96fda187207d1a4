"""The test alert that an annotation asks for: who sends it, until when, and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest
from operator_support.sink_objects import World, delivery_report, failure, time_after


def outcome(id_: str, **more: Any) -> dict[str, Any]:
    return {"id": id_, "node": "whatever it says", "sent": time_after(1), **more}


def asked(world: World) -> tuple[str, str] | None:
    test = world.sink_configs()["shop/chat"].test
    return (test.id, test.node) if test is not None else None


@pytest.fixture
def world() -> World:
    """With one sink that works on three nodes."""
    world = World()
    world.sink("chat")
    for node in ("n3", "n2", "n1"):
        world.report(node, delivery_report("chat"))
    world.turn()
    return world


def test_a_test_alert_is_asked_for_told_of_and_over(world: World) -> None:
    assert asked(world) is None
    world.sink("chat", test="first")
    assert world.turn()["test"] == {"id": "first", "node": "n1"}
    assert asked(world) == ("first", "n1")
    world.report("n1", delivery_report("chat", test=outcome("first", error="no answer")))
    assert world.turn()["test"] == {"id": "first", "node": "n1", "sent": time_after(1), "error": "no answer"}
    assert asked(world) == ("first", "n1")
    world.report("n1", delivery_report("chat", test=outcome("first", milliseconds=42)))
    done = {"id": "first", "node": "n1", "sent": time_after(1), "milliseconds": 42}
    assert world.turn()["test"] == done
    assert asked(world) is None

    world.report("n1", delivery_report("chat"))  # started anew
    world.gone("n2")
    assert world.turn()["test"] == done
    world.sink("chat")  # the annotation goes
    assert world.turn()["test"] == done
    world.sink("chat", test="second")
    assert world.turn()["test"] == {"id": "second", "node": "n1"}
    assert asked(world) == ("second", "n1")


def test_another_annotation_is_news_though_the_spec_is_the_same(world: World) -> None:
    (origin,) = world.state.sinks
    body = world._bodies[origin]
    assert not world.state.take_sink(body, exists=True)
    body["metadata"]["annotations"] = {"tiercel.dev/send-test": "x"}
    assert world.state.take_sink(body, exists=True)


@pytest.mark.parametrize(
    ("value", "id_"),
    [("", "1"), ("a\x1b[31m\nb", "a\\x1b[31m\\nb"), ("x" * 300, "x" * 256), ("\x1b" * 256, "\\x1b" * 64)],
)
def test_whatever_the_annotation_says_is_an_id(world: World, value: str, id_: str) -> None:
    world.sink("chat", test=value)
    assert world.turn()["test"]["id"] == id_
    assert asked(world) == (id_, "n1")
    world.report("n1", delivery_report("chat", test=outcome(id_, milliseconds=1)))
    assert world.turn()["test"]["milliseconds"] == 1


def test_a_node_is_taken_that_works(world: World) -> None:
    world.sink("chat", generation=2, test="t")
    world.report("n1", delivery_report("chat", generation=2, failing=True, lastError=failure("x")))
    world.report("n3", delivery_report("chat", generation=2))
    assert world.turn()["test"]["node"] == "n3"


def test_of_nodes_that_do_not_work_one_is_taken_all_the_same(world: World) -> None:
    for node in ("n1", "n2", "n3"):
        world.report(node, delivery_report("chat", failing=True))
    world.sink("chat", generation=2, test="t")
    assert world.turn()["test"]["node"] == "n1"


def test_another_node_relieves_one_that_is_gone_or_silent(world: World) -> None:
    world.sink("chat", test="t")
    assert world.turn()["test"]["node"] == "n1"
    world.gone("n1")
    assert world.turn()["test"] == {"id": "t", "node": "n2"}
    assert asked(world) == ("t", "n2")
    world.report("n1", delivery_report("chat"))
    assert world.turn()["test"]["node"] == "n2"  # it isn't sent twice for no reason
    world.passed = 3600
    world.report("n3", delivery_report("chat"))
    assert world.turn()["test"]["node"] == "n3"
    world.report("n3")  # it has the sink no more
    assert world.turn()["test"]["node"] == "n1"


def test_without_a_node_it_waits_and_says_so() -> None:
    world = World()
    world.sink("chat", test="t")
    assert world.turn()["test"] == {"id": "t", "error": "not sent yet: no node has reported on this sink"}
    assert asked(world) is None
    world.report("n1", delivery_report("chat", generation=0))
    assert world.turn()["test"] == {"id": "t", "node": "n1"}


def test_a_sink_that_agents_do_not_get_sends_no_test(world: World) -> None:
    world.sink("chat", generation=2, test="t", events={}, suspend=True)
    assert world.turn()["test"] == {"id": "t", "error": "not sent yet: spec.suspend is true"}
    world.sink("chat", generation=3, test="t", file={"path": "/x"})
    assert "can't touch the node" in world.turn()["test"]["error"]
    world.sink("chat", generation=4, test="t")
    assert world.turn()["test"] == {"id": "t", "node": "n1"}


def test_word_of_another_test_is_not_taken_for_this_one(world: World) -> None:
    world.report("n1", delivery_report("chat", test=outcome("old", milliseconds=5)))
    world.report("n2", delivery_report("chat", test=outcome("new", milliseconds=5)))
    world.sink("chat", test="new")
    assert world.turn()["test"] == {"id": "new", "node": "n1"}
