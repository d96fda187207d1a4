"""Where the bench happens: a folder with the workload program, what the loads open, and the files that are planted."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.live.loads import LOADS, WORKLOAD, Done
from bench.live.processes import BenchError, output, running
from bench.live.rulesets import rule_set

FUNCTIONS = 200
"""Functions of the program that is compiled."""

PLANTED, FLOOD, SINGLE = "Bench planted", "Bench flood", "Bench single"
"""Rules about planted files: each about the folder that its second word names."""


@dataclass(frozen=True, slots=True)
class Stage:
    """``planted_rules`` are those about planted files; ``calls`` are the system calls of a round's command, by load."""

    folder: Path
    planted_rules: Path
    calls: Mapping[str, int]

    def run(self, load: str, seconds: float) -> Done:
        with self.in_background(load, seconds) as process:
            return self.finish(load, process)

    @contextlib.contextmanager
    def in_background(self, load: str, seconds: float, folder: str = "load") -> Iterator[subprocess.Popen[bytes]]:
        """Runs the load as a process, which is killed at the end of the block."""
        command = (self.folder / "workload", load, str(seconds), self.folder / folder)
        with running(command, subprocess.PIPE, None) as process:
            yield process

    def finish(self, load: str, process: subprocess.Popen[bytes]) -> Done:
        """Waits for a load in the background."""
        out, _ = process.communicate()
        if process.returncode:
            raise BenchError(f"the load {load} ended with status {process.returncode}")
        told = json.loads(out)
        if not told["rounds"] or told["seconds"] <= 0:
            raise BenchError(f"the load {load} did not do a single round")
        calls = told["calls"] + told["rounds"] * self.calls.get(load, 0)
        return Done(told["rounds"], told["seconds"], calls, told["asked"])

    def plant(self, count: int, milliseconds: float, name: str) -> list[int]:
        """Opens a planted file so often and so far apart; the CLOCK_MONOTONIC ns right before each open.

        ``name`` is below the folder; with a slash at its end it stands for ``name/0``, ``name/1``, …
        """
        command = (self.folder / "workload", "plant", str(count), str(milliseconds), f"{self.folder}/{name}")
        moments = json.loads(output(command))
        assert isinstance(moments, list)
        return moments

    def rules(self, count: int) -> Path:
        """A file of that many generated rules."""
        path = self.folder / f"rules-{count}.yaml"
        path.write_text(rule_set(count))
        return path


@contextlib.contextmanager
def stage(planted: int, singles: int) -> Iterator[Stage]:
    """A stage with so many numbered files for each rule, removed on leaving."""
    for tool, packages in {"cc": "gcc libc6-dev", "bpftool": "bpftool"}.items():
        if shutil.which(tool) is None:
            raise BenchError(f"needs {tool} (`apt-get install {packages}`)")
    with tempfile.TemporaryDirectory(prefix="tiercel-bench-") as name:
        folder = Path(name)
        output(["cc", "-O2", "-o", folder / "workload", WORKLOAD])
        files = {
            "load": ["file", *(f"mix{number}" for number in range(8))],
            "planted": ["file", *map(str, range(planted))],
            "single": [*map(str, range(singles))],
            "flood": ["file"],
        }
        for below, names in files.items():
            (folder / below).mkdir()
            for file in names:
                (folder / below / file).write_text("a line to read\n" * 10)
        (folder / "load" / "program.c").write_text(_program())
        rules = folder / "planted.yaml"
        rules.write_text("".join(_planted_rule(rule, folder) for rule in (PLANTED, FLOOD, SINGLE)))
        calls = {load.name: _calls(folder, load.command) for load in LOADS if load.command}
        yield Stage(folder, rules, calls)


def _calls(folder: Path, command: tuple[str, ...]) -> int:
    calls = json.loads(output([folder / "workload", "calls", *command], folder))["calls"]
    assert isinstance(calls, int)
    return calls


def _planted_rule(name: str, folder: Path) -> str:
    return (
        f"- rule: {name}\n"
        "  desc: A file of the bench was opened.\n"
        "  condition: >-\n"
        f"    evt.type in (open, openat, openat2) and fd.directory = {folder}/{name.split()[1]}\n"
        "  output: Planted (file=%fd.name)\n"
        "  priority: WARNING\n"
    )


def _program() -> str:
    """A C file that gives a compiler something to do."""
    return "".join(
        f"unsigned f{n}(unsigned a, unsigned b) {{ return a % {n + 3} ? a * {n + 7} + b : a ^ b << {n % 13}; }}\n"
        for n in range(FUNCTIONS)
    )
