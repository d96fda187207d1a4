"""What watching costs: per call in the kernel, per event in user space, and how long it takes to start.

Run as root on a machine with eBPF: ``.venv/bin/python bench/bench_live.py``. Times a call by the kernel's own
accounting of BPF programs (sysctl kernel.bpf_stats_enabled, which costs some 50 ns of each run by itself) and the
workload's throughput in interleaved rounds with and without the detector.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from tiercel_agent.detector import Detector, open_detector
from tiercel_agent.source import DetectorError
from tiercel_engine.evaluation.matcher import Matcher
from tiercel_engine.evaluation.requirements import Requirements
from tiercel_engine.rule import Rule
from tiercel_engine.rules import load, read_rules

ROUNDS = 5
SECONDS = 0.5
NAME = "/etc/hostname"


def default_rules() -> list[Rule]:
    sources, _ = read_rules([Path(str(files("tiercel_agent") / "default_rules"))])
    return [rule for rule in load(sources).rules if rule.enabled]


def getppid_loop(rounds: int) -> None:
    getppid = os.getppid
    for _ in range(rounds):
        getppid()


def open_loop(rounds: int) -> None:
    for _ in range(rounds):
        os.close(os.open(NAME, os.O_RDONLY))


def rate(work: Callable[[int], None], chunk: int) -> float:
    """Rounds a second, in a child process so that the detector doesn't leave it out as its own."""
    read, write = os.pipe()
    if os.fork() == 0:
        done, begin = 0, time.perf_counter()
        while time.perf_counter() - begin < SECONDS:
            work(chunk)
            done += chunk
        os.write(write, f"{done / (time.perf_counter() - begin)}".encode())
        os._exit(0)
    os.close(write)
    value = float(os.read(read, 64))
    os.close(read)
    os.wait()
    return value


@contextmanager
def bpf_stats():
    path = Path("/proc/sys/kernel/bpf_stats_enabled")
    path.write_text("1")
    try:
        yield
    finally:
        path.write_text("0")


def program_costs() -> dict[str, tuple[int, int]]:
    """Time in ns and number of runs by program."""
    listed = json.loads(subprocess.run(["bpftool", "-j", "prog", "show"], capture_output=True, check=True).stdout)
    return {p["name"]: (p.get("run_time_ns", 0), p.get("run_cnt", 0)) for p in listed if p["type"] == "raw_tracepoint"}


def cost_of_a_run(work: Callable[[int], None], chunk: int) -> dict[str, float]:
    before = program_costs()
    rate(work, chunk)
    after = program_costs()
    costs = {}
    for name, (spent, runs) in after.items():
        spent_before, runs_before = before.get(name, (0, 0))
        if runs - runs_before > 1000:
            costs[name] = (spent - spent_before) / (runs - runs_before)
    return costs


@contextmanager
def agent(rules: Sequence[Rule]) -> Iterator[None]:
    """A process that watches and evaluates, as the agent does."""
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        detector, matcher = open_detector(Requirements.of(rules), rules), Matcher(rules)
        os.write(told, b"!")
        while True:
            for event in detector.poll(0.1):
                if not matcher.match(event):
                    detector.unmatched(event)
    os.read(ready, 1)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ready)
        os.close(told)


def kept(rules: Sequence[Rule], work: Callable[[int], None], chunk: int) -> str:
    """Throughput with the agent over throughput without, medians of interleaved rounds."""
    ratios = []
    for _ in range(ROUNDS):
        without = rate(work, chunk)
        with agent(rules):
            ratios.append(rate(work, chunk) / without)
    return f"{statistics.median(ratios):.2f} [{min(ratios):.2f}-{max(ratios):.2f}]"


def events_a_second(detector: Detector, matcher: Matcher) -> tuple[float, int]:
    """Opens evaluated against the rules in a second of this process's CPU time, and the number seen."""
    pid = os.fork()
    if pid == 0:
        open_loop(200_000)
        os._exit(0)
    seen, begin = 0, time.process_time()
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        for event in detector.poll(0.05):
            seen += 1
            if not matcher.match(event):
                detector.unmatched(event)
    spent = time.process_time() - begin
    return seen / spent, seen


def main() -> int:
    rules = default_rules()
    begin = time.perf_counter()
    try:
        detector = open_detector(Requirements.of(rules), rules)
    except DetectorError as error:
        print(f"skipped: {error}")
        return 0
    print(f"start to watching          {time.perf_counter() - begin:8.2f} s")
    print(f"memory after the start     {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:8.0f} MiB")
    speed, seen = events_a_second(detector, Matcher(rules))
    lost = sum(detector.counters().lost.values())
    print(f"events evaluated           {speed:8.0f} a CPU second ({seen} opens seen, {lost} lost in a flood)")
    detector.close()
    with agent(rules), bpf_stats():
        for name, work in (("call nobody asks for", getppid_loop), ("open or close, on average", open_loop)):
            costs = cost_of_a_run(work, 1000)
            listed = ", ".join(f"{program} {cost:.0f}" for program, cost in sorted(costs.items()))
            print(f"{name:26s} {listed} ns a run")
    for name, work in (("getppid loop keeps", getppid_loop), ("open+close loop keeps", open_loop)):
        print(f"{name:26s} {kept(rules, work, 1000)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
