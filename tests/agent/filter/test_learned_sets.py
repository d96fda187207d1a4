"""What is learned of one namespace's processes leaves room for what is learned of others."""

from __future__ import annotations

from array import array
from itertools import count

import pytest
from engine_support.evaluation import atom, rule

from tiercel_agent.events.syscalls import SYSCALLS
from tiercel_agent.filter import candidates
from tiercel_agent.filter.candidates import CandidateSets
from tiercel_agent.filter.clauses import make_clauses
from tiercel_agent.filter.decidability import Signal
from tiercel_agent.filter.learner import HOST, CandidateSetStore
from tiercel_agent.filter.tables import candidate_set_words, make_tables
from tiercel_engine.condition import And

BEGIN, SIZE, WORDS = 10, 1010, 2


def store() -> tuple[CandidateSetStore, array[int]]:
    memory = array("Q", bytes(8 * SIZE))
    return CandidateSetStore(memoryview(memory), BEGIN), memory


def test_nobody_fills_the_room_of_others() -> None:
    sets, memory = store()
    different = count(1)

    def fill(owner: str | None) -> int:
        """How many different sets the owner can have learned."""
        for number in count():
            if sets.place((next(different), 0), owner) is None:
                return number
        raise AssertionError

    taken = {owner: fill(owner) for owner in ("hostile", "", "second", "third")}
    assert taken["hostile"] * WORDS <= (SIZE - BEGIN) // 2 // 4
    assert all(taken.values())
    assert fill(HOST) * WORDS == (SIZE - BEGIN) // 2
    assert sets.place((next(different), 0), "fourth") is not None
    assert memory[:BEGIN] == array("Q", bytes(8 * BEGIN))


def test_a_set_that_is_there_costs_nobody_anything() -> None:
    sets, memory = store()
    place = sets.place((7, 8), HOST)
    assert place is not None
    assert list(memory[place : place + 2]) == [7, 8]
    assert {sets.place((7, 8), owner) for owner in ("a", "b", HOST) for _ in range(1000)} == {place}


def test_long_sets_are_not_fewer() -> None:
    """A rule for each kind of calls makes as many partitions, and candidate sets of processes that much longer."""
    rules = [
        rule(And((atom("evt.type", "=", call.name), atom("proc.name", "=", call.name))), name=call.name)
        for call in SYSCALLS
    ]
    tables = make_tables(rules)
    assert tables.process_words > 64
    assert candidate_set_words(tables) - len(tables.candidate_sets) >= 2048 * tables.process_words


def test_what_holds_alike_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes of the same programs have the same sets: a new process of them costs no computing."""
    rules = [rule(atom("proc.name", "=", name), name=name) for name in ("one", "two")]
    clauses = make_clauses(rules)
    partition = clauses.partitions[0]
    sets = CandidateSets(clauses, partition, {Signal.OWN, Signal.PROCESS})
    atoms = sorted(partition.signals)
    first = [sets.of(held) for held in ([], atoms[:1], atoms[1:], atoms)]
    assert len(set(first)) == 4
    monkeypatch.setattr(candidates, "evaluate", None)
    assert [sets.of(held) for held in ([], atoms[:1], atoms[1:], atoms)] == first
