"""The tests of containers in a machine that has version 2 control groups alone, as current distributions do."""

from __future__ import annotations

import pytest
from guest_outcomes import outcomes_of
from guests import Kernel, Unavailable, run_in_guest
from visits import pytest_step


def test_containers(usual_kernel: Kernel, full: bool) -> None:
    if not full:
        pytest.skip("a part of `make test-kernels`")
    try:
        visit = run_in_guest(usual_kernel, [pytest_step("containers", "tests/containers")], memory=4000)
    except Unavailable as error:
        pytest.skip(f"no guests here: {error}")
    outcomes = outcomes_of(visit.steps["containers"])
    assert not outcomes.error, outcomes.error
    assert outcomes.passed
    print(f"{len(outcomes.passed)} passed, skipped: {dict(outcomes.skipped)}")
    if outcomes.failed:
        pytest.fail("\n\n".join(f"{name}\n{told}" for name, told in outcomes.failed.items()))
