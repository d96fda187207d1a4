"""Checks that take as much as an object's name says, for workers: whatever it is that takes so much."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import pytest

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


def workers(monkeypatch: pytest.MonkeyPatch) -> WorkerPool:
    """Workers that can do this."""
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    )
    return WorkerPool([__name__])
