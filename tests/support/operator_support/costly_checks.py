"""Checks that take as much as an object's name says, for workers: whatever it is that takes so much."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import pytest

from operator_support.rule_objects import of, rule
from tiercel_engine.rules.objects import RuleObject
from tiercel_operator.rules import checking
from tiercel_operator.workers.pool import WorkerPool

MEMORY, TIME, TOGETHER = "memory", "time", "together"
"""What the names of objects begin with that take too much memory or time, or do so if there are two of them."""


def check(objects: Sequence[RuleObject], shared: Sequence[RuleObject]) -> bytes:
    """The same as ``checking.check``."""
    names = [each.name for each in (*objects, *shared)]
    if any(name.startswith(TIME) for name in names):
        for _ in count():
            pass
    if any(name.startswith(MEMORY) for name in names) or sum(name.startswith(TOGETHER) for name in names) > 1:
        bytes(1 << 40)
    return checking.check(objects, shared)


def with_slow_tests(namespace: str, name: str) -> RuleObject:
    """An object of 200 KB whose tests take ten seconds: patterns that make new states for each character."""
    pattern = 'evt.type = execve and proc.args regex "[ab]*a[ab]{14}[ab]*c'
    text = random.Random(1)
    events = [{"evt.type": "execve", "proc.args": "".join(text.choices("ab", k=5000))} for _ in range(20)]
    tests = [{"name": f"t{number}", "event": event, "expect": []} for number, event in enumerate(events * 10)]
    return of(namespace, name, *(rule(f"r{number}", f'{pattern}{number}"') for number in range(300)), tests=tests)


def workers(monkeypatch: pytest.MonkeyPatch) -> WorkerPool:
    """Workers that can do this."""
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    )
    return WorkerPool([__name__])
