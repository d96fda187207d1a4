"""On every kernel: the programs load with room to spare, attacks are alerted, and the live tests pass."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from guest_support.visits import Findings

SKIPPED = "process starts and ends, for which the kernel didn't run our program"
"""How the agent calls what kernels of series 7 don't let it see."""
MOST_INSTRUCTIONS = 300_000
"""The kernel's own limit is a million. Newer compilers and kernels may need more for the same programs."""


def test_every_program_loads(findings: Findings) -> None:
    assert findings.programs, findings.troubles
    refused = {
        (set_, name): figures["refused"]
        for set_, programs in findings.programs.items()
        for name, figures in programs.items()
        if figures["refused"]
    }
    assert not refused


def test_the_verifier_has_room_to_spare(findings: Findings) -> None:
    assert findings.programs, findings.troubles
    too_many = {
        (set_, name): figures["processed"]
        for set_, programs in findings.programs.items()
        for name, figures in programs.items()
        if figures["processed"] > MOST_INSTRUCTIONS
    }
    assert not too_many


def test_attacks_are_alerted_and_nothing_is_lost(findings: Findings) -> None:
    assert findings.staged, findings.troubles
    for name, staged in findings.staged.items():
        assert staged, (name, findings.troubles)
        assert staged["watching"] is not None, (name, staged["said"])
        raised = Counter(staged["raised"])
        alerted = {rule: raised[rule] for rule in staged["expected"]} == dict.fromkeys(staged["expected"], 1)
        (lost,) = re.findall("^Lost: (.*)$", staged["said"], re.MULTILINE)
        assert alerted, (name, raised)
        assert all(SKIPPED in loss for loss in lost.split("), ")) or lost == "none", (name, lost)
        assert staged["status"] == 0, name


def test_live_tests(findings: Findings) -> None:
    live = findings.live
    assert not live.error, live.error
    if live.failed:
        pytest.fail("\n\n".join(f"{name}\n{told}" for name, told in live.failed.items()))
    assert live.passed


def test_evasions(findings: Findings) -> None:
    """Techniques by which programs hide what they do. Skipped are those that the kernel can't see."""
    evading = findings.evading
    assert not evading.error, evading.error
    if evading.failed:
        pytest.fail("\n\n".join(f"{name}\n{told}" for name, told in evading.failed.items()))
    assert evading.passed or not findings.evasions.hooks
