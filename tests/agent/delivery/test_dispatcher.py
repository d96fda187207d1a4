"""From alerts to sinks: each gets its own, others go on whatever one does, and the set of them changes underway."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from agent_support.waiting import eventually

from tiercel_agent.delivery.cpu_budget import CpuBudget
from tiercel_agent.delivery.dispatcher import CAPACITY, MOST_BYTES, DeliveryReport, Dispatcher
from tiercel_agent.delivery.queues.spool_folders import KEPT, SpoolSettings, remove_old, spool_folder
from tiercel_agent.delivery.quotas import quotas
from tiercel_agent.sinks.model import Sink, SinkSettings, Unavailable
from tiercel_engine.alert import Alert
from tiercel_engine.priority import Priority
from tiercel_engine.resources.alert_sink import AlertSinkSpec
from tiercel_engine.resources.encoding import from_json


def alert(output: str, namespace: str = "shop", rule: str = "A rule") -> Alert:
    fields: dict[str, Any] = {"k8s.ns.name": namespace, "k8s.owner.name": "web"}
    return Alert(1, rule, Priority.WARNING, "syscall", "node", output, (), fields)


def settings(name: str, namespace: str = "tiercel-system", **spec: Any) -> SinkSettings:
    return SinkSettings(name, from_json(AlertSinkSpec, {"stdout": {}, **spec}), namespace)


class Destinations:
    """By name of the sink: what it got. Those that are ``down`` take nothing."""

    def __init__(self) -> None:
        self.got: dict[str, list[str]] = {}
        self.down: set[str] = set()
        self.held: dict[str, threading.Event] = {}

    def open(self, given: SinkSettings) -> Sink:
        def send(alerts: Sequence[Alert]) -> None:
            if given.name in self.held:
                assert self.held[given.name].wait(30)
            if given.name in self.down:
                raise Unavailable("down")
            self.got.setdefault(given.name, []).extend(each.output for each in alerts)

        return Sink(send=send, batch=16)


def only(dispatcher: Dispatcher) -> DeliveryReport:
    """The report of the first sink, as soon as there is one."""
    eventually(lambda: bool(dispatcher.delivery_reports()))
    return dispatcher.delivery_reports()[0]


@pytest.fixture
def destinations() -> Destinations:
    return Destinations()


class Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def dispatcher(destinations: Destinations, tmp_path: Path, clock: Time) -> Iterator[Dispatcher]:
    made = Dispatcher(destinations.open, SpoolSettings(tmp_path / "spool"), now=clock, clock=clock)
    yield made
    for held in destinations.held.values():
        held.set()
    made.close()


def test_each_sink_gets_what_is_for_it(dispatcher: Dispatcher, destinations: Destinations) -> None:
    dispatcher.use(
        [settings("all"), settings("chat", "shop"), settings("reads", match={"rules": ["Read*"]}), settings("own", "")]
    )
    dispatcher.put(alert("a"))
    dispatcher.put(alert("b", "bank", "Read of a secret"))
    eventually(lambda: len(destinations.got.get("own", [])) == 2 and "reads" in destinations.got)
    eventually(lambda: destinations.got["all"] == ["a", "b"] and destinations.got["chat"] == ["a"])
    assert destinations.got["reads"] == ["b"]


def test_one_that_hangs_holds_no_other_up(dispatcher: Dispatcher, destinations: Destinations) -> None:
    destinations.held["stuck"] = threading.Event()
    dispatcher.use([settings("stuck"), settings("good")])
    for number in range(300):
        dispatcher.put(alert(str(number)))
    eventually(lambda: len(destinations.got.get("good", [])) == 300)
    (stuck,) = [each for each in dispatcher.delivery_reports() if each.label == "tiercel-system/stuck"]
    assert (stuck.totals.queued, stuck.totals.delivered) == (300, 0)


def test_what_waits_survives_a_restart(destinations: Destinations, tmp_path: Path) -> None:
    destinations.down.add("chat")
    first = Dispatcher(destinations.open, SpoolSettings(tmp_path))
    first.use([settings("chat")])
    for number in range(50):
        first.put(alert(str(number)))
    eventually(lambda: only(first).totals.queued == 50)
    first.close(0.1)
    destinations.down.clear()
    second = Dispatcher(destinations.open, SpoolSettings(tmp_path))
    second.use([settings("chat")])
    eventually(lambda: destinations.got.get("chat") == [str(number) for number in range(50)])
    second.close()


def test_a_sink_that_changes_keeps_what_waits_and_others_take_no_notice(
    dispatcher: Dispatcher, destinations: Destinations
) -> None:
    destinations.down.add("chat")
    dispatcher.use([settings("chat"), settings("good")])
    dispatcher.put(alert("a"))
    eventually(lambda: only(dispatcher).totals.retried > 0)
    destinations.down.clear()
    dispatcher.use([settings("chat", match={"rules": ["A*"]}), settings("good")])
    eventually(lambda: destinations.got.get("chat") == ["a"])
    eventually(lambda: [each.totals.delivered for each in dispatcher.delivery_reports()] == [1, 1])


def test_a_sink_that_is_gone_gets_nothing_more(dispatcher: Dispatcher, destinations: Destinations) -> None:
    dispatcher.use([settings("chat"), settings("good")])
    dispatcher.put(alert("a"))
    eventually(lambda: destinations.got == {"chat": ["a"], "good": ["a"]})
    dispatcher.use([settings("good")])
    dispatcher.put(alert("b"))
    eventually(lambda: destinations.got["good"] == ["a", "b"])
    assert destinations.got["chat"] == ["a"]
    assert [each.label for each in dispatcher.delivery_reports()] == ["tiercel-system/good"]


def test_a_sink_that_cannot_be_read_is_told_and_the_others_go_on(
    dispatcher: Dispatcher, destinations: Destinations
) -> None:
    dispatcher.use([settings("bad", throttle={"window": "soon"}), settings("good")])
    dispatcher.put(alert("a"))
    eventually(lambda: destinations.got == {"good": ["a"]})
    (bad,) = [each for each in dispatcher.delivery_reports() if each.totals.failing]
    assert bad.totals.last_failure is not None
    assert "throttle.window" in bad.totals.last_failure.message


def test_silenced_and_suppressed_alerts_are_counted(
    dispatcher: Dispatcher, destinations: Destinations, clock: Time
) -> None:
    clock.now = 1_769_860_000.0
    silence = {
        "matcher": {"rules": ["Quiet"]},
        "until": "2026-01-31T12:00:00Z",
        "owner": "ada",
        "reason": "maintenance",
    }
    dispatcher.use([settings("chat", silences=[silence], throttle={"window": "10m"})])
    for rule in ("Quiet", "Loud", "Loud", "Loud"):
        dispatcher.put(alert(rule, rule=rule))
    eventually(lambda: only(dispatcher).suppressed == 2)
    assert only(dispatcher).silenced == 1
    clock.now += 900
    eventually(lambda: len(destinations.got.get("chat", [])) == 2)
    assert destinations.got["chat"] == ["Loud", "Loud (seen 1 more time in 10 min)"]
    dispatcher.put(alert("Quiet again", rule="Quiet"))  # the silence is over
    eventually(lambda: destinations.got["chat"][-1] == "Quiet again")


def test_counts_of_a_throttle_are_told_at_the_end(destinations: Destinations) -> None:
    dispatcher = Dispatcher(destinations.open, SpoolSettings())
    dispatcher.use([settings("chat", throttle={"window": "10m"})])
    for number in range(5):
        dispatcher.put(alert(str(number)))
    dispatcher.close()
    assert destinations.got["chat"] == ["0", "4 (seen 3 more times in 10 min)"]


def test_a_test_alert_goes_to_its_sink_alone(dispatcher: Dispatcher, destinations: Destinations) -> None:
    dispatcher.use([settings("chat", "shop", match={"rules": ["Never"]}), settings("other")])
    dispatcher.send_test(("shop", "chat"), "try", alert("test", "none"))
    eventually(lambda: destinations.got == {"chat": ["test"]})
    eventually(lambda: getattr(only(dispatcher).totals.test, "took", None) is not None)


def test_detection_never_waits_and_the_overflow_is_counted(
    dispatcher: Dispatcher, destinations: Destinations, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, release = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        entered.set()
        release.wait(30)

    monkeypatch.setattr(dispatcher, "_route", hang)  # a disk that doesn't answer
    dispatcher.put(alert("first"))
    assert entered.wait(30)
    for number in range(CAPACITY + 7):
        dispatcher.put(alert(str(number)))
    assert dispatcher.dropped == 7
    release.set()


def test_a_namespace_that_floods_pushes_out_no_other_while_alerts_are_not_matched(
    dispatcher: Dispatcher, destinations: Destinations, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, release = threading.Event(), threading.Event()
    route = dispatcher._route

    def hang(alerts: Sequence[Alert]) -> None:
        entered.set()
        release.wait(30)
        route(alerts)

    dispatcher.use([settings("all")])
    eventually(lambda: bool(dispatcher.delivery_reports()))
    monkeypatch.setattr(dispatcher, "_route", hang)
    dispatcher.put(alert("first"))
    assert entered.wait(30)
    dispatcher.put(alert("theirs, before", "bank"))
    for number in range(CAPACITY):
        dispatcher.put(alert(str(number), "greedy"))
    dispatcher.put(alert("theirs, after", "bank"))
    assert dispatcher.dropped == 2
    release.set()
    eventually(lambda: len(destinations.got.get("all", [])) == CAPACITY + 1)
    assert {"first", "theirs, before", "theirs, after"} < set(destinations.got["all"][:64])


def test_losses_of_tenants_sinks_are_not_the_admins(destinations: Destinations) -> None:
    dispatcher = Dispatcher(destinations.open, SpoolSettings())
    destinations.down = {"chat", "mine", "own"}
    dispatcher.use([settings("chat", "shop"), settings("mine"), settings("own", "")])
    dispatcher.put(alert("a"))
    eventually(
        lambda: (
            all(each.totals.retried for each in dispatcher.delivery_reports())
            and len(dispatcher.delivery_reports()) == 3
        )
    )
    dispatcher.close(0.1)
    assert dispatcher.lost() == {"tiercel-system/mine": 1, "own": 1}


def test_each_sink_has_a_folder_and_no_name_leads_out_of_it(tmp_path: Path) -> None:
    assert spool_folder(tmp_path, "shop", "chat") == tmp_path / "shop/chat"
    assert spool_folder(tmp_path, "", "otlp") == tmp_path / "_/otlp"
    assert spool_folder(None, "shop", "chat") is None
    for name in ("..", ".", "../x", "a/b", "", "/etc", "a\n"):
        assert spool_folder(tmp_path, "shop", name) is None


def left_of(path: Path, size: int = 1) -> None:
    (path / "shop.4").mkdir(parents=True)
    (path / "shop.4/x.spool").write_bytes(bytes(size))
    os.utime(path / "shop.4/x.spool", (0, 0))  # nothing was written for long: that doesn't matter
    os.utime(path, (0, 0))


def test_what_a_sink_left_is_removed_after_it_has_been_gone_for_a_day(tmp_path: Path) -> None:
    now = 1e9
    for name in ("shop/gone", "shop/back", "bank/kept"):
        left_of(tmp_path / name)
    remove_old(tmp_path, [("bank", "kept")], now, 100)
    remove_old(tmp_path, [("bank", "kept"), ("shop", "back")], now + KEPT, 100)
    assert {path.name for path in tmp_path.glob("*/*")} == {"gone", "back", "kept"}
    remove_old(tmp_path, [("bank", "kept")], now + KEPT + 1, 100)
    assert {path.name for path in tmp_path.glob("*/*")} == {"back", "kept"}
    remove_old(tmp_path, [], now + 3 * KEPT, 100)
    assert {path.name for path in tmp_path.glob("*/*")} == {"kept"}


def test_what_sinks_left_that_come_and_go_cannot_fill_the_disk(tmp_path: Path) -> None:
    left_of(tmp_path / "bank" / "here", 20)
    left_of(tmp_path / "tiercel-system" / "suspended", 20)
    for number in range(10):
        left_of(tmp_path / "shop" / f"n{number}", 30)
        remove_old(tmp_path, [("bank", "here")], 1000.0 + number, 100)
    assert {path.name for path in tmp_path.glob("*/*")} == {"here", "suspended", "n8", "n9"}


def test_no_tenant_takes_what_is_others() -> None:
    many = [("greedy", f"n{number}") for number in range(500)]
    parts = quotas([("", "own"), ("tiercel-system", "all")], [*many, ("shop", "chat")], 4_000_000)
    assert (parts["", "own"], parts["tiercel-system", "all"], parts["shop", "chat"]) == (1_000_000,) * 3
    assert parts["greedy", "n1"] == 2000
    assert quotas([("", "own")], [], 1000) == {("", "own"): 1000}


def test_a_sink_that_cannot_be_read_leaves_no_thread(dispatcher: Dispatcher, destinations: Destinations) -> None:
    for number in range(5):
        dispatcher.use([settings("bad", throttle={"window": f"soon{number}"})])
        eventually(lambda: f"soon{number}" in str([each.totals.last_failure for each in dispatcher.delivery_reports()]))  # noqa: B023
    assert not [each for each in threading.enumerate() if each.name == "sink-tiercel-system/bad"]
    dispatcher.use([settings("bad")])  # mended: nobody else has its spool
    dispatcher.put(alert("a"))
    eventually(lambda: destinations.got == {"bad": ["a"]})
    assert only(dispatcher).totals.trouble == ""


def test_what_waits_for_a_sink_that_is_gone_is_not_sent_and_is_there_if_it_is_back(
    dispatcher: Dispatcher, destinations: Destinations
) -> None:
    destinations.held["chat"] = threading.Event()
    dispatcher.use([settings("chat", throttle={"window": "10m"})])
    for number in range(20):
        dispatcher.put(alert(str(number), rule=f"Rule {number}"))
    dispatcher.put(alert("again", rule="Rule 0"))
    eventually(lambda: only(dispatcher).totals.queued == 20 and only(dispatcher).suppressed == 1)
    dispatcher.use([])
    eventually(lambda: not dispatcher.delivery_reports())
    dispatcher.use([settings("chat")])
    eventually(lambda: only(dispatcher).totals.queued == 21)  # on the disk, although the old one still hangs
    destinations.held["chat"].set()
    eventually(lambda: "again" in destinations.got.get("chat", []))
    eventually(lambda: only(dispatcher).totals.queued == 0)
    assert {*map(str, range(20)), "again"} == {*destinations.got["chat"]}


def test_losses_of_a_sink_that_is_gone_stay_lost(destinations: Destinations) -> None:
    dispatcher = Dispatcher(destinations.open, SpoolSettings())
    destinations.down = {"mine"}
    dispatcher.use([settings("mine")])
    dispatcher.put(alert("a"))
    eventually(lambda: only(dispatcher).totals.retried > 0)
    dispatcher.use([])
    eventually(lambda: dispatcher.lost() == {"tiercel-system/mine": 1})
    dispatcher.use([settings("mine")])
    dispatcher.put(alert("b"))
    eventually(lambda: only(dispatcher).totals.retried > 0)
    dispatcher.close(0.1)
    assert dispatcher.lost() == {"tiercel-system/mine": 2}


def test_a_changed_sink_goes_on_with_its_counts(dispatcher: Dispatcher, destinations: Destinations) -> None:
    dispatcher.use([settings("chat", throttle={"window": "10m"})])
    for number in range(4):
        dispatcher.put(alert(str(number)))
    eventually(lambda: only(dispatcher).suppressed == 3)
    dispatcher.use([settings("chat", throttle={"window": "20m"})])
    eventually(lambda: len(destinations.got.get("chat", [])) == 2)
    assert only(dispatcher).suppressed == 2  # one of the three tells of the others


def test_a_thread_that_is_not_to_be_had_is_told_and_tried_again(
    dispatcher: Dispatcher, destinations: Destinations, clock: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_self: object) -> None:
        raise RuntimeError("can't start new thread")

    dispatcher.use([settings("good")])
    eventually(lambda: len(dispatcher.delivery_reports()) == 1)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", failing)
        dispatcher.use([settings("good"), settings("late")])
        eventually(lambda: any(each.totals.failing for each in dispatcher.delivery_reports()))
    dispatcher.put(alert("a"))
    eventually(lambda: destinations.got == {"good": ["a"]})
    clock.now += 60
    eventually(lambda: not any(each.totals.failing for each in dispatcher.delivery_reports()))
    dispatcher.put(alert("b"))
    eventually(lambda: destinations.got == {"good": ["a", "b"], "late": ["b"]})


def test_an_alert_that_trips_a_choice_costs_no_other(
    dispatcher: Dispatcher, destinations: Destinations, monkeypatch: pytest.MonkeyPatch
) -> None:
    def field_text(each: Alert, _name: str) -> str:
        if each.output == "poison":
            raise ValueError("unforeseen")
        return "shop"

    monkeypatch.setattr("tiercel_agent.delivery.matcher.field_text", field_text)
    dispatcher.use([settings("chat", match={"namespaces": ["shop"]})])
    with dispatcher._changed:  # all of them in one batch
        for name in ("a", "poison", "b"):
            dispatcher.put(alert(name))
    eventually(lambda: destinations.got == {"chat": ["a", "b"]})
    assert only(dispatcher).totals.lost == 1


def test_a_test_of_a_sink_that_cannot_be_read_tells_why(dispatcher: Dispatcher) -> None:
    dispatcher.use([settings("bad", throttle={"window": "soon"})])
    dispatcher.send_test(("tiercel-system", "bad"), "try", alert("test"))
    eventually(lambda: "throttle.window" in getattr(only(dispatcher).totals.test, "error", ""))


def test_what_waits_to_be_routed_is_bounded_in_bytes(
    dispatcher: Dispatcher, destinations: Destinations, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, release = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        entered.set()
        release.wait(30)

    monkeypatch.setattr(dispatcher, "_route", hang)
    dispatcher.put(alert("first"))
    assert entered.wait(30)
    for _ in range(2000):
        dispatcher.put(alert("x" * 65536))
    assert 2000 - dispatcher.dropped in range(400, MOST_BYTES // 65536 + 1)
    release.set()


def test_a_tenants_patterns_take_no_time_from_others(
    dispatcher: Dispatcher, destinations: Destinations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tiercel_agent.delivery.cpu_budget.BURST", 0.0)
    dispatcher.use([settings("slow", "shop"), settings("all")])
    for number in range(5):
        dispatcher.put(alert(str(number)))
    dispatcher.put(alert("other", "bank"))
    eventually(lambda: len(destinations.got.get("all", [])) == 6)
    eventually(lambda: only(dispatcher).totals.lost == 5)
    assert "take too long" in str(only(dispatcher).totals.last_failure)
    assert "slow" not in destinations.got


def test_an_allowance_is_used_and_grows() -> None:
    used = iter([10.0, 11.5, 20.0, 20.2])
    budget = CpuBudget(0.0, lambda: next(used))
    budget.share = 0.1
    with budget.spending():
        assert not budget.spent
    assert budget.spent
    budget.grow(4.0)
    assert budget.spent
    budget.grow(6.0)
    assert not budget.spent
    with budget.spending():
        pass
    assert budget.spent
