"""What is done in the guest of each kernel, and what of it is kept."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from guests import GuestError, Kernel, Step, StepResult, Visit, run_in_guest
from guests.places import CHECKOUT, GIT, run, tell

from guest_support.guest_outcomes import Outcomes, outcomes_of

RESULTS = CHECKOUT / "build/kernels"
"""One file a kernel; docs/kernels.md is made of them."""
_SMOKE_TESTS = "tests/live/test_files.py tests/live/test_sockets.py tests/live/test_processes.py"
_MEMORY = 3 << 30  # bytes that a guest may take
_PROGRAMS = "tests/kernels/guest_programs"
_STOCK = CHECKOUT.parent / "shared/falco-rules"
_STOCK_FILES = ("falco_rules", "falco-incubating_rules", "falco-sandbox_rules")
_THOUSAND = "/run/thousand.yaml"
_VERIFIER, _LIVE = "the verifier", "live tests"


@dataclass(frozen=True, slots=True)
class Findings:
    """What the guest of a kernel showed. The tests assert on it, and the table is made of it."""

    kernel: str
    release: str
    version: str
    """Of the project: the last commit."""
    programs: Mapping[str, Mapping[str, Mapping[str, Any]]]
    """By set of programs, by program: see guest_programs/verifier.py."""
    staged: Mapping[str, Mapping[str, Any]]
    """By set of rules: see guest_programs/staged.py."""
    live: Outcomes
    seconds: float
    troubles: Sequence[str] = field(default_factory=list)
    """Steps that didn't do what they should, and the end of what they said."""


def guests_at_once() -> int:
    """As many as this machine has processors and memory for."""
    told = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    available = int(told["MemAvailable"].split()[0]) << 10
    return max(1, min(len(os.sched_getaffinity(0)), available // _MEMORY))


def visit_kernel(kernel: Kernel, *, full: bool) -> Findings:
    steps = [
        _verifier_step(full),
        *_staged_steps(full),
        run_tests(_LIVE, "tests/live" if full else _SMOKE_TESTS, 5400),
    ]
    tell(f"{kernel.name}: booting")
    why = ""
    try:
        visit = run_in_guest(kernel, steps)
    except GuestError as error:
        visit, why = error.visit, str(error)
    tell(f"{kernel.name}: done after {visit.seconds:.0f} s")
    found = _findings(kernel, visit, why)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{kernel.name}.json").write_text(json.dumps(asdict(found), indent=1))
    return found


def _verifier_step(full: bool) -> Step:
    sets = "usual everything helpers" if full else "usual"
    return Step(
        _VERIFIER, f".venv/bin/python {_PROGRAMS}/verifier.py /run/verifier.json {sets}", 900, ["/run/verifier.json"]
    )


def _staged_steps(full: bool) -> list[Step]:
    """Detection with the rules that come with the agent, with a thousand more beside them, and with Falco's."""
    sets = {"default": ("ours", "config/rules")}
    generate = ""
    if full:
        generate = f".venv/bin/python -c 'from bench.live.rulesets import rule_set; print(rule_set(1000))' >{_THOUSAND}"
        sets["1,000 more"] = ("ours", f"config/rules {_THOUSAND}")
        if _STOCK.is_dir():
            sets["Falco's"] = ("falco", " ".join(f"/root/shared/falco-rules/{name}.yaml" for name in _STOCK_FILES))
    return [
        Step(
            f"rules: {name}",
            f"{generate}\n.venv/bin/python {_PROGRAMS}/staged.py /run/staged.json {attacks} {rules}",
            900,
            ["/run/staged.json"],
        )
        for name, (attacks, rules) in sets.items()
    ]


def run_tests(name: str, which: str, deadline: float) -> Step:
    """Tests of this checkout in the guest; ``outcomes_of`` reads what became of them."""
    pytest = ".venv/bin/pytest -p no:cacheprovider --durations=15 --junitxml=/run/tests.xml"
    return Step(name, f"TIERCEL_TEST_DEADLINE=900 {pytest} {which}", deadline, ["/run/tests.xml"])


def _findings(kernel: Kernel, visit: Visit, why: str) -> Findings:
    staged = {}
    for name, result in visit.steps.items():
        if name.startswith("rules: "):
            staged[name.removeprefix("rules: ")] = _told(result)
    live = visit.steps.get(_LIVE)
    troubles = [f"{name}: {result.text()}" for name, result in visit.steps.items() if result.status and name != _LIVE]
    return Findings(
        kernel=kernel.name,
        release=visit.release,
        version=_version(),
        programs=_told(visit.steps.get(_VERIFIER)),
        staged=staged,
        live=outcomes_of(live) if live is not None else Outcomes(error=why or "they didn't run"),
        seconds=visit.seconds,
        troubles=[*troubles, *([why] if why else [])],
    )


def _told(result: StepResult | None) -> Any:
    """What a program of guest_programs found, which it writes to the only file that is wanted of it."""
    files = list(result.files.values()) if result is not None else []
    return json.loads(files[0]) if files else {}


def read_results() -> Sequence[Mapping[str, Any]]:
    """What guests found of this commit of the project, in this run or an earlier one."""
    found = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    return [result for result in found if result["version"] == _version()]


def _version() -> str:
    return run([*GIT, "rev-parse", "--short", "HEAD"]).strip()
