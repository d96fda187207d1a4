"""What happened before the end is evaluated, alerted and delivered, or told as lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from live_support.filter_rules import SKIPPED
from live_support.watching import Watching

from tiercel_agent.kernel.errors import DetectorError
from tiercel_agent.kernel.probes.call_event import needs_call_event
from tiercel_agent.kernel.probes.permissions import read_facts
from tiercel_agent.workloads.settings import WorkloadSettings
from tiercel_cli.options import CANNOT_WATCH

RULES = """
- rule: Last
  desc: d
  condition: evt.type in (open, openat) and fd.name startswith /tiercel-last/
  output: "%fd.name"
  priority: INFO
"""
COUNT = 1500
"""Calls that fit into the ring buffer, and are more than one turn takes."""
LOST = "Tiercel: events lost"
KERNEL_SKIPS = frozenset(SKIPPED if needs_call_event(read_facts().version) else ())


def open_all(count: int) -> None:
    """Opens as many names, one after the other, in a child that has ended when this returns."""
    pid = os.fork()
    if pid == 0:
        for number in range(count):
            with suppress(OSError):
                os.open(f"/tiercel-last/{number}", os.O_RDONLY)
        os._exit(0)
    os.waitpid(pid, 0)


@pytest.fixture
def watching():
    if os.geteuid() != 0:
        pytest.skip("live tests need root")
    try:
        with Watching(RULES, WorkloadSettings()) as entered:
            yield entered
    except DetectorError as error:
        pytest.skip(f"live tests need eBPF: {error}")


def test_what_waits_in_the_kernel_at_the_end_is_evaluated(watching):
    open_all(COUNT)
    watching.loop.finish()
    assert [alert.output for alert in watching.of("Last")] == [f"/tiercel-last/{number}" for number in range(COUNT)]
    assert set(watching.detector.counters().lost) <= KERNEL_SKIPS


def test_what_found_no_room_before_the_end_is_told_as_lost(watching):
    open_all(20 * COUNT)
    watching.loop.finish()
    alerts = watching.of("Last")
    (told,) = watching.of(LOST)
    assert told.output_fields["lost.calls"] > 0
    assert len(alerts) + told.output_fields["lost.calls"] >= 20 * COUNT  # others' calls may be lost too


@pytest.mark.parametrize("command", ["detect", "agent"])
def test_the_command_delivers_what_happened_before_it_was_told_to_end(
    tmp_path: Path, state_of_detect: Path, command: str
):
    """It doesn't run while that happens, and gets the signal before it runs on."""
    if os.geteuid() != 0:
        pytest.skip("live tests need root")
    (tmp_path / "rules.yaml").write_text(RULES)
    alerts = tmp_path / "alerts"
    (tmp_path / "tiercel.yaml").write_text(
        f"rules: [{tmp_path}/rules.yaml]\nflood_limit: 0\noutputs: {{file: {{enabled: true, path: {alerts}}}}}\n"
        "log: {targets: [stderr]}\n"
    )
    options = {
        "detect": ["-r", f"{tmp_path}/rules.yaml", "--json", "--flood-limit", "0", "--output", f"{alerts}"],
        "agent": ["-c", f"{tmp_path}/tiercel.yaml"],
    }[command]
    program = [sys.executable, "-c", "from tiercel_cli.main import main; main()", command, *options]
    environment = {**os.environ, "STATE_DIRECTORY": str(state_of_detect)}
    with subprocess.Popen(
        program, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as tool:
        assert tool.stderr is not None
        said = []
        for line in tool.stderr:
            said.append(line)
            if "watching: " in line:
                break
        else:
            assert tool.wait() == CANNOT_WATCH, said
            pytest.skip(f"live tests need eBPF: {said}")
        os.kill(tool.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, tool.pid, os.WSTOPPED)
        open_all(COUNT)
        os.kill(tool.pid, signal.SIGTERM)
        os.kill(tool.pid, signal.SIGCONT)
        summary = tool.stderr.read()
        assert tool.wait() == 0, summary
    written = [json.loads(line) for line in alerts.read_text().splitlines()]
    names = [alert["output"].split()[-1] for alert in written if alert["rule"] == "Last"]
    assert names == [f"/tiercel-last/{number}" for number in range(COUNT)]
    if not KERNEL_SKIPS:
        assert "Lost: none" in summary
