"""What the kernel's filter is given together with the rules: the automaton of names, candidate sets, and where the sets
of each call are.

The layouts are those of bpf/automaton.h, bpf/decide.h and struct plan of bpf/maps.h.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from tiercel_agent.filter.automaton import UNKNOWN
from tiercel_agent.filter.budget import BUDGET, FilterBudget
from tiercel_agent.filter.candidates import CandidateSets, to_words
from tiercel_agent.filter.clauses import Clauses, Partition, make_clauses
from tiercel_agent.filter.cutter import Clause
from tiercel_agent.filter.decidability import Signal
from tiercel_agent.filter.name_automata import Names, name_automata
from tiercel_engine.rule import Rule

_FEWEST_STATES = 64
UNCLASSIFIED = 0xFFFFFF
EXACT = 0x80000000
OF_SYSTEM = 0x10000000  # all three: bpf/maps.h
RULE = 0xFFFFFF
_KNOWN = {
    Signal.OWN: 1,
    Signal.PROCESS: 1,
    Signal.CALL: 2,
    Signal.NAME: 4,
    Signal.FLOATING_NAME: 4,
    Signal.CONNECTION: 8,
}
_SMALLEST_TABLE = 1 << 20  # bytes
_LEARNED = 1 << 16  # words of candidate sets, at least
_MOST_LEARNED = 1 << 22
_PROCESS_SETS = 2048
"""So many candidate sets of processes can be learned, unless rules have too many partitions and clauses."""
_START = 1028
_SETTLED = 1  # both: bpf/automaton.h


class FilterPlan(NamedTuple):
    """The part of a call's plan that the filter reads.

    ``first`` is the first word of the call's partition in a process's candidate set, and ``words`` are the words that a
    set of the partition has. The others are places in ``Tables.candidate_sets``: of the set of all clauses, and for
    each signal on names, of the first of the sets that follow each other by accept number (0 if no clause tests names).
    """

    first: int
    words: int
    all_clauses: int
    names: int
    floating: int
    raw_names: int
    raw_floating: int


_NAME_SIGNALS = (Signal.NAME, Signal.FLOATING_NAME, Signal.RAW_NAME, Signal.RAW_FLOATING_NAME)


@dataclass(frozen=True, slots=True)
class Tables:
    """All that the kernel needs to filter by one set of rules."""

    clauses: Clauses
    automaton: bytes
    candidate_sets: array[int]
    """Words of 64 bits. No set begins at index 0."""
    plans: Mapping[int, FilterPlan]
    """By the number that the call has on this machine."""
    clause_rules: Sequence[int]
    """By clause (64 times the word, plus the bit): the rule's position + 1, OF_SYSTEM for a rule of the system, and
    for an exact clause EXACT and the signals that must be known, as ``KNOWN_…`` of bpf/records.h, shifted by 24
    bits."""
    first_words: Mapping[Partition, int]
    """The word at which each partition begins in the candidate set of a process."""

    @property
    def process_words(self) -> int:
        """The words of a process's candidate set, which spans all partitions."""
        return len(self.clause_rules) // 64


