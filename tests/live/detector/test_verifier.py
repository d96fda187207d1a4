"""The verifier's statistics of each program, and that no program comes near the limit here."""

from __future__ import annotations

from dataclasses import replace

import pytest
from live_support.filter_rules import rules_of

from tiercel_agent.detection.verification import statistics_of_rules
from tiercel_agent.kernel.bytecode.compiler import PROGRAMS
from tiercel_agent.kernel.bytecode.hook_points import HOOK_POINTS
from tiercel_agent.kernel.bytecode.provider import BytecodeProvider, ProgramSettings
from tiercel_agent.kernel.loading.features import EVENTS, RINGS
from tiercel_agent.kernel.verifier import VerifierStatistics, parse_statistics
from tiercel_engine.matching.requirements import Requirements

RULES = rules_of({"file": "evt.type = openat and fd.name startswith /tc-verifier"})
ENOUGH = 300_000
"""Instructions that the verifier examines. Older kernels examine more, up to a million."""


def test_statistics_as_a_kernel_prints_them():
    log = (
        "verification time 1520 usec\nstack depth 96\n"
        "processed 21220 insns (limit 1000000) max_states_per_insn 4 total_states 812 peak_states 409 mark_read 11"
    )
    assert parse_statistics(log) == VerifierStatistics(21220, 1_000_000, 812, 409, 1520)
    refused = parse_statistics("BPF program is too large. Processed 1000001 insn\n" + log, refused=True)
    assert (refused.processed, refused.refused) == (21220, "BPF program is too large. Processed 1000001 insn")
    assert parse_statistics("", refused=True).refused == "refused"


@pytest.mark.parametrize("with_helpers", [False, True])
def test_each_program_is_far_from_the_limit(opened_detectors, tmp_path, with_helpers: bool):
    statistics_by_name = statistics_of_rules(
        Requirements.of(RULES), RULES, ProgramSettings(tmp_path / "state/programs"), with_helpers=with_helpers
    )
    copies = {chain.prefix + name for chain in (EVENTS, RINGS) for name in chain.copies}
    others = {name for name in statistics_by_name if name.startswith(("ring_begins", "ring_ends", "ring_completes"))}
    assert statistics_by_name.keys() - copies - others - HOOK_POINTS.keys() == set(PROGRAMS)
    for name, statistics in statistics_by_name.items():
        assert not statistics.refused, name
        assert 0 < statistics.processed < ENOUGH, name
        assert statistics.limit == 1_000_000


def test_a_program_that_is_refused_is_told_with_the_others(opened_detectors, monkeypatch):
    whole = BytecodeProvider.get
    bad = {"send": bytes((0x95, 0, 0, 0, 0, 0, 0, 0))}

    def get(self, macros):
        bytecode = whole(self, macros)
        return replace(bytecode, programs={**bytecode.programs, **bad})

    monkeypatch.setattr(BytecodeProvider, "get", get)
    statistics_by_name = statistics_of_rules(Requirements.of(RULES), RULES)
    refused = [name for name, statistics in statistics_by_name.items() if statistics.refused]
    assert [name for name in refused if not name.endswith("_send")] == ["send"]
    assert statistics_by_name["send"].refused == "R0 !read_ok"
