"""How much the kernel's verifier processes for each program: it refuses one with more than a million instructions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tiercel_agent.kernel.bytecode.compiler import Bytecode
from tiercel_agent.kernel.loading.features import Features
from tiercel_agent.kernel.loading.loader import Size, verify_programs
from tiercel_agent.kernel.refusals import last_words

_NUMBERS = {
    "processed": r"processed (\d+) insns",
    "limit": r"\(limit (\d+)\)",
    "total_states": r"total_states (\d+)",
    "peak_states": r"peak_states (\d+)",
    "microseconds": r"verification time (\d+) usec",
}


@dataclass(frozen=True, slots=True)
class VerifierStatistics:
    """Of one program: the instructions that were processed and their limit, the states of registers and stack that were
    kept in all and at the same time, and how long that took. 0 is what this kernel doesn't report.

    ``refused`` is the verifier's reason if it refused the program, else "".
    """

    processed: int
    limit: int
    total_states: int
    peak_states: int
    microseconds: int
    refused: str = ""


def verifier_statistics(
    bytecode: Bytecode, sizes: Mapping[str, Size], features: Features
) -> dict[str, VerifierStatistics]:
    """The statistics of each program by name, also of refused ones. Nothing stays loaded.

    The arguments are those of ``load_programs``. Raises CompileError, or Refused if it isn't the verifier that refuses.
    """
    statistics = {}
    for name, (code, log) in verify_programs(bytecode, sizes, features).items():
        statistics[name] = parse_statistics(log, refused=bool(code))
    return statistics


def parse_statistics(log: str, *, refused: bool = False) -> VerifierStatistics:
    """Reads the end of the verifier's log."""
    numbers = {name: int(matches[-1]) if (matches := re.findall(text, log)) else 0 for name, text in _NUMBERS.items()}
    return VerifierStatistics(**numbers, refused=(last_words(log) or "refused") if refused else "")
