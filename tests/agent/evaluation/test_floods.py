"""Floods that the kernel has counted, as alerts; and the last events of the rules that a change replaces."""

from __future__ import annotations

import pytest
from agent_support.collected import Collected

from tiercel_agent.delivery.fan_out import FanOut
from tiercel_agent.evaluation.floods import COUNT
from tiercel_agent.evaluation.loop import EngineLoop
from tiercel_agent.evaluation.rule_set import load_rule_set
from tiercel_agent.filter.rule_counters import Suppressed

RULE = """
- rule: {name}
  desc: d
  condition: evt.type = openat and fd.name = {path}
  output: "file=%fd.name by %proc.name"
  priority: ERROR
  tags: [files]
"""


@pytest.fixture
def rules(tmp_path):
    def load(name="Shadow read", path="/etc/shadow"):
        file = tmp_path / f"{name}.yaml"
        file.write_text(RULE.format(name=name, path=path))
        return load_rule_set([file])

    return load


@pytest.fixture
def loop(scripted_source, rules):
    def make(**source):
        collected, outputs = Collected(), FanOut()
        outputs.add("collected", collected.sink)
        made = EngineLoop(scripted_source(**source), rules(), outputs, hostname="node-1", now=lambda: 5)
        return made, collected.items

    return make


def test_a_flood_is_one_alert_with_the_count_and_the_last_match_as_example(loop, opened):
    made, alerts = loop(batches=[[opened()]], floods=[Suppressed("Shadow read", 1, 4000)])
    made.turn()
    made.finish()
    first, flood = alerts
    assert first.output == "file=/etc/shadow by cat"
    assert flood.output == (
        "4000 more matches in the same cgroup were counted, the last one reported: file=/etc/shadow by cat"
    )
    assert flood.output_fields == {**first.output_fields, COUNT: 4000}
    assert (flood.rule, flood.priority, flood.tags, flood.time) == ("Shadow read", first.priority, ("files",), 5)
    assert "       2  Shadow read (4000 more matches were counted)" in made.summary().lines()


def test_a_flood_in_a_cgroup_without_an_example_is_told_too(loop, opened):
    made, alerts = loop(batches=[[opened()]], floods=[Suppressed("Shadow read", 7, 1)])
    made.turn()
    made.finish()
    assert alerts[1].output == "1 match in one cgroup was counted and not reported one by one"
    assert alerts[1].output_fields == {COUNT: 1}


def test_a_flood_of_a_rule_that_is_gone_is_summed_up(loop):
    made, alerts = loop(floods=[Suppressed("Gone", 7, 3)])
    made.turn()
    made.finish()
    assert not alerts
    assert made.summary().suppressed == {"Gone": 3}


def test_the_last_events_before_a_change_are_for_the_old_rules(loop, rules, opened):
    made, alerts = loop(last_events=[opened(), opened("/other")], batches=[[opened("/other"), opened()]])
    made.load(rules("Other read", "/other"))
    made.switch()
    made.turn()
    made.finish()
    assert [(alert.rule, alert.output_fields["fd.name"]) for alert in alerts] == [
        ("Shadow read", "/etc/shadow"),
        ("Other read", "/other"),
    ]
