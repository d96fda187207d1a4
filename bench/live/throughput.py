"""Loads without and with each contestant, in turns, so that what else the machine does meets all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.live.contestants import NOBODY, Contestant, watching
from bench.live.loads import Done, Load
from bench.live.machine import programs
from bench.live.stage import PLANTED, Stage
from bench.live.watch import Ending, Watch


@dataclass(frozen=True, slots=True)
class Sample:
    """A load in a round. ``cpu`` seconds are what the contestant computed for it, with what was left to do at its
    end."""

    round: int
    contestant: str
    load: str
    done: Done
    cpu: float


@dataclass(frozen=True, slots=True)
class Stay:
    """A contestant in a round: ``idle`` cores used while nothing ran, ``memory`` bytes at its peak, ``alerts`` of its
    rules, which are not about the loads."""

    round: int
    contestant: str
    idle: float | None
    memory: int
    alerts: int
    ending: Ending


@dataclass(frozen=True, slots=True)
class Throughput:
    """What has been measured so far; ``spoiled`` are rounds in which others had eBPF programs at system calls: then it
    isn't nobody who watches."""

    samples: list[Sample]
    stays: list[Stay]
    spoiled: list[int]


@dataclass(frozen=True, slots=True)
class Plan:
    """``seconds`` a load takes, ``idle`` seconds at the end of a round (0: none)."""

    loads: Sequence[Load]
    rounds: int
    seconds: float
    idle: float


def throughput(
    plan: Plan, contestants: Sequence[Contestant], stage: Stage, into: Throughput, tell: Callable[[str], None]
) -> None:
    order: list[Contestant | None] = [None, *contestants]
    for number in range(1, plan.rounds + 1):
        for contestant in order:
            name = contestant.name if contestant else NOBODY
            tell(f"loads, round {number} of {plan.rounds}, {name}")
            if contestant is None:
                into.samples.extend(_samples(plan, number, NOBODY, stage, None))
                if programs():
                    into.spoiled.append(number)
                continue
            with watching(contestant, stage) as watch:
                watch.settle()  # the first load isn't charged for the start
                into.samples.extend(_samples(plan, number, name, stage, watch))
                idle = _idle(watch, plan.idle) if plan.idle else None
                memory = watch.peak_memory()
                alerts = len(watch.alerts.lines) - len(watch.alerts_of(PLANTED))
                into.stays.append(Stay(number, name, idle, memory, alerts, watch.finish()))
        order.reverse()  # a drift of the machine's speed favours none of them


def _samples(plan: Plan, number: int, name: str, stage: Stage, watch: Watch | None) -> Iterator[Sample]:
    for load in plan.loads:
        if watch is None:
            yield Sample(number, name, load.name, stage.run(load.name, plan.seconds), 0)
            continue
        before = watch.cpu_seconds()
        done = stage.run(load.name, plan.seconds)
        watch.settle()
        yield Sample(number, name, load.name, done, watch.cpu_seconds() - before)


def _idle(watch: Watch, seconds: float) -> float:
    """Cores."""
    watch.settle()
    before, begin = watch.cpu_seconds(), time.monotonic()
    time.sleep(seconds)
    return (watch.cpu_seconds() - before) / (time.monotonic() - begin)
