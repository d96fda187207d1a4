"""Watches this machine's system calls with rules, and keeps the alerts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

from tiercel_agent.detection.detector import Detector, open_detector
from tiercel_agent.evaluation.loop import EngineLoop
from tiercel_agent.evaluation.rule_set import RuleSet
from tiercel_agent.kernel.bytecode.provider import ProgramSettings
from tiercel_agent.workloads.settings import WorkloadSettings
from tiercel_engine.alert import Alert
from tiercel_engine.event import Event
from tiercel_engine.matching.matcher import Matcher
from tiercel_engine.matching.requirements import Requirements
from tiercel_engine.rendering.output import compile_output
from tiercel_engine.rules import load
from tiercel_engine.rules.documents.files import RulesFile

_T = TypeVar("_T")
# Seconds until a test gives up on an alert. No test waits that long if it succeeds. Emulated machines need longer.
_DEADLINE = float(os.environ.get("TIERCEL_TEST_DEADLINE", "60"))


def rule_set(text: str) -> RuleSet:
    loaded = load([RulesFile("rules.yaml", text)])
    assert not loaded.errors, loaded.errors
    outputs = {rule.key: compile_output(rule.output) for rule in loaded.rules}
    return RuleSet(loaded.rules, Matcher(loaded.rules), outputs, Requirements.of(loaded.rules), (), loaded.warnings)


class _Kept:
    """Stands in for the outputs, and keeps the alerts."""

    ended = False

    def __init__(self) -> None:
        self.alerts: list[Alert] = []
        self.taken: list[float] = []

    def put(self, alert: Alert, _event: Event | None) -> None:
        self.alerts.append(alert)
        self.taken.append(time.time())

    def lost(self) -> dict[str, int]:
        return {}

    def close(self) -> None:
        pass


class Watching:
    """A context manager that watches from its entry to its exit. No matches are suppressed."""

    def __init__(self, rules: str, workloads: WorkloadSettings, programs: ProgramSettings | None = None) -> None:
        self.rules = rule_set(rules)
        self._workloads = workloads
        self._programs = programs
        self._kept = _Kept()

    def __enter__(self) -> Watching:
        self.detector: Detector = open_detector(
            self.rules.requirements,
            self.rules.rules,
            flood_limit=0,
            workloads=self._workloads,
            programs=self._programs,
        )
        self.loop = EngineLoop(self.detector, self.rules, self._kept, hostname="node")  # type: ignore[arg-type]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detector.close()

    @property
    def alerts(self) -> list[Alert]:
        return self._kept.alerts

    @property
    def taken(self) -> list[float]:
        """When each alert was raised, in seconds since the epoch."""
        return self._kept.taken

    def of(self, rule: str) -> list[Alert]:
        return [alert for alert in self.alerts if alert.rule == rule]

    def replace(self, rules: RuleSet) -> None:
        """Goes on with other rules."""
        self.loop.load(rules)
        self.until(lambda: not self.loop.is_loading(), "end of loading")
        self.loop.switch()

    def during(self, action: Callable[[], _T]) -> _T:
        """Runs ``action`` in another thread while events are taken. Returns its result."""
        with ThreadPoolExecutor(1) as beside:
            doing = beside.submit(action)
            self.until(doing.done, "end of what is done meanwhile")
            return doing.result()

    def until(self, done: Callable[[], object], what: str = "") -> None:
        """Takes events until ``done()`` is true. Fails after the deadline; ``what`` says what was missing."""
        end = time.monotonic() + _DEADLINE
        while not done():
            assert time.monotonic() < end, f"no {what or 'alert'}; there are {self.alerts}"
            self.loop.turn(0.05)