def make_tables(rules: Sequence[Rule], budget: FilterBudget = BUDGET) -> Tables:
    """The tables for these rules, in the order that rules are numbered in."""
    while True:
        tables = _made(rules, budget)
        size = max(automaton_size(tables), 8 * candidate_set_words(tables))
        if size <= budget.map_bytes or budget.states < _FEWEST_STATES:
            return tables
        budget = replace(budget, states=budget.states * budget.map_bytes // size * 9 // 10)


def _made(rules: Sequence[Rule], budget: FilterBudget) -> Tables:
    clauses, begun, floating = name_automata(make_clauses(rules, budget=budget), rules, budget)
    candidate_sets = array("Q", [0])
    plans: dict[int, FilterPlan] = {}
    clause_rules: list[int] = []
    first_words: dict[Partition, int] = {}
    for partition in clauses.partitions:
        first = first_words[partition] = len(clause_rules) // 64
        all_clauses = len(candidate_sets)
        candidate_sets.extend(to_words((1 << len(partition.clauses)) - 1, partition.words))
        names = [0] * len(_NAME_SIGNALS)
        if partition.asks_for_names:
            for index, signal in enumerate(_NAME_SIGNALS if partition.asks_for_raw_names else _NAME_SIGNALS[:2]):
                names[index] = len(candidate_sets)
                which = floating if signal in (Signal.FLOATING_NAME, Signal.RAW_FLOATING_NAME) else begun
                _add_sets(candidate_sets, clauses, partition, signal, which)
        entries = [_entry(clause) for clause in partition.clauses]
        entries[: partition.of_system] = [entry | OF_SYSTEM for entry in entries[: partition.of_system]]
        clause_rules += [*entries, *[0] * (-len(entries) % 64)]
        plans.update(dict.fromkeys(partition.numbers(), FilterPlan(first, partition.words, all_clauses, *names)))
    return Tables(clauses, _encoded(begun, floating), candidate_sets, plans, clause_rules, first_words)


def _add_sets(candidate_sets: array[int], clauses: Clauses, partition: Partition, signal: Signal, names: Names) -> None:
    """Appends the candidate set of each accept number."""
    sets = CandidateSets(clauses, partition, {signal})
    all_clauses = (1 << len(partition.clauses)) - 1
    for atoms in names.held:
        candidate_sets.extend(to_words(all_clauses if atoms is None else sets.of(atoms), partition.words))


def _entry(clause: Clause) -> int:
    """The clause's entry in ``Tables.clause_rules``."""
    rule = clause.rule + 1 if clause.rule >= 0 else UNCLASSIFIED
    if not clause.exact:
        return rule
    return rule | EXACT | sum({_KNOWN[signal] for signal in clause.signals}) << 24


def _encoded(begun: Names, floating: Names) -> bytes:
    """The two automata as bpf/automaton.h reads them."""
    columns = array("H")
    for of_begun, of_floating in zip(begun.automaton.classes, floating.automaton.classes, strict=True):
        columns.extend((4 + 4 * of_begun, 4 + 4 * of_floating))
    second = _START + begun.automaton.states * 4 * (begun.automaton.columns + 1)
    header = columns.tobytes() + array("I", [second]).tobytes()
    return header + _states(begun, _START) + _states(floating, second)


def _states(names: Names, begin: int) -> bytes:
    automaton = names.automaton
    width = automaton.columns + 1
    places = [
        begin + state * 4 * width + (_SETTLED if settled else 0) for state, settled in enumerate(automaton.settled)
    ]
    following = array("I", map(places.__getitem__, automaton.transitions))
    table = array("I", bytes(4 * automaton.states * width))
    table[0::width] = array("I", names.accepts)
    for column in range(automaton.columns):
        table[column + 1 :: width] = following[column :: automaton.columns]
    return table.tobytes()


def automaton_size(tables: Tables | None) -> int:
    """The size in bytes of the map for the automaton: a power of two."""
    return _power_of_two(_SMALLEST_TABLE, len(tables.automaton) if tables is not None else 0)


def candidate_set_words(tables: Tables | None) -> int:
    """The size in words of the map for candidate sets, those that will be learned included: a power of two."""
    return _power_of_two(2 * _LEARNED, len(tables.candidate_sets) + _to_be_learned(tables) if tables is not None else 0)


def _to_be_learned(tables: Tables) -> int:
    """How many words are kept for what will be learned. Rules that make sets longer don't make them fewer."""
    return min(_MOST_LEARNED, max(_LEARNED, _PROCESS_SETS * tables.process_words))


def _power_of_two(least: int, needed: int) -> int:
    return max(least, 1 << (needed - 1).bit_length()) if needed else least


assert UNKNOWN == 0  # bpf/names.h
