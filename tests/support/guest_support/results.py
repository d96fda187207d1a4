"""What full runs found on each kernel, kept in the repository: kernels are tried one at a time, as time allows, and
docs/kernels.md is made of all that were."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from guests import KERNELS
from guests.places import CHECKOUT

from guest_support.visits import Findings

RESULTS = CHECKOUT / "tests/kernels/results"


@dataclass(frozen=True, slots=True)
class Counts:
    """How many tests ended how."""

    passed: int
    failed: int
    skipped: int


@dataclass(frozen=True, slots=True)
class KernelResult:
    """One kernel's row of the table."""

    kernel: str
    release: str
    commit: str
    processed: Mapping[str, int | None]
    """By program, the most instructions that the verifier processed of it, whatever rules ask for; None: refused."""
    watching: Mapping[str, float | None]
    """By set of rules, seconds until the detector watched; None: it never did."""
    attacks: int
    alerted: int
    live: Counts | None
    """None: the live tests didn't end."""
    hooks: str = ""
    """The kinds of hooks of the kernel that were used, with commas."""
    evasions: Mapping[str, str] = field(default_factory=dict)
    """By technique, whether it was seen (``guest_outcomes.Evasions``); empty if they weren't tried."""
    evasions_commit: str = ""
    """The one with which these were tried."""


def result_of(findings: Findings) -> KernelResult:
    names = list(dict.fromkeys(name for programs in findings.programs.values() for name in programs))
    staged = findings.staged
    expected = [(each["raised"], rule) for each in staged.values() if each for rule in each["expected"]]
    live = findings.live
    return KernelResult(
        kernel=findings.kernel,
        release=findings.release,
        commit=findings.version,
        processed={name: _most(findings, name) for name in names},
        watching={name: each.get("watching") if each else None for name, each in staged.items()},
        attacks=len(expected),
        alerted=sum(rule in raised for raised, rule in expected),
        live=None if live.error else Counts(len(live.passed), len(live.failed), len(live.skipped)),
        hooks=findings.evasions.hooks,
        evasions=findings.evasions.techniques,
        evasions_commit=findings.version if findings.evasions.techniques else "",
    )


def _most(findings: Findings, program: str) -> int | None:
    found = [programs[program] for programs in findings.programs.values() if program in programs]
    return None if any(each["refused"] for each in found) else max(each["processed"] for each in found)


def keep(result: KernelResult, folder: Path = RESULTS) -> None:
    """In place of what this kernel's last run found."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{result.kernel}.json").write_text(json.dumps(asdict(result), indent=1) + "\n")


def read_results(folder: Path = RESULTS) -> Sequence[KernelResult]:
    """In the order of ``guests.KERNELS``; those that no full run has tried are left out."""
    files = [folder / f"{kernel.name}.json" for kernel in KERNELS]
    return [_read(path) for path in files if path.exists()]


def _read(path: Path) -> KernelResult:
    told = json.loads(path.read_text())
    return KernelResult(**{**told, "live": told["live"] and Counts(**told["live"])})
