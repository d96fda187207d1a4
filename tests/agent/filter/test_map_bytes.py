"""Some kernels take no large values in maps: what needs more room is left to user space."""

from __future__ import annotations

from dataclasses import replace

from agent_support.kernel_model import Call, Kernel, Process
from engine_support.evaluation import atom, rule

from tiercel_agent.filter.budget import BUDGET
from tiercel_agent.filter.tables import automaton_size, candidate_set_words, make_tables

MOST = 1 << 20
NAMES = [f"/data/{number * 2654435761 % (1 << 32):08x}{number * 40503 % 65521:04x}" for number in range(4000)]
RULES = [rule(atom("fd.name", "=", name), name=name) for name in NAMES[:50]]
LISTED = rule(atom("fd.name", "in", *NAMES), name="listed")


def test_tables_are_no_larger_than_the_kernel_takes() -> None:
    assert automaton_size(make_tables([*RULES, LISTED])) > MOST
    tables = make_tables([*RULES, LISTED], replace(BUDGET, map_bytes=MOST))
    assert automaton_size(tables) <= MOST
    assert 8 * candidate_set_words(tables) <= MOST


def test_no_match_is_stopped_for_that() -> None:
    kernel = Kernel([*RULES, LISTED], replace(BUDGET, map_bytes=MOST))
    for name in NAMES[::100]:
        call = Call("openat", Process(1, {}), 3, text=name, real=name)
        assert kernel.decide(call).facts is not None
