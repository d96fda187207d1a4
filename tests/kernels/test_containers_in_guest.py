"""The tests of containers in a machine that has version 2 control groups alone, as current distributions do."""

from __future__ import annotations

import pytest
from guest_support.guest_outcomes import outcomes_of
from guests import Visit


def test_containers(containers_visit: Visit) -> None:
    outcomes = outcomes_of(containers_visit.steps["containers"])
    assert not outcomes.error, outcomes.error
    assert outcomes.passed
    print(f"{len(outcomes.passed)} passed, skipped: {dict(outcomes.skipped)}")
    if outcomes.failed:
        pytest.fail("\n\n".join(f"{name}\n{told}" for name, told in outcomes.failed.items()))
