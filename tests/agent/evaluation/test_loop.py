"""The engine loop: events become alerts, losses are told, rules are replaced, everything is summed up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from agent_support.collected import Collected

from tiercel_agent.delivery.fan_out import FanOut, local_worker
from tiercel_agent.evaluation.loop import EngineLoop
from tiercel_agent.evaluation.losses import LossWatch, loss_alert
from tiercel_agent.evaluation.rule_set import load_rule_set
from tiercel_agent.kernel.errors import DetectorError
from tiercel_agent.loss import Loss, LostBy
from tiercel_agent.sinks.model import Sink
from tiercel_agent.warning import AgentWarning
from tiercel_engine.alert import Alert
from tiercel_engine.event import Event
from tiercel_engine.priority import Priority
from tiercel_engine.resources.node_agent import LossCause, WarningKind

FULL = Loss(LossCause.CALL_BUFFER_FULL)

RULES = """
- rule: Shadow read
  desc: d
  condition: evt.type = openat and fd.name = /etc/shadow
  output: "file=%fd.name by %proc.name"
  priority: WARNING
  tags: [files]
- rule: By cat
  desc: d
  condition: evt.type = openat and proc.name = cat
  output: "cat"
  priority: DEBUG
"""


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


class Run:
    """A loop over a scripted source with one output."""

    def __init__(self, source, rules, capacity: int = 1000, **options) -> None:
        self.source = source
        self.collected = Collected()
        self.outputs = FanOut()
        self.outputs.add("collected", self.collected.sink, capacity)
        self.clock = Clock()
        self.loop = EngineLoop(
            source, rules, self.outputs, hostname="node-1", clock=self.clock, now=lambda: 5, **options
        )

    def replace(self, other) -> None:
        """Goes on with other rules."""
        self.loop.load(other)
        self.loop.switch()

    def finish(self) -> list[Alert]:
        while self.source.batches:
            self.loop.turn()
        self.loop.finish()
        return self.collected.items


@pytest.fixture
def rules(tmp_path: Path):
    def load(text: str = RULES, **options):
        (tmp_path / "rules.yaml").write_text(text)
        return load_rule_set([tmp_path / "rules.yaml"], **options)

    return load


def test_alerts_of_all_matching_rules_come_in_the_order_of_events_and_rules(scripted_source, opened, rules):
    source = scripted_source([[opened()], [opened("/etc/shadow", "less"), opened("/tmp/x")]])
    run = Run(source, rules())
    got = run.finish()
    assert [(alert.rule, alert.output) for alert in got] == [
        ("Shadow read", "file=/etc/shadow by cat"),
        ("By cat", "cat"),
        ("Shadow read", "file=/etc/shadow by less"),
        ("By cat", "cat"),
    ]
    assert (got[0].hostname, got[0].time, got[0].tags) == ("node-1", 1_700_000_000_123_456_789, ("files",))
    summary = run.loop.summary()
    assert (summary.events, summary.alerts, summary.lost) == (3, {"Shadow read": 2, "By cat": 2}, {})
    assert summary.lines() == ["Alerts: 4", "       2  By cat", "       2  Shadow read", "Events seen: 3", "Lost: none"]


def test_first_match_alone_when_configured(scripted_source, opened, rules):
    got = Run(scripted_source([[opened()]]), rules(first_match=True)).finish()
    assert [alert.rule for alert in got] == ["Shadow read"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"priority": Priority.WARNING}, ["Shadow read"]),
        ({"tags": ["files", "other"]}, ["Shadow read"]),
        ({"tags": ["other"]}, []),
        ({}, ["Shadow read", "By cat"]),
    ],
)
def test_rules_that_are_not_wanted_are_left_out_before_anything_is_watched(rules, options, expected):
    loaded = rules(**options)
    assert [rule.name for rule in loaded.rules] == expected
    assert loaded.requirements.event_types == (frozenset({"openat"}) if expected else frozenset())


def test_losses_become_an_alert_at_once_and_then_at_most_each_ten_seconds(scripted_source, rules):
    source = scripted_source()
    run = Run(source, rules())

    def lose_and_turn(count: int, seconds: float) -> None:
        source.lost = {FULL: count}
        run.clock.time += seconds
        run.loop.turn()

    lose_and_turn(0, 1)
    lose_and_turn(7, 1)
    lose_and_turn(8, 5)
    lose_and_turn(9, 4)
    lose_and_turn(9, 1)
    lose_and_turn(9, 60)
    source.lost = {FULL: 12}
    got = run.finish()
    assert [alert.output_fields for alert in got] == [
        {"lost.calls": 7, "lost.cause": "CallBufferFull"},
        {"lost.calls": 2, "lost.cause": "CallBufferFull"},
        {"lost.calls": 3, "lost.cause": "CallBufferFull"},
    ]
    first = got[0]
    assert (first.rule, first.priority, first.source, first.time) == (
        "Tiercel: events lost",
        Priority.CRITICAL,
        "internal",
        5,
    )
    assert "7 (system calls, because the ring buffer was full)" in first.output
    assert run.loop.summary().lost == {FULL: 12}
    assert run.loop.summary().lines()[-1] == "Lost: 12 (system calls, because the ring buffer was full)"


def test_the_watch_tells_new_causes_only():
    watch, one, other = LossWatch(), Loss(LossCause.RATE_LIMIT, rule="a"), Loss(LossCause.RATE_LIMIT, rule="b")
    assert watch.news({one: 1}, 0) == {one: 1}
    assert watch.news({one: 1, other: 2}, 9.9) == {}
    assert watch.news({one: 1, other: 2}, 10) == {other: 2}
    assert watch.news({one: 4, other: 2}, 10.1, last=True) == {one: 3}


def test_an_alert_of_losses_has_few_fields_whatever_names_there_are():
    news = {Loss(LossCause.RATE_LIMIT, rule=f"shop/Rule {number}'s"): 1 for number in range(100)}
    news |= {Loss(LossCause.CALL_BUFFER_FULL, by=LostBy("/pod/abc", "abc", "shop/web")): 3}
    news |= {Loss(LossCause.SINK_FAILED, sink="shop/chat"): 7, Loss(LossCause.EVALUATION_FAILED, error="KeyError"): 2}
    fields = dict(loss_alert(news, "node-1", 5).output_fields)
    assert fields.pop("lost.rule") == ", ".join(f"shop/Rule {number}'s" for number in range(10)) + " and 90 more"
    assert fields == {
        "lost.calls": 103,
        "lost.alerts": 7,
        "lost.events": 2,
        "lost.cause": "RateLimit, CallBufferFull, SinkFailed, EvaluationFailed",
        "lost.pod": "shop/web",
        "lost.container": "abc",
        "lost.cgroup": "/pod/abc",
        "lost.sink": "shop/chat",
        "lost.error": "KeyError",
    }


def test_what_an_output_dropped_is_told_through_the_others(scripted_source, opened, rules):
    run = Run(scripted_source([[opened() for _ in range(10)]]), rules())

    def fail(alerts: Sequence[Alert]) -> None:
        raise OSError(5, "Input/output error")

    run.outputs.add("stuck", Sink(send=fail), capacity=4)
    got = run.finish()
    told = [alert for alert in got if alert.rule == "Tiercel: events lost"]
    assert told
    assert "alerts for output stuck" in told[0].output
    assert len([alert for alert in got if alert.rule == "Shadow read"]) == 10
    assert run.loop.summary().lost[Loss(LossCause.OUTPUT_FAILED, output="stuck")] >= 16


def test_an_event_that_cannot_be_evaluated_is_counted_and_detection_goes_on(
    scripted_source, opened, rules, caplog: pytest.LogCaptureFixture
):
    class Broken(Event):
        def __missing__(self, key: str):
            raise ValueError(key)

    broken = Broken("syscall", 1, {"evt.type": "openat"})
    run = Run(scripted_source([[broken, broken, opened("/etc/shadow", "less")]]), rules())
    got = run.finish()
    assert [alert.rule for alert in got] == ["Shadow read", "Tiercel: events lost"]
    (line,) = caplog.messages
    assert re.fullmatch(r"an event could not be evaluated: ValueError at .*/test_loop\.py:\d+, called at .*", line)
    assert run.loop.summary().lost == {Loss(LossCause.EVALUATION_FAILED, error="ValueError"): 2}


def test_replaced_rules_count_from_the_next_event_and_the_source_learns_of_them(scripted_source, opened, rules):
    source = scripted_source([[opened()]])
    run = Run(source, rules())
    run.loop.turn()
    run.replace(rules(RULES.replace("openat", "openat2").replace("Shadow", "New")))
    assert source.requirements.event_types == frozenset({"openat2"})
    source.batches = [[opened(), opened(**{"evt.type": "openat2"})]]
    assert [alert.rule for alert in run.finish()] == ["Shadow read", "By cat", "New read", "By cat"]


def test_rules_that_the_source_refuses_change_nothing(scripted_source, opened, rules):
    source = scripted_source(refuse="the kernel lacks this")
    run = Run(source, rules())
    with pytest.raises(DetectorError):
        run.replace(rules("[]"))
    source.batches = [[opened()]]
    assert len(run.finish()) == 2


def test_all_events_are_recorded_with_every_field_that_they_can_compute(scripted_source, opened, rules):
    class Lazy(Event):
        def materialize(self):
            return {**self, "computed": 1}

    recorded = Collected()
    lazy = Lazy("syscall", 7, {"evt.type": "close"})
    Run(scripted_source([[opened(), lazy]]), rules(), recording=local_worker("recording", recorded.sink)).finish()
    assert recorded.items[0]["fd.name"] == "/etc/shadow"
    assert (recorded.items[1].time, dict(recorded.items[1])) == (7, {"evt.type": "close", "computed": 1})


def test_the_source_is_told_of_events_that_were_evaluated(scripted_source, opened, rules):
    events = [opened(), opened("/tmp/x", "less")]
    source = scripted_source([events])
    Run(source, rules()).finish()
    assert source.evaluated_events == events


def test_a_recording_wants_every_event(scripted_source, opened, rules):
    source = scripted_source([[opened("/tmp/x", "less")]])
    recording = Collected()
    run = Run(source, rules(), recording=local_worker("recording", recording.sink))
    run.finish()
    assert source.evaluated_events == []
    assert [event["fd.name"] for event in recording.items] == ["/tmp/x"]


def test_what_still_waits_at_the_end_is_evaluated(scripted_source, opened, rules):
    run = Run(scripted_source([[]], held=[opened()]), rules())
    assert [alert.rule for alert in run.finish()] == ["Shadow read", "By cat"]


def test_warnings_are_logged_when_they_begin_and_again_while_they_last(
    scripted_source, rules, caplog: pytest.LogCaptureFixture
):
    source = scripted_source()
    run = Run(source, rules())
    api = AgentWarning(WarningKind.KUBERNETES_FAILS, detail="403 pods is forbidden")
    runtime = AgentWarning(WarningKind.RUNTIME_FAILS, detail="no socket")

    def look(seconds: float, *warnings: AgentWarning) -> int:
        source.warnings_now = warnings
        run.clock.time += seconds
        run.loop.turn()
        return len(caplog.messages)

    assert look(1, api) == 1
    assert look(2, api, runtime) == 2
    assert look(2) == 2
    assert look(2, api) == 2  # it comes and goes
    assert look(600, api) == 3
    assert look(2, api) == 3
    assert caplog.messages == [
        "the Kubernetes API can't be read, pods are named as far as they are known: 403 pods is forbidden",
        "containers are named as far as they are known: no socket",
        "the Kubernetes API can't be read, pods are named as far as they are known: 403 pods is forbidden",
    ]


def test_what_tells_of_lost_alerts_and_is_lost_itself_is_not_told_for_ever():
    watch, cause = LossWatch(), Loss(LossCause.SINK_FAILED, sink="chat")
    lost, told = 1, []
    for second in range(100_000):
        if watch.news({cause: lost}, second):
            told.append(second)
            lost += 1  # the alert that tells of it
    assert told[:4] == [0, 10, 30, 70]
    assert len(told) < 40
    assert watch.news({cause: lost, FULL: 3}, 100_000) == {FULL: 3}
    assert watch.news({cause: lost, FULL: 3}, 100_001, last=True) == {cause: 1}


def test_a_later_loss_of_alerts_is_told_at_once():
    watch, cause = LossWatch(), Loss(LossCause.SINK_FAILED, sink="chat")
    assert watch.news({cause: 1}, 0) == {cause: 1}
    assert watch.news({cause: 2}, 10) == {cause: 1}
    assert watch.news({cause: 3}, 29) == {}
    assert watch.news({cause: 3}, 30) == {cause: 1}
    assert watch.news({cause: 3}, 1000) == {}
    assert watch.news({cause: 4}, 1001) == {cause: 1}
    assert watch.news({cause: 5}, 1011) == {cause: 1}
