"""The agent as a service of systemd, installed by the lines that README.md has for it."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from guest_support.service_steps import ALERT
from guests import StepResult, Visit


@pytest.fixture
def done(service_visit: Visit) -> Mapping[str, StepResult]:
    return service_visit.steps


def _properties(result: StepResult) -> dict[str, str]:
    return dict(line.split("=", 1) for line in result.output.decode().splitlines() if "=" in line)


def test_it_starts_and_tells_systemd_that_it_watches(done: Mapping[str, StepResult]) -> None:
    assert done["installed"].status == 0, done["installed"].text()
    state = _properties(done["state"])
    assert (state["ActiveState"], state["SubState"], state["NRestarts"]) == ("active", "running", "0")
    assert state["StatusText"].startswith("watching: ")
    assert done["pid file"].output.decode().strip() == state["MainPID"]


def test_alerts_are_in_the_journal(done: Mapping[str, StepResult]) -> None:
    assert done["alerted"].status == 0, done["alerted"].text()


def test_a_reload_is_taken_and_detection_goes_on(done: Mapping[str, StepResult]) -> None:
    assert done["reloaded"].status == 0, done["reloaded"].text()
    assert "loading the rules anew" in done["reloaded"].output.decode()
    assert done["alerted again"].status == 0, done["alerted again"].text()


def test_it_stops_without_losing_anything_and_says_so(done: Mapping[str, StepResult]) -> None:
    assert done["stopped"].status == 0, done["stopped"].text()
    state = _properties(done["state afterwards"])
    assert state == {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"}
    journal = done["journal"].output.decode()
    alerts = [json.loads(line) for line in journal.splitlines() if line.startswith("{")]
    assert [alert["rule"] for alert in alerts].count(ALERT) == 22
    assert "Lost: none" in journal
    assert done["pid file afterwards"].status != 0
