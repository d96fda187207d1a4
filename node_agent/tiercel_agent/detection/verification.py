"""What the verifier of this machine's kernel has to do for the programs of a set of rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tiercel_agent.detection.watch import map_sizes, program_macros
from tiercel_agent.filter.budget import BUDGET
from tiercel_agent.filter.tables import make_tables
from tiercel_agent.kernel.bytecode.compiler import CompileError
from tiercel_agent.kernel.bytecode.provider import BytecodeProvider, ProgramSettings
from tiercel_agent.kernel.loading.libbpf import LibbpfError
from tiercel_agent.kernel.machine import probe_machine, refused
from tiercel_agent.kernel.verifier import VerifierStatistics, verifier_statistics
from tiercel_engine.matching.requirements import Requirements
from tiercel_engine.rule import Rule


def statistics_of_rules(
    requirements: Requirements,
    rules: Sequence[Rule] = (),
    programs: ProgramSettings | None = None,
    *,
    with_helpers: bool = False,
    measuring: bool = False,
) -> dict[str, VerifierStatistics]:
    """The verifier's statistics by program; nothing is attached.

    Raises DetectorError as ``open_detector`` does, but not for a program that the verifier refuses: its statistics say
    so.

    With ``with_helpers`` the programs read the kernel's memory by helper calls, as on kernels that have no other way;
    ``measuring`` is as for ``Detector``.
    """
    machine = probe_machine()
    if with_helpers:
        machine = replace(machine, direct_reads=None)
    tables = make_tables(rules, replace(BUDGET, map_bytes=machine.largest_value)) if rules else None
    macros = program_macros(machine, requirements, tables, measuring=measuring)
    try:
        bytecode = BytecodeProvider(programs or ProgramSettings()).get(macros)
        return verifier_statistics(bytecode, map_sizes(tables, rules), machine.features)
    except (CompileError, LibbpfError) as error:
        raise refused(error, machine) from error
