"""`make test-evasions`: the evasions of tests/evasions on real kernels, and docs/evasions.md from what they show.

A full run of `make test-kernels` tries them too, but takes hours.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from guests import KERNELS, GuestError, Kernel, named, run_in_guest
from guests.places import tell

from guest_support.guest_outcomes import Evasions, evasions_of, outcomes_of
from guest_support.kernel_table import write_document
from guest_support.results import keep, read_results
from guest_support.visits import evasions_step, guests_at_once, version


def main(*names: str) -> int:
    """Tries the kernels of these names, or all; 1 if something was missed that should be seen."""
    kernels = KERNELS if list(names) in ([], ["all"]) else named(names)
    with ThreadPoolExecutor(guests_at_once()) as workers:
        missed = sum(workers.map(_try, kernels))
    write_document(read_results())
    return 1 if missed else 0


def _try(kernel: Kernel) -> bool:
    """Whether something was missed."""
    commit = version()
    try:
        step = run_in_guest(kernel, [evasions_step()]).steps[evasions_step().name]
    except GuestError as error:
        tell(f"{kernel.name}: {error}")
        return True
    outcomes, evasions = outcomes_of(step), evasions_of(step)
    for name, told in outcomes.failed.items():
        tell(f"{kernel.name}: {name}\n{told}")
    tell(f"{kernel.name}: {len(outcomes.passed)} passed, {len(outcomes.failed)} failed. {outcomes.error}")
    _keep(kernel, evasions, commit)
    return bool(outcomes.failed or outcomes.error)


def _keep(kernel: Kernel, evasions: Evasions, commit: str) -> None:
    """In the row that a full run has left."""
    for result in read_results():
        if result.kernel == kernel.name and evasions.techniques:
            keep(replace(result, hooks=evasions.hooks, evasions=evasions.techniques, evasions_commit=commit))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
