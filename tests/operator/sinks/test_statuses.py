"""What the status of an AlertSink says of deliveries on all nodes, of silences, and when it is written."""

from __future__ import annotations

from typing import Any

import pytest
from operator_support.sink_objects import World, delivery_report, failure, time_after


def silence(seconds: float, owner: str = "alice") -> dict[str, Any]:
    return {"matcher": {"rules": ["*"]}, "until": time_after(seconds), "owner": owner, "reason": "a drill"}


@pytest.fixture
def world() -> World:
    """With one sink."""
    world = World()
    world.sink("chat")
    return world


def test_delivery_reports_of_all_nodes_and_generations_are_added_up(world: World) -> None:
    world.sink("chat", generation=2)
    counts = {"delivered": 3, "retried": 1, "lost": 2, "queued": 4, "silenced": 5, "suppressed": 6}
    world.report("n1", delivery_report("chat", **counts), delivery_report("other", delivered=100))
    world.report(
        "n2", delivery_report("chat", generation=2, **counts), delivery_report("chat", "elsewhere", delivered=100)
    )
    status = world.turn()
    assert {key: status[key] for key in counts} == {key: 2 * value for key, value in counts.items()}


def test_the_latest_of_all_nodes_is_told_with_its_node(world: World) -> None:
    world.report("n1", delivery_report("chat", lastSuccess=time_after(-5), lastError=failure("late", -5)))
    world.report("n2", delivery_report("chat", lastSuccess=time_after(-9), lastError=failure("early", -9)))
    status = world.turn()
    assert status["lastSuccess"] == time_after(-5)
    assert status["lastError"] == {"time": time_after(-5), "message": "late", "node": "n1"}


def test_what_agents_have_forgotten_since_they_started_anew_stays(world: World) -> None:
    world.report("n1", delivery_report("chat", delivered=1, lastSuccess=time_after(-5), lastError=failure("why", -5)))
    before = world.turn()
    world.passed = 60
    world.report("n1", delivery_report("chat"))
    status = world.turn()
    assert (status["lastSuccess"], status["lastError"]) == (before["lastSuccess"], before["lastError"])
    assert status["delivered"] == 0


def test_it_is_ready_once_all_nodes_have_it(world: World) -> None:
    world.turn()
    assert world.ready() == ("Unknown", "NoReports", "no agent of a node has reported yet")
    world.report("n1", delivery_report("chat"))
    world.report("n2", delivery_report("chat"))
    world.turn()
    status, reason, message = world.ready()
    assert (status, reason) == ("True", "NothingSentYet")
    assert "kubectl annotate alertsink chat -n shop --overwrite tiercel.dev/send-test=1" in message
    world.report("n2", delivery_report("chat", delivered=1))
    world.turn()
    assert world.ready() == ("True", "Delivering", "on 2 nodes")
    world.sink("chat", generation=2)
    world.turn()
    assert world.ready() == ("Unknown", "NoReports", "none of 2 nodes has reported yet that this is in force there")
    world.report("n2", delivery_report("chat", generation=2, delivered=1))
    world.turn()
    assert world.ready() == ("Unknown", "RollingOut", "not in force yet on n1")
    world.report("n1", delivery_report("chat", generation=2))
    world.turn()
    assert world.ready() == ("True", "Delivering", "on 2 nodes")


def test_a_failure_on_one_node_is_enough(world: World) -> None:
    for number in range(7):
        error = failure("\x1b[31mno route", number) if number < 6 else None
        world.report(f"n{number}", delivery_report("chat", delivered=1, failing=number < 6, lastError=error))
    world.turn()
    status, reason, message = world.ready()
    assert (status, reason) == ("False", "DeliveryFails")
    assert message == "on n0, n1, n2, n3, n4 and 1 more: \\x1b[31mno route"
    for number in range(7):
        world.report(f"n{number}", delivery_report("chat", delivered=2, lastError=failure("over")))
    world.turn()
    assert world.ready()[1] == "Delivering"


