"""Loads without and with each contestant, in turns, so that what else the machine does meets all of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from bench.live.contestants import NOBODY, Contestant, watching
from bench.live.loads import Done, Load
from bench.live.machine import programs
from bench.live.part import Part
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


def throughput(plan: Plan, contestants: Sequence[Contestant], stage: Stage, into: Throughput) -> Iterator[Part]:
    order: list[Contestant | None] = [None, *contestants]
    for number in range(1, plan.rounds + 1):
        for contestant in order:
            name = contestant.name if contestant else NOBODY
            run = partial(_round, plan, number, contestant, stage, into)
            yield Part(f"loads, round {number} of {plan.rounds}, {name}", run)
        order.reverse()  # if the machine gets slower or faster, that favours none of them


def _round(plan: Plan, number: int, contestant: Contestant | None, stage: Stage, into: Throughput) -> None:
    if contestant is None:
        for load in plan.loads:
            into.samples.append(Sample(number, NOBODY, load.name, stage.run(load.name, plan.seconds), 0))
        if programs():
            into.spoiled.append(number)
        return
    with watching(contestant, stage) as watch:
        watch.settle()  # so that the first load isn't charged for the start
        for load in plan.loads:
            before = watch.cpu_seconds()
            done = stage.run(load.name, plan.seconds)
            watch.settle()
            into.samples.append(Sample(number, contestant.name, load.name, done, watch.cpu_seconds() - before))
        idle = _idle(watch, plan.idle) if plan.idle else None
        memory = watch.peak_memory()
        alerts = len(watch.all_alerts()) - len(watch.alerts_of(PLANTED))
        ending = watch.finish()
        into.stays.append(Stay(number, contestant.name, idle, memory, alerts, ending))
        ending.check()


def _idle(watch: Watch, seconds: float) -> float:
    """How many cores the contestant uses while nothing runs."""
    watch.settle()
    before, begin = watch.cpu_seconds(), time.monotonic()
    time.sleep(seconds)
    return (watch.cpu_seconds() - before) / (time.monotonic() - begin)
