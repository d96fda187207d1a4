"""What is done in the guest of each kernel, and what of it is kept."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guests import GuestError, Kernel, Step, StepResult, Visit, run_in_guest
from guests.places import CHECKOUT, GIT, run, tell

from guest_support.guest_outcomes import Evasions, Outcomes, evasions_of, outcomes_of

SMOKE_FILES = (
    "tests/live/events/test_files.py",
    "tests/live/events/test_sockets.py",
    "tests/live/events/test_processes.py",
)
"""Where the live tests of a run that isn't full are: files, sockets and processes."""
SMOKE_LEAVES_OUT = (
    # another test of the same family shows as much
    "tests/live/events/test_files.py::test_what_an_open_asks_for[2-0-True-True-False-False]",
    "tests/live/events/test_files.py::test_what_an_open_asks_for[1-457-False-True-False-False]",
    "tests/live/events/test_files.py::test_a_failed_open[creat]",
    "tests/live/events/test_files.py::test_a_failed_open[openat]",
    "tests/live/events/test_sockets.py::test_connection[accept-IPv6]",
    "tests/live/events/test_sockets.py::test_connection[accept4-IPv4]",
    "tests/live/events/test_sockets.py::test_bind_and_listen[IPv6]",
    "tests/live/events/test_sockets.py::test_refused_connection[IPv6]",
    "tests/live/events/test_sockets.py::test_reverse_shell",
    "tests/live/events/test_processes.py::test_failed_exec[/etc-EACCES]",
    "tests/live/events/test_processes.py::test_memfd_by_its_path",
    "tests/live/events/test_processes.py::test_long_command_line[3000 words]",
    "tests/live/events/test_processes.py::test_long_command_line_of_a_failed_exec",
    # hundreds of processes and threads, which take an emulated processor long
    "tests/live/events/test_processes.py::test_processes_that_end_at_once",
    "tests/live/events/test_processes.py::test_threads_that_end_together_end_one_process",
)
"""What of these files only a full run has."""
_MEMORY = 3 << 30  # bytes that a guest may take
_PROGRAMS = "tests/kernels/guest_programs"
_STOCK = CHECKOUT.parent / "shared/falco-rules"
_STOCK_FILES = ("falco_rules", "falco-incubating_rules", "falco-sandbox_rules")
_THOUSAND = "/run/thousand.yaml"
_SETTINGS = "TIERCEL_TEST_DEADLINE=900 TIERCEL_TEST_PATIENCE=20 TIERCEL_TEST_RELOADS=3 PYTEST_DISABLE_PLUGIN_AUTOLOAD=1"
_VERIFIER, _LIVE, _EVASIONS = "the verifier", "live tests", "evasions"


@dataclass(frozen=True, slots=True)
class Findings:
    """What the guest of a kernel showed. The tests assert on it."""

    kernel: str
    release: str
    version: str
    """Of the project: the last commit."""
    programs: Mapping[str, Mapping[str, Mapping[str, Any]]]
    """By set of programs, by program: see guest_programs/verifier.py."""
    staged: Mapping[str, Mapping[str, Any]]
    """By set of rules: see guest_programs/staged.py."""
    live: Outcomes
    evasions: Evasions
    evading: Outcomes
    """Of tests/evasions."""
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
        run_tests(_LIVE, ["tests/live"] if full else SMOKE_FILES, 5400, () if full else SMOKE_LEAVES_OUT),
        evasions_step(),
    ]
    commit = version()
    tell(f"{kernel.name}: booting")
    why = ""
    try:
        visit = run_in_guest(kernel, steps)
    except GuestError as error:
        visit, why = error.visit, str(error)
    tell(f"{kernel.name}: done after {visit.seconds:.0f} s")
    return _findings(kernel, commit, visit, why)


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


def run_tests(name: str, which: Sequence[str], deadline: float, without: Sequence[str] = ()) -> Step:
    """Tests of this checkout in the guest, but not those in ``without``; ``outcomes_of`` reads what became of them.

    Plugins of other packages, which take an emulated processor seconds to import, are left out.
    """
    left_out = [word for test in without for word in ("--deselect", test)]
    pytest = [".venv/bin/pytest", "-p", "no:cacheprovider", "--durations=15", "--junitxml=/run/tests.xml"]
    return Step(name, f"{_SETTINGS} {shlex.join([*pytest, *left_out, *which])}", deadline, ["/run/tests.xml"])


def evasions_step() -> Step:
    return run_tests(_EVASIONS, ["tests/evasions"], 1800)


def _findings(kernel: Kernel, commit: str, visit: Visit, why: str) -> Findings:
    staged = {}
    for name, result in visit.steps.items():
        if name.startswith("rules: "):
            staged[name.removeprefix("rules: ")] = _told(result)
    live, evading = visit.steps.get(_LIVE), visit.steps.get(_EVASIONS)
    others = {name: result for name, result in visit.steps.items() if name not in (_LIVE, _EVASIONS)}
    troubles = [f"{name}: {result.text()}" for name, result in others.items() if result.status]
    return Findings(
        kernel=kernel.name,
        release=visit.release,
        version=commit,
        programs=_told(visit.steps.get(_VERIFIER)),
        staged=staged,
        live=outcomes_of(live) if live is not None else Outcomes(error=why or "they didn't run"),
        evasions=evasions_of(evading) if evading is not None else Evasions(),
        evading=outcomes_of(evading) if evading is not None else Outcomes(error=why or "they didn't run"),
        seconds=visit.seconds,
        troubles=[*troubles, *([why] if why else [])],
    )


def _told(result: StepResult | None) -> Any:
    """What a program of guest_programs found, which it writes to the only file that is wanted of it."""
    files = list(result.files.values()) if result is not None else []
    return json.loads(files[0]) if files else {}


def version() -> str:
    """The last commit of this checkout."""
    return run([*GIT, "rev-parse", "--short", "HEAD"]).strip()