def test_a_failure_of_what_was_there_before_is_none_of_what_is_there_now(world: World) -> None:
    world.sink("chat", generation=2)
    world.report("n1", delivery_report("chat", failing=True, lastError=failure("wrong address")))
    world.turn()
    assert world.ready()[1] == "NoReports"


def test_losses_are_told_for_ten_minutes(world: World) -> None:
    world.report("n1", delivery_report("chat", lost=5))
    world.turn()  # of before this operator was there
    assert world.condition("AlertsLost", "chat")[0] == "False"
    world.report("n1", delivery_report("chat", lost=6))
    world.turn()
    assert world.condition("AlertsLost", "chat") == ("True", "AlertsLost", "alerts were lost lately on n1")
    world.passed = 599
    world.report("n1", delivery_report("chat", lost=6, delivered=9))
    world.turn()
    assert world.condition("AlertsLost", "chat")[0] == "True"
    world.passed = 600
    world.turn()
    assert world.condition("AlertsLost", "chat")[0] == "False"
    world.report("n1", delivery_report("chat", lost=1))  # started anew, and lost one
    world.turn()
    assert world.condition("AlertsLost", "chat")[0] == "True"


def test_silences_end_by_themselves(world: World) -> None:
    world.sink("chat", events={}, silences=[silence(60), silence(120, "b\x1bob"), silence(-1)])
    status = world.turn()
    assert [each["active"] for each in status["silences"]] == [True, True, False]
    told = f"some alerts are kept back by alice until {time_after(60)}: a drill; by b\\x1bob until {time_after(120)}"
    assert world.condition("Silenced", "chat") == ("True", "SilenceInForce", f"{told}: a drill")
    world.passed = 60
    assert [each["active"] for each in world.turn()["silences"]] == [False, True, False]
    assert "alice" not in world.condition("Silenced", "chat")[2]
    world.passed = 120
    assert not any(each["active"] for each in world.turn()["silences"])
    assert world.condition("Silenced", "chat")[:2] == ("False", "NoSilence")


def test_numbers_alone_are_written_every_half_minute(world: World) -> None:
    world.report("n1", delivery_report("chat", delivered=1, lastSuccess=time_after(0)))
    world.turn()
    writes = world.writes
    for second in range(1, 30):
        world.passed = second
        counts = {"delivered": 1 + second, "queued": second % 2}
        world.report("n1", delivery_report("chat", **counts, lastSuccess=time_after(second)))
        world.turn()
    assert world.writes == writes
    world.passed = 30
    assert world.turn()["delivered"] == 30
    assert world.writes == writes + 1
    world.turn()
    assert world.writes == writes + 1


def test_a_failure_is_written_at_once_and_other_words_for_it_later(world: World) -> None:
    world.report("n1", delivery_report("chat"))
    world.turn()
    writes = world.writes
    for second in range(1, 20):
        world.report("n1", delivery_report("chat", failing=True, lastError=failure(f"refused {second} times", second)))
        world.turn()
    assert world.writes == writes + 1
    world.passed = 30
    world.turn()
    assert world.ready()[2] == "on n1: refused 19 times"


def test_more_than_the_api_server_can_count_is_no_trouble(world: World) -> None:
    """Whoever takes over a node can have its agent tell anything."""
    world.report("n1", delivery_report("chat", delivered=(1 << 63) - 1))
    world.report("n2", delivery_report("chat", delivered=(1 << 63) - 1))
    assert world.turn()["delivered"] == (1 << 63) - 1


def test_what_others_have_written_into_a_status_goes(world: World) -> None:
    world.turn()
    (origin,) = world.state.sinks
    body = world._bodies[origin]
    body["status"] |= {"test": {"id": 3}, "lastSuccess": "9999-01-01T00:00:00Z", "silences": [{}]}
    world._take(origin)
    status = world.turn()
    assert not {"test", "lastSuccess", "silences"} & status.keys()
