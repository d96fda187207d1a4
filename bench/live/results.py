"""The results of a run of the bench, as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass

from bench.live.detection import Flood, Hiding, Latency
from bench.live.scaling import Size
from bench.live.throughput import Throughput


@dataclass(frozen=True, slots=True)
class Results:
    """``contestants`` in order, with the version of each; ``load`` is the load average at the start; ``problems``
    ended a part before its time; the figures of the parts in ``missing`` aren't all here."""

    machine: str
    date: str
    settings: str
    contestants: Mapping[str, str]
    load: float
    problems: list[str]
    missing: list[str]
    throughput: Throughput
    latencies: list[Latency]
    hidings: list[Hiding]
    floods: list[Flood]
    sizes: list[Size]

    def as_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"
