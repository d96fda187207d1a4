"""What the bench runs on, and what on it could spoil the figures."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path

from bench.live.processes import BenchError, output


def description() -> str:
    models = [line.partition(": ")[2] for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = int(_lines("/proc/meminfo")[0].split()[1]) >> 20
    names = [line.partition("=")[2].strip('"') for line in _lines("/etc/os-release") if line.startswith("PRETTY_NAME=")]
    return ", ".join(
        [
            models[0] if models else platform.machine(),
            f"{len(os.sched_getaffinity(0))} cores",
            f"{memory} GiB",
            f"Linux {platform.release()}",
            *names,
        ]
    )


def version(program: str) -> str:
    try:
        return output([program, "--version"]).splitlines()[0].strip()
    except (BenchError, IndexError):
        return program


def disturbances() -> list[str]:
    """Other work, and other eBPF programs at system calls, change what is measured."""
    found = []
    if (load := os.getloadavg()[0]) > 0.5:
        found.append(f"the machine is not idle: its load is {load:.1f}")
    kinds = ("raw_tracepoint", "tracepoint", "tracing", "kprobe")
    programs = [p for p in json.loads(output(["bpftool", "-j", "prog", "show"])) if p.get("type") in kinds]
    if programs:
        found.append(f"{len(programs)} eBPF programs of others are on tracepoints or kernel functions")
    return found


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
