"""Whether alerts come, and how soon: at rest, beside processes that try to hide others, and in a flood of matches."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from bench.live.contestants import Contestant, watching
from bench.live.loads import Done
from bench.live.part import Part
from bench.live.stage import PLANTED, SINGLE, Stage
from bench.live.watch import Ending, Watch

LATENCY_OPENS, LATENCY_GAP = 200, 12
"""Opens that are timed, and milliseconds between two."""

HIDDEN_READS, HIDDEN_GAP = 100, 10
"""Reads among attackers, and milliseconds between two."""

ATTACKS = (
    (0, "open", "nobody"),
    (1, "open", "one process, one file"),
    (2, "open", "two processes, one file"),
    (1, "names", "one process, another name each time"),
    (2, "names", "two processes, another name each time"),
)
"""Attackers that open without a pause: how many, their load, and in words."""

PATIENCE = 5
"""Seconds that alerts are waited for after the last planted event."""


@dataclass(frozen=True, slots=True)
class Latency:
    """``seconds`` from right before an open to when its alert could be read, for each that came, of ``opens``."""

    contestant: str
    opens: int
    seconds: Sequence[float]


@dataclass(frozen=True, slots=True)
class Hiding:
    """``seen`` alerts of ``reads`` beside an attack."""

    contestant: str
    attack: str
    reads: int
    seen: int
    ending: Ending


@dataclass(frozen=True, slots=True)
class Flood:
    """The opens of ``done`` match, and raised ``alerts``; meanwhile there were ``singles`` planted events of another
    rule, of which some were alerted: each so many ``seconds`` after it. ``memory`` bytes at the peak."""

    contestant: str
    done: Done
    alerts: int
    singles: int
    seconds: Sequence[float]
    memory: int
    ending: Ending


def latency(contestant: Contestant, stage: Stage, into: list[Latency]) -> None:
    with watching(contestant, stage) as watch:
        watch.settle()
        opened = stage.plant(LATENCY_OPENS, LATENCY_GAP, "planted/")
        delays = _delays(watch, stage, PLANTED, "planted", opened)
    into.append(Latency(contestant.name, LATENCY_OPENS, delays))


def hiding(contestant: Contestant, stage: Stage, into: list[Hiding]) -> Iterator[Part]:
    for count, load, attack in ATTACKS:
        run = partial(_hide, contestant, stage, count, load, attack, into)
        yield Part(f"hiding behind {attack}, {contestant.name}", run)


def _hide(contestant: Contestant, stage: Stage, count: int, load: str, attack: str, into: list[Hiding]) -> None:
    with watching(contestant, stage) as watch:
        already = len(watch.alerts_of(PLANTED))
        with ExitStack() as attackers:
            for _ in range(count):
                attackers.enter_context(stage.in_background(load, 60))
            time.sleep(0.5)
            stage.plant(HIDDEN_READS, HIDDEN_GAP, "planted/file")
        _wait_for(watch, already + HIDDEN_READS)
        ending = watch.finish()
        seen = len(watch.alerts_of(PLANTED)) - already
    into.append(Hiding(contestant.name, attack, HIDDEN_READS, seen, ending))
    ending.check()


def _wait_for(watch: Watch, planted: int) -> None:
    """Waits until there are that many alerts about planted files, or the time is over."""
    watch.alerts.wait_for(lambda: len(watch.alerts_of(PLANTED)) >= planted, PATIENCE)


def flood(contestant: Contestant, stage: Stage, seconds: int, into: list[Flood]) -> None:
    with watching(contestant, stage) as watch, stage.in_background("open-paced", seconds, "flood") as process:
        time.sleep(0.5)  # a planted event in the middle of each second
        opened = stage.plant(seconds, 1000, "single/")
        done = stage.finish("open-paced", process)
        watch.settle()
        delays = _delays(watch, stage, SINGLE, "single", opened)
        memory = watch.peak_memory()
        ending = watch.finish()
        into.append(Flood(contestant.name, done, watch.alerts.left_out, seconds, delays, memory, ending))
        ending.check()


def _delays(watch: Watch, stage: Stage, rule: str, folder: str, opened: Sequence[int]) -> list[float]:
    """Seconds from each numbered open to its alert."""
    files = {f"{stage.folder}/{folder}/{number}": moment for number, moment in enumerate(opened)}

    def alerted() -> dict[str, int]:
        return {alert.file: alert.moment for alert in watch.alerts_of(rule) if alert.file in files}

    watch.alerts.wait_for(lambda: len(alerted()) == len(files), PATIENCE)
    return [(moment - files[file]) / 1e9 for file, moment in alerted().items()]
