"""What one piece of work may take, which the process that does it lays upon itself before it reads anything."""

from __future__ import annotations

import resource
import signal
from dataclasses import dataclass
from pathlib import Path

from tiercel_engine.units import MEBIBYTE

_STATM = Path("/proc/self/statm")  # its first number is the pages of the address space


@dataclass(frozen=True, slots=True)
class Limits:
    """``processor`` is seconds of a processor, ``time`` seconds that pass, both at least 1. ``memory`` is bytes beyond
    what a process has at its start."""

    processor: int
    time: int
    memory: int

    def __str__(self) -> str:
        memory = f"{self.memory // MEBIBYTE} MiB of memory"
        return f"{self.processor} s of a processor, {self.time} s in all, or {memory}"

    def apply(self) -> None:
        """Holds this process to the limits. The kernel ends it when it exceeds one of time: no handler can keep it from
        that. Beyond the one of memory it gets a MemoryError."""
        for number in (signal.SIGALRM, signal.SIGXCPU):
            signal.signal(number, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, self.time)
        size = int(_STATM.read_text().split()[0]) * resource.getpagesize() + self.memory
        for kind, most in (
            (resource.RLIMIT_CPU, self.processor),
            (resource.RLIMIT_AS, size),
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_FSIZE, 0),
        ):
            resource.setrlimit(kind, (most, most))
