"""The outcomes of tests that ran in a guest, from pytest's own report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from xml.etree import ElementTree

from guests import StepResult
from guests.places import tail

_TOLD_LINES = 25


@dataclass(frozen=True, slots=True)
class Outcomes:
    """By the tests' names."""

    passed: Sequence[str] = field(default_factory=list)
    failed: Mapping[str, str] = field(default_factory=dict)
    """With the end of what was told."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """With the reason."""
    error: str = ""
    """Why there are none."""


def outcomes_of(result: StepResult) -> Outcomes:
    """Reads the report that a step of ``visits.run_tests`` has left."""
    if not result.files:
        return Outcomes(error=f"pytest ended with {result.status}:\n{result.text()}")
    (report,) = result.files.values()
    passed: list[str] = []
    failed: dict[str, str] = {}
    skipped: dict[str, str] = {}
    for case in ElementTree.fromstring(report).iter("testcase"):
        name = f"{(case.get('classname') or '').removeprefix('tests.')}::{case.get('name')}"
        wrong = [child for child in case if child.tag in {"failure", "error"}]
        skip = case.find("skipped")
        if wrong:
            failed[name] = tail("\n".join(child.text or child.get("message") or "" for child in wrong), _TOLD_LINES)
        elif skip is not None:
            skipped[name] = tail(skip.get("message") or "", 1)
        else:
            passed.append(name)
    return Outcomes(passed, failed, skipped)
