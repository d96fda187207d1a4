"""The parts of the bench, in their order."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.live import machine
from bench.live.contestants import CannotWatch, Contestant, Tiercel, contestants, watching
from bench.live.detection import flood, hiding, latency
from bench.live.loads import LOADS
from bench.live.processes import BenchError
from bench.live.results import Results
from bench.live.scaling import scaling
from bench.live.stage import Stage
from bench.live.throughput import Plan, Throughput, throughput

RULES = 90
"""Generated rules that Tiercel has if no others are given: about as many as Falco's stock files hold."""

PARTS = ("idle", "latency", "hiding", "flood", "start", "scaling")
"""What is measured beside the loads, by name."""


@dataclass(frozen=True, slots=True)
class Options:
    """``only`` names loads and parts; ``seconds`` are those of a load, ``idle`` and ``flood_seconds`` of these parts;
    ``contestants`` None are all that are installed."""

    only: Sequence[str]
    rounds: int
    seconds: float
    idle: float
    flood_seconds: int
    rules: Path | None
    contestants: Sequence[str] | None


def measure(options: Options, stage: Stage, tell: Callable[[str], None]) -> Results:
    """All that is wanted. What fails is told in the results; BenchError if there is nobody left to measure."""
    load, problems = os.getloadavg()[0], list[str]()
    wanted = contestants(options.contestants, options.rules or stage.rules(RULES))
    chosen = _those_that_start(wanted, stage, problems, tell)
    results = Results(
        machine.description(),
        time.strftime("%Y-%m-%d"),
        f"{options.rounds} rounds, {options.seconds:g} s a load, medians [lowest–highest]; "
        f"Tiercel's rules: {options.rules or f'{RULES} generated ones'}.",
        {contestant.name: machine.version(contestant.program) for contestant in chosen},
        load,
        problems,
        Throughput([], [], []),
        latencies=[],
        hidings=[],
        floods=[],
        sizes=[],
    )
    for part in _parts(options, stage, chosen, results, tell):
        try:
            part()
        except BenchError as error:
            problems.append(str(error))
    return results


def _those_that_start(
    wanted: Sequence[Contestant], stage: Stage, problems: list[str], tell: Callable[[str], None]
) -> list[Contestant]:
    chosen = []
    for contestant in wanted:
        tell(f"a first start of {contestant.name}")
        try:
            with watching(contestant, stage):
                chosen.append(contestant)
        except CannotWatch:
            raise
        except BenchError as error:
            problems.append(str(error))
    if not chosen:
        raise BenchError("; ".join(problems) or "no contestant is chosen")
    return chosen


def _parts(
    options: Options, stage: Stage, chosen: Sequence[Contestant], results: Results, tell: Callable[[str], None]
) -> Iterator[Callable[[], object]]:
    only = set(options.only)
    loads = [load for load in LOADS if load.name in only]
    if loads or "idle" in only:
        plan = Plan(loads, options.rounds, options.seconds, options.idle if "idle" in only else 0)
        yield lambda: throughput(plan, chosen, stage, results.throughput, tell)
    for contestant in chosen:
        if contestant.alerts:
            yield from _detection_parts(options, stage, contestant, results, tell)
    if only & {"start", "scaling"}:
        scaled = [one for one in chosen if isinstance(one, Tiercel)]
        rounds = options.rounds if "scaling" in only else 0
        yield lambda: scaling(scaled, stage, rounds, options.seconds, results.sizes, tell)


def _detection_parts(
    options: Options, stage: Stage, contestant: Contestant, results: Results, tell: Callable[[str], None]
) -> Iterator[Callable[[], object]]:
    if "latency" in options.only:
        yield lambda: results.latencies.append(latency(contestant, stage, tell))
    if "hiding" in options.only:
        yield lambda: results.hidings.extend(hiding(contestant, stage, tell))
    if "flood" in options.only:
        yield lambda: results.floods.append(flood(contestant, stage, options.flood_seconds, tell))
