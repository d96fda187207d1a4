"""Whatever the rules of a namespace take, the system's rules and those of other namespaces see all events in time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from agent_support.collected import Collected
from engine_support.rules import event

from tiercel_agent.config.model import NamespaceBudget
from tiercel_agent.delivery.fan_out import FanOut
from tiercel_agent.evaluation.loop import SLICE, EngineLoop
from tiercel_agent.evaluation.namespace_queues import MOST
from tiercel_agent.evaluation.rule_set import RuleSet, load_bundle
from tiercel_agent.filter.rule_counters import Suppressed
from tiercel_agent.loss import Loss
from tiercel_engine.alert import Alert
from tiercel_engine.event import Event
from tiercel_engine.priority import Priority
from tiercel_engine.resources.node_agent import LossCause
from tiercel_engine.rules.bundle import files_of, pack
from tiercel_engine.rules.objects import RuleObject
from tiercel_engine.scope import SYSTEM_NAMESPACE

BUDGET = NamespaceBudget(namespace_cpu=0.1, all_cpu=0.2, alerts=50)
TOLD = "Tiercel: a namespace's rules exceed their share"


def a_rule(name: str, condition: str) -> dict[str, Any]:
    return {"rule": name, "desc": "d", "condition": condition, "output": "o", "priority": "WARNING"}


def a_set(folder: Path, rules: Mapping[str, Sequence[dict[str, Any]]], **options: Any) -> RuleSet:
    """The rules of some namespaces, as an agent gets them."""
    bundle = pack(RuleObject(namespace, "object", {"rules": list(of_one)}) for namespace, of_one in rules.items())
    for name, content in files_of(bundle).items():
        (folder / name).write_bytes(content)
    return load_bundle(folder, **options)


HOST_RULE = a_rule("Shadow read", "evt.type = openat and fd.name = /etc/shadow")
READ = event(**{"evt.type": "openat", "fd.name": "/etc/shadow", "container.id": "host"})


def executed(namespace: str, number: int = 0) -> Event:
    fields = {"evt.type": "execve", "proc.pid": number, "container.id": "c", "k8s.ns.name": namespace}
    return event(**fields)


class Run:
    """A loop over a scripted source. Each look at the CPU time finds ``tick`` seconds more used, and each at the clock
    ``step`` seconds passed."""

    def __init__(self, source: Any, rules: RuleSet, tick: float = 0.0, budget: NamespaceBudget = BUDGET) -> None:
        self.source = source
        self.collected = Collected()
        self.time = 100.0
        self.used = 0.0
        self.tick = tick
        self.step = 0.0
        outputs = FanOut()
        outputs.add("collected", self.collected.sink, 100_000)
        self.outputs = outputs
        self.loop = EngineLoop(
            source, rules, outputs, hostname="n", budget=budget, clock=self._clock, used=self._used, now=lambda: 5
        )

    def _clock(self) -> float:
        self.time += self.step
        return self.time

    def _used(self) -> float:
        self.used += self.tick
        return self.used

    def events(self, *events: Event) -> None:
        self.source.batches = [list(events)]
        self.loop.turn()

    def lost(self) -> dict[Loss, int]:
        return dict(self.loop.summary().lost)

    def finish(self) -> list[Alert]:
        self.loop.finish()
        return self.collected.items


def test_two_thousand_rules_that_match_every_execution_leave_the_hosts_alerts_there_and_first(
    scripted_source: Any, tmp_path: Path
) -> None:
    rules = [a_rule(f"r{number}", "evt.type = execve") for number in range(2000)]
    run = Run(scripted_source(), a_set(tmp_path, {SYSTEM_NAMESPACE: [HOST_RULE], "shop": rules}))
    for _ in range(20):  # within one second
        run.events(*[executed("shop")] * 26, READ)
    got = run.finish()
    of_host = [number for number, alert in enumerate(got) if alert.rule == "Shadow read"]
    assert len(of_host) == 20
    assert of_host[-1] < BUDGET.alerts + 20 + 1
    assert sum(alert.rule.startswith("r") for alert in got) == BUDGET.alerts
    shed = Loss(LossCause.ALERT_BUDGET_EXCEEDED, namespace="shop")
    assert run.lost() == {shed: 20 * 26 * 2000 - BUDGET.alerts}
    told = [alert for alert in got if alert.rule == TOLD][-1]
    assert (told.output_fields["k8s.ns.name"], told.priority, told.origin) == ("shop", Priority.WARNING, None)


ANY = a_rule("Any", "evt.type = execve")
SYSTEMS = f"{SYSTEM_NAMESPACE}/Any"


def raised(run: Run, *events: Event, tick: float = 0.0) -> dict[str, int]:
    """The alerts of these events, if each look at the CPU time finds ``tick`` more used."""
    before = Counter(run.loop.summary().alerts)
    run.tick = tick
    run.events(*events)
    return dict(Counter(run.loop.summary().alerts) - before)


def test_rules_that_take_too_long_wait_until_that_is_made_up_for(scripted_source: Any, tmp_path: Path) -> None:
    rules = {
        SYSTEM_NAMESPACE: [ANY],
        "shop": [a_rule("Slow", "evt.type = execve")],
        "bank": [a_rule("Quick", "evt.type = execve")],
    }
    run = Run(scripted_source(), a_set(tmp_path, rules), budget=NamespaceBudget(0.1, 1.0, 100))
    shop, bank = executed("shop"), executed("bank")
    assert raised(run, shop, tick=0.09) == {SYSTEMS: 1, "shop/Slow": 1}  # 0.18 seconds
    assert raised(run, shop, bank) == {SYSTEMS: 2, "bank/Quick": 1}
    run.time += 0.9
    assert raised(run, shop) == {SYSTEMS: 1}
    run.time += 0.1  # 0.08 are left
    assert raised(run, shop) == {SYSTEMS: 1, "shop/Slow": 1, TOLD: 1}
    assert raised(run, shop, tick=1.0) == {SYSTEMS: 1}  # ended before the rule
    run.time += 10
    assert raised(run, shop) == {SYSTEMS: 1}
    run.time += 11
    assert raised(run, shop) == {SYSTEMS: 1, "shop/Slow": 1}
    assert run.lost() == {Loss(LossCause.EVALUATION_BUDGET_EXCEEDED, namespace="shop"): 4}
    assert run.source.evaluated_events == [shop, bank, shop, shop]  # of others the kernel must learn nothing


def test_a_namespace_hears_what_its_rules_missed_and_the_alerts_of_losses_leave_it_out(
    scripted_source: Any, tmp_path: Path
) -> None:
    run = Run(scripted_source(), a_set(tmp_path, {"shop": [a_rule("Slow", "evt.type = execve")]}))
    run.tick = 1.0
    for _ in range(200):
        run.time += 1
        run.events(executed("shop"), executed("shop"))
    got = run.finish()
    assert {alert.rule for alert in got} == {TOLD}
    assert len(got) <= 200 / 60 + 2
    assert sum(alert.output_fields["shed.events"] for alert in got) == 400  # type: ignore[misc]
    assert {alert.output_fields["k8s.ns.name"] for alert in got} == {"shop"}
    assert "The rules of namespace shop take more time or raise more alerts than they may: " in got[0].output


def test_namespaces_that_are_active_divide_what_all_may_have(scripted_source: Any, tmp_path: Path) -> None:
    names = [f"ns-{number}" for number in range(10)]
    rules = a_set(tmp_path, {name: [a_rule("R", "evt.type = execve")] for name in names})
    run = Run(scripted_source(), rules, budget=NamespaceBudget(0.1, 0.2, 1000))
    events = [executed(name) for name in names]
    for _ in range(50):
        run.time += 1
        raised(run, *events * 10, tick=0.001)
    assert run.used * 2 / 3 < 50 * 0.2 * 1.1  # of three looks at the time, two are of a namespace's time
    counts = run.loop.summary().alerts
    assert max(counts[f"{name}/R"] for name in names) <= 1.2 * min(counts[f"{name}/R"] for name in names)


def test_a_namespace_has_its_whole_share_while_others_take_little(scripted_source: Any, tmp_path: Path) -> None:
    names = [f"ns-{number}" for number in range(100)]
    rules = a_set(tmp_path, {name: [a_rule("R", "evt.type = execve")] for name in names})
    run = Run(scripted_source(), rules, budget=NamespaceBudget(0.1, 0.5, 1000))
    assert len(raised(run, *map(executed, names), tick=0.0001)) == 100
    assert raised(run, *[executed("ns-7")] * 100, tick=0.0004) == {"ns-7/R": 100}  # 0.08 seconds
    assert raised(run, *[executed("ns-8")] * 100, tick=0.001)["ns-8/R"] < 60
    for name in names[10:15]:  # now all have had what they may together
        raised(run, *[executed(name)] * 100, tick=0.001)
    assert raised(run, *[executed("ns-50")] * 100, tick=0.0001)["ns-50/R"] > 5


def test_alerts_of_floods_count_too(scripted_source: Any, tmp_path: Path) -> None:
    run = Run(scripted_source(), a_set(tmp_path, {"shop": [a_rule(f"r{n}", "evt.type = execve") for n in range(200)]}))
    run.source.floods = [Suppressed(f"shop/r{number}", 7, 3) for number in range(200)]
    run.events()
    assert sum(run.loop.summary().alerts.values()) == BUDGET.alerts + 1  # one tells of it
    assert run.lost() == {Loss(LossCause.ALERT_BUDGET_EXCEEDED, namespace="shop"): 200 - BUDGET.alerts}


def test_an_error_of_a_namespaces_rule_costs_that_namespace_alone(
    scripted_source: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Event):
        def __missing__(self, key: str) -> None:
            if key == "proc.name":
                raise ValueError(key)

    rules = {SYSTEM_NAMESPACE: [ANY], "shop": [a_rule("Bad", "evt.type = execve and proc.name = x")]}
    run = Run(scripted_source(), a_set(tmp_path, rules))
    assert raised(run, Broken("syscall", 1, dict(executed("shop")))) == {SYSTEMS: 1, "Tiercel: events lost": 1}
    assert run.lost() == {Loss(LossCause.EVALUATION_FAILED, error="ValueError", namespace="shop"): 1}
    assert len(caplog.messages) == 1


def test_the_hosts_own_rules_have_no_budget(scripted_source: Any, tmp_path: Path) -> None:
    rules = a_set(tmp_path, {SYSTEM_NAMESPACE: [a_rule(f"r{number}", "evt.type = execve") for number in range(300)]})
    run = Run(scripted_source(), rules, budget=NamespaceBudget(0.0, 0.0, 0))
    run.tick = 1.0
    assert sum(raised(run, executed("shop"), executed("shop")).values()) == 600
    assert run.used == 0.0


def test_with_the_first_match_alone_a_namespaces_rule_hides_none_of_the_systems(
    scripted_source: Any, tmp_path: Path
) -> None:
    rules = {"shop": [a_rule("Mine", "evt.type = execve")], SYSTEM_NAMESPACE: [ANY]}
    run = Run(scripted_source(), a_set(tmp_path, rules, first_match=True))
    assert raised(run, executed("shop")) == {SYSTEMS: 1}
    assert len(run.source.evaluated_events) == 1


def test_the_systems_rules_see_what_has_come_before_those_of_namespaces(scripted_source: Any, tmp_path: Path) -> None:
    rules = {SYSTEM_NAMESPACE: [HOST_RULE], "shop": [a_rule("Mine", "evt.type = execve")]}
    run = Run(scripted_source(), a_set(tmp_path, rules))
    run.events(executed("shop"), executed("shop"), READ)
    assert [alert.rule for alert in run.finish()] == ["Shadow read", "Mine", "Mine"]


def test_namespaces_get_a_slice_of_time_between_two_looks_at_what_comes(scripted_source: Any, tmp_path: Path) -> None:
    rules = {SYSTEM_NAMESPACE: [HOST_RULE], "shop": [a_rule("Mine", "evt.type = execve")]}
    run = Run(scripted_source(), a_set(tmp_path, rules))
    run.step = SLICE / 4
    run.events(*[executed("shop")] * 40)
    before = run.loop.summary().alerts["shop/Mine"]
    assert 0 < before <= 4
    later = executed("shop")
    run.events(READ, later)
    assert run.loop.summary().alerts[f"{SYSTEM_NAMESPACE}/Shadow read"] == 1
    assert run.loop.summary().alerts["shop/Mine"] <= before + 4
    assert run.source.held_events == [later]  # its process may have ended when its turn comes
    run.step = 0.0
    run.events()
    assert run.loop.summary().alerts["shop/Mine"] == 41


def test_what_finds_no_room_to_wait_is_told_to_its_namespace_alone(scripted_source: Any, tmp_path: Path) -> None:
    rules = {SYSTEM_NAMESPACE: [ANY], "shop": [a_rule("Mine", "evt.type = execve")]}
    run = Run(scripted_source(event_size=MOST // 10), a_set(tmp_path, rules))
    assert raised(run, *[executed("shop")] * 15) == {SYSTEMS: 15, "shop/Mine": 10, TOLD: 1}
    assert run.lost() == {Loss(LossCause.EVALUATION_BUDGET_EXCEEDED, namespace="shop"): 5}


def test_what_waits_is_for_the_rules_before_when_these_are_exchanged(scripted_source: Any, tmp_path: Path) -> None:
    run = Run(scripted_source(), a_set(tmp_path, {"shop": [a_rule("Old", "evt.type = execve")]}))
    run.step = SLICE
    run.events(executed("shop"))
    assert not run.loop.summary().alerts
    run.loop.load(a_set(tmp_path, {"shop": [a_rule("New", "evt.type = execve")]}))
    run.loop.switch()
    assert run.loop.summary().alerts == {"shop/Old": 1}


def test_the_rules_of_a_namespace_are_evaluated_in_steps(scripted_source: Any, tmp_path: Path) -> None:
    """However many they are, and however long each takes: the system's rules see what comes in between."""
    many = [a_rule(f"r{number}", f"evt.type = execve and proc.pid != {number}") for number in range(1000)]
    budget = NamespaceBudget(1.0, 1.0, 2000)
    run = Run(scripted_source(), a_set(tmp_path, {SYSTEM_NAMESPACE: [HOST_RULE], "shop": many}), budget=budget)
    run.step = SLICE / 2
    shadow = f"{SYSTEM_NAMESPACE}/Shadow read"
    run.events(executed("shop", 1000))
    for turn in range(1, 4):
        run.events(READ)
        assert run.loop.summary().alerts == {shadow: turn}
    run.step = 0.0
    run.events()
    assert len(run.loop.summary().alerts) == 1001


def test_what_concerns_no_rule_of_the_system_isnt_shown_to_any(scripted_source: Any, tmp_path: Path) -> None:
    run = Run(
        scripted_source(), a_set(tmp_path, {SYSTEM_NAMESPACE: [ANY], "shop": [a_rule("Mine", "evt.type = execve")]})
    )
    shop = executed("shop", 7)
    run.source.for_namespaces = [shop]
    assert raised(run, shop) == {"shop/Mine": 1}
    assert raised(run, executed("shop", 8)) == {SYSTEMS: 1, "shop/Mine": 1}
