"""The parts of the bench, in their order."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.live import machine
from bench.live.contestants import CannotWatch, Contestant, Tiercel, contestants, watching
from bench.live.detection import flood, hiding, latency
from bench.live.loads import LOADS
from bench.live.part import Part
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


INTERRUPTED = 130
"""The exit status of what Ctrl-C ends."""


def measure(options: Options, stage: Stage, tell: Callable[[str], None]) -> tuple[Results, int]:
    """All that is wanted, and the exit status. What fails is told in the results, and ends no more than its part;
    after Ctrl-C and SIGTERM they hold what was measured until then. BenchError if there is nobody left to measure."""
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
        [],
        Throughput([], [], []),
        latencies=[],
        hidings=[],
        floods=[],
        sizes=[],
    )
    return results, _run(list(_parts(options, stage, chosen, results)), results, tell)


def _run(parts: Sequence[Part], results: Results, tell: Callable[[str], None]) -> int:
    """The exit status."""
    for number, part in enumerate(parts):
        try:
            tell(part.name)
            part.run()
        except BenchError as error:
            results.problems.append(f"{part.name}: {error}")
            results.missing.append(part.name)
        except (KeyboardInterrupt, SystemExit) as stop:
            results.problems.append(f"{part.name}: interrupted")
            results.missing.extend(later.name for later in parts[number:])
            return stop.code if isinstance(stop, SystemExit) and isinstance(stop.code, int) else INTERRUPTED
        except Exception as error:  # a fault of the bench itself: what is measured is worth more than its end
            traceback.print_exc()
            results.problems.append(f"{part.name}: {type(error).__name__}: {error}")
            results.missing.append(part.name)
    return 1 if results.problems else 0


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


def _parts(options: Options, stage: Stage, chosen: Sequence[Contestant], results: Results) -> Iterator[Part]:
    only = set(options.only)
    loads = [load for load in LOADS if load.name in only]
    if loads or "idle" in only:
        plan = Plan(loads, options.rounds, options.seconds, options.idle if "idle" in only else 0)
        yield from throughput(plan, chosen, stage, results.throughput)
    for contestant in chosen:
        if contestant.alerts:
            yield from _detection_parts(options, stage, contestant, results)
    if only & {"start", "scaling"}:
        scaled = [one for one in chosen if isinstance(one, Tiercel)]
        rounds = options.rounds if "scaling" in only else 0
        yield from scaling(scaled, stage, rounds, options.seconds, results.sizes)


def _detection_parts(options: Options, stage: Stage, contestant: Contestant, results: Results) -> Iterator[Part]:
    if "latency" in options.only:
        yield Part(f"latency, {contestant.name}", partial(latency, contestant, stage, results.latencies))
    if "hiding" in options.only:
        yield from hiding(contestant, stage, results.hidings)
    if "flood" in options.only:
        run = partial(flood, contestant, stage, options.flood_seconds, results.floods)
        yield Part(f"flood, {contestant.name}", run)
