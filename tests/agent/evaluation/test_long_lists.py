"""A long list that many rules name costs as much as one that one rule names: in the operator, and in the agent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from engine_support.rules import event

from tiercel_engine.condition import And, Atom, Or
from tiercel_engine.matching.matcher import Matcher
from tiercel_engine.rules.objects import Resolved, RuleObject, resolve

WITH_SUPPORT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "support")}
# Plans as the operator does, loads the bundle as an agent does, and makes the kernel's tables, within 30 seconds of CPU
# time. Prints how many MiB that took at most.
WHOLE_WAY = """
import pathlib, resource, sys, tempfile
from operator_support.checked import planned
from tiercel_agent.evaluation.rule_set import load_bundle
from tiercel_agent.filter.tables import make_tables
from tiercel_engine.rules.bundle import files_of
from tiercel_operator.rules.plan import Planner
from tiercel_operator.cluster.state import State

resource.setrlimit(resource.RLIMIT_CPU, (30, 30))
condition, count = sys.argv[1], int(sys.argv[2])
rules = [{"list": "short", "items": [f"/opt/program-{n}" for n in range(10_000)]}]
rules.append({"list": "long", "items": ["short"] * 10})
rules += [
    {"rule": f"r{n}", "desc": "d", "condition": condition.format(n=n), "output": "o", "priority": "INFO"}
    for n in range(count)
]
state = State()
metadata = {"namespace": "shop", "name": "many", "uid": "u", "generation": 1}
state.take_rule({"metadata": metadata, "spec": {"rules": rules}}, exists=True)
plan = planned(Planner(), state)
(write,) = plan.statuses
folder = pathlib.Path(tempfile.mkdtemp())
for name, content in files_of(plan.bundle).items():
    (folder / name).write_bytes(content)
loaded = load_bundle(folder)
make_tables(loaded.rules)
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
(valid,) = [each for each in write.status["conditions"] if each["type"] == "Valid"]
print(len(loaded.rules), int(peak.split()[1]) >> 10, valid["message"])
"""


@pytest.mark.parametrize(
    ("condition", "count"),
    [
        ("evt.type = execve and proc.exepath in (long) and proc.pid != {n}", 1990),
        ("evt.type = execve and proc.exepath in (long, x{n})", 1990),
        ("evt.type = execve and (proc.exepath in (long) or proc.exepath = x{n})", 1990),
        ("evt.type = execve and proc.aname[{n}] in (long)", 1000),
        ("evt.type = openat and fd.name pmatch (long, /x/{n})", 1000),
        ("evt.type in (long) and proc.pid != {n}", 1000),
        ("evt.type = connect and fd.sip.name in (long) and proc.pid != {n}", 1000),
    ],
)
def test_a_long_list_costs_once_what_it_costs(condition: str, count: int):
    command = [sys.executable, "-c", WHOLE_WAY, condition, str(count)]
    result = subprocess.run(command, env=WITH_SUPPORT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    loaded, peak, message = result.stdout.strip().split(" ", 2)
    assert (int(loaded), message) == (count, f"{min(count, 1000)} rules")
    assert int(peak) < 256


def of_shop(*rules: str, items: int = 100) -> Resolved:
    """The rules of one SecurityRule, of these conditions, which can name the list ``long``."""
    listed = [{"list": "long", "items": [f"p{n}" for n in range(items)]}]
    written = [
        {"rule": f"r{n}", "desc": "d", "condition": condition, "output": "o", "priority": "INFO"}
        for n, condition in enumerate(rules)
    ]
    return resolve([RuleObject("shop", "one", {"rules": [*listed, *written]})])


def test_all_conditions_share_a_list_and_mean_the_same():
    resolved = of_shop(
        "proc.name in (long)",
        "proc.name in (a, long)",
        "not proc.pname in (long, a)",
        "proc.name startswith anyof (a, long)",
    )
    lists = set()
    for rule in resolved.rules:
        stack = [rule.condition]
        while stack:
            node = stack.pop()
            if isinstance(node, Atom):
                lists.update({id(node.right)} if isinstance(node.right, tuple) and len(node.right) > 16 else ())
            else:
                stack += node.operands if isinstance(node, (And, Or)) else [node.operand]
    assert len(lists) == 1

    def matched(name: str, parent: str) -> list[str]:
        made = event(**{"evt.type": "open", "proc.name": name, "proc.pname": parent, "k8s.ns.name": "shop"})
        return [rule.name for rule, _ in Matcher(resolved.rules).match(made)]

    assert matched("p7", "x") == ["r0", "r1", "r2", "r3"]
    assert matched("a", "a") == ["r1", "r3"]
    assert matched("p77x", "p3") == ["r3"]
    assert matched("b", "b") == ["r2"]


def test_values_of_lists_that_cannot_be_shared_are_bounded():
    """Each of the types must be one of the values, so that all values of a comparison are needed together."""
    resolved = of_shop(*(f"fd.types in (long, x{n})" for n in range(3)), items=90_000)
    (one,) = resolved.objects.values()
    assert [rule.name for rule in one.rules] == ["r0", "r1"]
    assert {(error.item_name, error.message) for error in one.errors} == {
        ("r2", "the conditions have more than 200000 values of lists that can't be shared")
    }


def test_values_that_are_tried_one_after_the_other_are_bounded():
    resolved = of_shop(
        "proc.args contains anyof (long)",
        "proc.args icontains anyof (long)",
        "proc.args startswith anyof (long)",
        "proc.args contains anyof (a, b)",
        items=90_000,
    )
    (one,) = resolved.objects.values()
    assert [rule.name for rule in one.rules] == ["r0", "r2", "r3"]
    assert {error.message for error in one.errors} == {
        "the conditions have more than 100000 values of lists that are tried one after the other"
    }


def test_globs_and_regular_expressions_of_lists_are_bounded():
    resolved = of_shop(
        "fd.name glob anyof (long)",
        "fd.name regex anyof (long)",
        "fd.name iglob anyof (long)",
        "fd.name in (long)",
        items=9_000,
    )
    (one,) = resolved.objects.values()
    assert [rule.name for rule in one.rules] == ["r0", "r1", "r3"]
    assert [error.message for error in one.errors] == [
        "in list long: the conditions have more than 20000 globs and regular expressions together"
    ]
