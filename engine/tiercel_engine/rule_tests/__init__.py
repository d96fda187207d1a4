"""Tests of rules, which a SecurityRule manifest has in ``spec.tests``.

    tests:
    - name: a shell is seen
      event: {evt.type: execve, proc.name: bash, container.id: 3f29aa01c8d7}
      expect: [Shell spawned in a container]

An event has only the fields that the test names. ``expect`` lists exactly the rules of the manifest that match the
event; ``[]`` or ``none`` means that no rule matches.
"""

from __future__ import annotations

from tiercel_engine.rule_tests.model import Outcome, RuleTest, RuleTests, Suite
from tiercel_engine.rule_tests.reading import read_tests, tests_of
from tiercel_engine.rule_tests.running import run

__all__ = ["Outcome", "RuleTest", "RuleTests", "Suite", "read_tests", "run", "tests_of"]
