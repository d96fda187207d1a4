"""What the bench runs on."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

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


def programs() -> list[dict[str, Any]]:
    """The eBPF programs that may run at system calls, whoever loaded them, as bpftool tells them."""
    told = output(["bpftool", "-j", "prog", "show"])
    kinds = ("raw_tracepoint", "tracepoint", "tracing", "kprobe")
    try:
        return [program for program in json.loads(told) if program.get("type") in kinds]
    except (ValueError, TypeError, AttributeError) as error:
        raise BenchError(f"bpftool prog show tells something else than its programs: {told[:200]}") from error


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
