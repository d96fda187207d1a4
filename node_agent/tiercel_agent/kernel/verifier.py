"""What the kernel's verifier had to do for each program: it gives up at a million instructions that it followed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tiercel_agent.kernel.bytecode.compiler import Bytecode
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
    """Of one program: instructions followed and how many it may follow, states of registers and stack that were kept in
    all and at once, and the time that took. 0 is what this kernel doesn't tell.

    ``refused`` is the verifier's last word if it refused the program, "" if not.
    """

    processed: int
    limit: int
    total_states: int
    peak_states: int
    microseconds: int
    refused: str = ""


def verifier_statistics(
    bytecode: Bytecode, sizes: Mapping[str, Size], direct_reads: int | None
) -> dict[str, VerifierStatistics]:
    """The statistics of each program by name, refused ones too; nothing stays loaded.

    The arguments are those of ``load_programs``. Raises CompileError, or Refused for what isn't the verifier's doing.
    """
    found = {}
    for name, (code, log) in verify_programs(bytecode, sizes, direct_reads).items():
        found[name] = parse_statistics(log, refused=bool(code))
    return found


def parse_statistics(log: str, *, refused: bool = False) -> VerifierStatistics:
    """Reads the end of the verifier's log."""
    numbers = {name: int(found[-1]) if (found := re.findall(text, log)) else 0 for name, text in _NUMBERS.items()}
    return VerifierStatistics(**numbers, refused=(last_words(log) or "refused") if refused else "")
