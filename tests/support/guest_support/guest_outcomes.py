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


@dataclass(frozen=True, slots=True)
class Evasions:
    """What the tests of tests/evasions showed on a kernel."""

    hooks: str = ""
    """The kinds of hooks of the kernel that were used, with commas."""
    techniques: Mapping[str, str] = field(default_factory=dict)
    """``seen``, ``missed`` though it should be seen, or ``no`` if the kernel lacks what it takes; by technique."""


def evasions_of(result: StepResult) -> Evasions:
    """Reads the same report for the properties that tests/evasions/conftest.py notes."""
    hooks = ""
    found: dict[str, set[str]] = {}
    for report in result.files.values():
        for case in ElementTree.fromstring(report).iter("testcase"):
            noted = {each.get("name"): each.get("value") or "" for each in case.iter("property")}
            hooks = noted.get("hooks", hooks)
            how = "no" if case.find("skipped") is not None else "seen"
            if case.find("failure") is not None or case.find("error") is not None:
                how = "missed"
            if (technique := noted.get("technique")) is not None:
                found.setdefault(technique, set()).add(how)
    # A technique that comes in several forms is seen if all are.
    worst = ("missed", "no", "seen")
    return Evasions(hooks, {name: min(forms, key=worst.index) for name, forms in found.items()})


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
