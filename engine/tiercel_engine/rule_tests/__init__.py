"""Tests that stand in a SecurityRule manifest beside its rules: ``spec.tests``.

    tests:
    - name: a shell is seen
      event: {evt.type: execve, proc.name: bash, container.id: 3f29aa01c8d7}
      expect: [Shell spawned in a container]

An event has the fields it names, and no others. ``expect`` are the rules of the manifest that match it: these and no
others; ``[]`` or ``none`` is that none does.
"""

from __future__ import annotations

from tiercel_engine.rule_tests.model import Outcome, RuleTest, RuleTests, Suite
from tiercel_engine.rule_tests.reading import read_tests, tests_of
from tiercel_engine.rule_tests.running import run

__all__ = ["Outcome", "RuleTest", "RuleTests", "Suite", "read_tests", "run", "tests_of"]
