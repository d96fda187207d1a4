"""What the options of ``tiercel operator`` are to the operator."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from tiercel_agent.config.model import NamespaceBudget
from tiercel_cli import operator as module
from tiercel_operator import logs
from tiercel_operator.cluster.budgets import TENANT, TOTAL, budget
from tiercel_operator.main import Settings


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings with which operators were started."""
    settings: list[Any] = []
    monkeypatch.setattr(module, "run", settings.append)
    monkeypatch.setattr(logs, "set_up", lambda: None)
    return settings


def test_a_namespaces_budget_is_the_administrators(started: list[Settings]) -> None:
    options = ["--namespace-rules=7", "--namespace-rules-kib=2048", "--namespace-rules-compressed-kib=100"]
    assert CliRunner().invoke(module.operator, options).exit_code == 0
    assert CliRunner().invoke(module.operator, []).exit_code == 0
    assert [each.tenant for each in started] == [budget(7, 2 << 20, 100 << 10), TENANT]


def test_no_namespace_can_have_more_than_there_is(started: list[Settings]) -> None:
    outcome = CliRunner().invoke(module.operator, [f"--namespace-rules-kib={(TOTAL.unpacked >> 10) + 1}"])
    assert outcome.exit_code == 2
    assert "is not in the range 1<=x<=32768" in outcome.output
    assert started == []


def test_what_rules_of_a_namespace_may_take_on_nodes_is_the_administrators(started: list[Settings]) -> None:
    options = ["--namespace-cpu-percent=5", "--namespace-alerts=7"]
    assert CliRunner().invoke(module.operator, options).exit_code == 0
    assert CliRunner().invoke(module.operator, []).exit_code == 0
    assert [dict(each.agents.namespace_budget) for each in started if each.agents is not None] == [
        {"cpu_percent": 5, "alerts_per_second": 7},
        {},
    ]


def test_the_help_tells_what_agents_take_for_usual() -> None:
    told = " ".join(CliRunner().invoke(module.operator, ["--help"]).output.split())
    usual = NamespaceBudget()
    for number in (100 * usual.namespace_cpu, 100 * usual.all_cpu, usual.alerts):
        assert f"Usually {number:.0f}." in told
