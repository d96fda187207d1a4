"""What more rules cost: the time to start, the price of an open, and the kernel's own account of the programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.live.contestants import Tiercel, watching
from bench.live.machine import programs
from bench.live.part import Part
from bench.live.stage import Stage

SIZES = (10, 90, 1000)
LOAD = "open"


@dataclass(frozen=True, slots=True)
class Size:
    """Samples with that many rules: ``start`` seconds to the line `watching: …`; ns that an open and close takes
    ``without`` and ``watched``, in the same rounds; ``programs`` by name: ns a run, runs an open and close."""

    contestant: str
    rules: int
    start: list[float]
    without: list[float]
    watched: list[float]
    programs: dict[str, tuple[float, float]]


def scaling(
    contestants: Sequence[Tiercel], stage: Stage, rounds: int, seconds: float, into: list[Size]
) -> Iterator[Part]:
    """All sizes with all contestants, in turns; ``rounds`` 0 measures the starts alone, three times."""
    files = {count: stage.rules(count) for count in SIZES}
    sizes = [
        (contestant, count, Size(contestant.name, count, [], [], [], {}))
        for contestant in contestants
        for count in SIZES
    ]
    into.extend(size for _, _, size in sizes)
    for number in range(rounds or 3):
        for contestant, count, size in sizes:
            name = f"{count} rules, round {number + 1} of {rounds or 3}, {contestant.name}"
            yield Part(name, partial(_start, contestant, stage, files[count], seconds if rounds else 0, size))
    if rounds:
        for contestant, count, size in sizes:
            name = f"{count} rules, the kernel's account, {contestant.name}"
            yield Part(name, partial(_programs, contestant, stage, files[count], seconds, size.programs))


def _start(contestant: Tiercel, stage: Stage, rules: Path, seconds: float, size: Size) -> None:
    """Starts a contestant and runs the load for so many ``seconds`` (0: not at all)."""
    without = 1e9 / stage.run(LOAD, seconds).rate if seconds else 0
    with watching(contestant, stage, [rules]) as watch:
        size.start.append(contestant.started_in(watch))
        if seconds:
            watched = 1e9 / stage.run(LOAD, seconds).rate
            size.without.append(without)  # both or none, since they are compared
            size.watched.append(watched)


def _programs(
    contestant: Tiercel, stage: Stage, rules: Path, seconds: float, into: dict[str, tuple[float, float]]
) -> None:
    """ns a run and runs an open and close of the contestant's programs, which the kernel counts for all processes."""
    others = {program["id"] for program in programs()}
    with watching(contestant, stage, [rules]), _accounting():
        stage.run(LOAD, 0.1)  # what is learned once isn't to be measured
        before = {program["id"]: program for program in programs()}
        rounds = stage.run(LOAD, seconds).rounds
        after = [program for program in programs() if program["id"] not in others]
    for program in after:
        earlier = before.get(program["id"], {})
        spent, runs = (program.get(key, 0) - earlier.get(key, 0) for key in ("run_time_ns", "run_cnt"))
        if runs > rounds / 100:
            into[program["name"]] = (spent / runs, runs / rounds)


@contextmanager
def _accounting() -> Iterator[None]:
    """The kernel accounts for each run of a program, which costs each some 50 ns more."""
    switch = Path("/proc/sys/kernel/bpf_stats_enabled")
    before = switch.read_text()
    switch.write_text("1")
    try:
        yield
    finally:
        switch.write_text(before)
