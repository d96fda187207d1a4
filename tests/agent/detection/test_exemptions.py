"""A process that isn't watched is told from a later one of the same number, and from one of another namespace."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from tiercel_agent.context.procfs import TICK
from tiercel_agent.detection.exemptions import Exemptions
from tiercel_agent.kernel.bytecode.compiler import Child, start_of
from tiercel_agent.kernel.probes.own_number import pid_namespace

HERE = pid_namespace()
COMPILER = Child(77, 5000)


def covers(exemptions: Exemptions, pid: int, start: int, namespace: int = HERE) -> bool:
    header, process = SimpleNamespace(vpid=pid, pid_ns=namespace), SimpleNamespace(start=start * TICK + 1)
    return exemptions.covers(header, process)  # type: ignore[arg-type]


@pytest.fixture
def exemptions() -> Exemptions:
    made = Exemptions()
    made.begin_compiler(COMPILER)
    return made


def test_the_agent_and_its_compilers_are_not_watched(exemptions):
    exemptions.begin_compiler(Child(78, 6000))
    assert covers(exemptions, os.getpid(), start_of("self"))
    assert covers(exemptions, 77, 5000)
    assert covers(exemptions, 78, 6000)
    assert not covers(exemptions, 79, 5000)


def test_an_exemption_ends_with_its_process(exemptions):
    assert not covers(exemptions, 77, 5001)
    assert not covers(exemptions, os.getpid(), start_of("self") + 1)


def test_a_number_of_another_namespace_is_another_process(exemptions):
    assert not covers(exemptions, 77, 5000, HERE + 1)
    assert not covers(exemptions, os.getpid(), start_of("self"), HERE + 1)


def test_no_number_of_compilers_makes_the_agent_watched(exemptions):
    for number in range(1000, 1100):
        exemptions.begin_compiler(Child(number, 7000))
    assert covers(exemptions, os.getpid(), start_of("self"))
    assert covers(exemptions, 1099, 7000)


def test_no_number_of_compilers_makes_the_process_of_look_ups_watched(exemptions):
    exemptions.begin_lookups(Child(80, 6000))
    for number in range(1000, 1100):
        exemptions.begin_compiler(Child(number, 7000))
    assert covers(exemptions, 80, 6000)


def test_while_a_compiler_is_expected_a_child_of_the_agent_may_be_it(exemptions):
    with exemptions.expecting_compiler():
        assert exemptions.expected
        exemptions.begin_compiler(Child(78, 6000))
        assert not exemptions.expected, "now it is known which child it is"
    with exemptions.expecting_compiler():
        pass
    assert not exemptions.expected, "none was needed"
    assert exemptions.is_child(SimpleNamespace(start=start_of("self") * TICK + 1))
    assert not exemptions.is_child(SimpleNamespace(start=(start_of("self") + 1) * TICK))
