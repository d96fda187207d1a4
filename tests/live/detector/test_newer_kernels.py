"""On kernels of series 7 the programs of calls run at a trace event. Nothing else differs.

It is tried on every kernel that shows the event; those of series 7 have it in all live tests.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from live_support.every_family import CONDITIONS, RULES, act, rules_that_fired
from live_support.watching import Watching

import tiercel_agent.kernel.machine
from tiercel_agent.kernel.probes.call_event import INTERRUPTED_SINCE, call_event
from tiercel_agent.kernel.probes.permissions import read_facts
from tiercel_agent.workloads.settings import WorkloadSettings


def test_every_family_is_watched_at_the_trace_event(
    opened_detectors: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tracefs = tmp_path / "tracing"
    tracefs.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tracefs", "tracefs", tracefs], capture_output=True, text=True, check=False
    )
    try:
        event = call_event(INTERRUPTED_SINCE, (str(tracefs),))
    finally:
        subprocess.run(["umount", tracefs], capture_output=True, check=False)
    if read_facts().version < (5, 11):
        pytest.skip("programs at the trace event call a helper that Linux 5.11 brought")
    if event is None:
        pytest.skip(f"tracefs shows no event of system calls: {mounted.stderr.strip()}")
    monkeypatch.setattr(tiercel_agent.kernel.machine, "call_event", lambda _version: event)
    with Watching(RULES, WorkloadSettings()) as watch:
        act(watch)
        assert rules_that_fired(watch) == set(CONDITIONS)
        assert not watch.detector.counters().lost
        assert not watch.detector.unwatched()
