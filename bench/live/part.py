"""A part of the bench: what fails in one, or is not reached, takes nothing of the others with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Part:
    """``run`` measures and puts each figure at once where the results are; it raises BenchError if it can't go on."""

    name: str
    run: Callable[[], object]
