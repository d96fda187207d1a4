"""What `make bench-live` has measured is written, whatever a contestant prints or does, and whenever it is stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="the bench needs root"),
    pytest.mark.skipif(
        not shutil.which("bpftool") or not shutil.which("cc"), reason="the bench needs bpftool and a C compiler"
    ),
]


class Bench:
    """The bench at work with the watcher of files in Falco's place."""

    def __init__(self, folder: Path, only: str, environment: Mapping[str, str], *options: str) -> None:
        self.out = folder / "results"
        programs = folder / "bin"
        programs.mkdir()
        falco = programs / "falco"
        falco.write_text(f'#!/bin/sh\nexec {sys.executable} -S {Path(__file__).with_name("watcher.py")} "$@"\n')
        falco.chmod(0o755)
        command = [sys.executable, "-m", "bench.live", "--contestants", "falco", "--only", only, "--out", str(self.out)]
        self.process = subprocess.Popen(
            [*command, "--seconds", "0.05", "--idle", "0.1", "--flood-seconds", "2", *options],
            cwd=ROOT,
            env={**os.environ, **environment, "PATH": f"{programs}:{os.environ['PATH']}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.told = ""

    def wait_for(self, progress: str) -> None:
        """Until it says so on standard error."""
        assert self.process.stderr is not None
        while progress not in self.told:
            line = self.process.stderr.readline()
            assert line, self.told
            self.told += line

    def status(self) -> int:
        out, err = self.process.communicate(timeout=120)
        self.told += out + err
        return self.process.returncode

    def figures(self) -> dict[str, Any]:
        found = json.loads((self.out / "live.json").read_text())
        assert isinstance(found, dict)
        return found

    def report(self) -> str:
        return (self.out / "live.md").read_text()


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    def start(only: str, *options: str, **environment: str) -> Bench:
        return Bench(tmp_path, only, environment, *options)

    return start


def test_lines_that_are_no_alerts_are_passed_over(bench: Callable[..., Bench]) -> None:
    lines = [
        "08:00:00: Warning Bench planted in words",
        '{"rule": "Bench planted", "output_fields": {"fd.na',
        '{"rule": "Bench planted", "output_fields": {"fd.name": null}}',
        '{"rule": "Bench planted"}',
        '["Bench planted"]',
        "17",
        "   Bench flood: 12",
    ]
    run = bench("getpid,latency,flood", "--rounds", "1", BENCH_WATCHER_LINES="\\n".join(lines))
    assert run.status() == 0, run.told
    found = run.figures()
    assert found["problems"] == found["missing"] == []
    (latency,) = found["latencies"]
    assert len(latency["seconds"]) > latency["opens"] / 2  # inotify may fold two opens of the same file alone
    (flood,) = found["floods"]
    assert 0 < flood["alerts"] <= flood["done"]["rounds"]
    # The watcher's summary and its cut last line come after its end was asked for, and its cut metrics have one before.
    (stay,) = found["throughput"]["stays"]
    assert stay["ending"]["lost"] == 7
    assert stay["ending"]["passed_over"] % 5 == 0 < stay["ending"]["passed_over"]
    assert "lines that falco printed among its alerts weren't any" in run.report()


def test_a_contestant_that_ends_takes_no_other_part_with_it(bench: Callable[..., Bench]) -> None:
    # The first start is to see whether it starts; the third is its second round.
    run = bench("getpid,latency", "--rounds", "3", BENCH_WATCHER_DIES="3")
    assert run.status() == 1, run.told
    found = run.figures()
    assert {stay["round"] for stay in found["throughput"]["stays"]} == {1, 3}
    assert found["latencies"]
    assert found["missing"] == ["loads, round 2 of 3, falco"]
    (problem,) = found["problems"]
    assert problem.startswith("loads, round 2 of 3, falco: ")
    assert "ended by itself: something is wrong" in problem or "does not start: something is wrong" in problem
    assert "- missing, in whole or in part: loads, round 2 of 3, falco\n" in run.report()
    assert (run.out / "live.svg").exists()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_was_measured_is_written_when_it_is_stopped(
    bench: Callable[..., Bench], number: signal.Signals, status: int
) -> None:
    run = bench("getpid,idle,latency,hiding", "--rounds", "2", "--idle", "3")
    run.wait_for("loads, round 2 of 2, falco")
    time.sleep(0.2)
    run.process.send_signal(number)
    assert run.status() == status, run.told
    found = run.figures()
    assert [stay["round"] for stay in found["throughput"]["stays"]] == [1]
    assert [sample["round"] for sample in found["throughput"]["samples"]][:2] == [1, 1]
    assert found["missing"][0] == "loads, round 2 of 2, falco"
    assert "latency, falco" in found["missing"]
    assert len(found["missing"]) == 8  # 5 attacks, latency, and a round of both
    assert found["problems"] == ["loads, round 2 of 2, falco: interrupted"]
    assert "interrupted" in run.report()
    assert (run.out / "live.svg").read_text().startswith("<svg")


def test_a_report_of_a_part_of_the_attacks(bench_modules: Any) -> None:
    """One contestant was measured beside all attacks, another beside one."""
    detection, results, throughput, report, watch = bench_modules
    hidings = [
        detection.Hiding(name, attack, 100, 90, watch.Ending(0, {}, 1, 1))
        for name, attacks in (("tiercel", detection.ATTACKS), ("falco", detection.ATTACKS[:1]))
        for _, _, attack in attacks
    ]
    found = results.Results(
        machine="a machine",
        date="2026-01-01",
        settings="none",
        contestants={"tiercel": "1", "falco": "2"},
        load=0,
        problems=["falco ended"],
        missing=["hiding behind one process, falco"],
        throughput=throughput.Throughput([], [], []),
        latencies=[],
        hidings=hidings,
        floods=[],
        sizes=[],
    )
    text = report.markdown(found)
    assert text.count("90 of 100; lost: none") == len(detection.ATTACKS) + 1
    assert text.count("| –") == len(detection.ATTACKS) - 1


@pytest.fixture
def bench_modules(monkeypatch: pytest.MonkeyPatch) -> Any:
    import importlib

    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT)])
    names = ("detection", "results", "throughput", "report", "watch")
    return tuple(importlib.import_module(f"bench.live.{name}") for name in names)
