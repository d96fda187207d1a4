"""What the kernel's filter is given with the rules: the automaton of names, rows, and where each call finds its own.

The layouts are those of bpf/automaton.h, bpf/decide.h and struct plan of bpf/maps.h.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tiercel_agent.filter.automaton import UNKNOWN, Automaton, Pattern, build
from tiercel_agent.filter.candidates import Possible, words
from tiercel_agent.filter.clauses import Clause, Clauses, Space, cut
from tiercel_agent.filter.decidability import Look
from tiercel_agent.filter.name_tests import UNCLEAN
from tiercel_engine.rule import Rule

UNCLASSIFIED = 0xFFFFFF
EXACT = 0x80000000  # both: bpf/rate_limit.h
RULE = 0xFFFFFF
_KNOWN = {Look.OWN: 1, Look.PROCESS: 1, Look.CALL: 2, Look.NAME: 4, Look.FLOATING_NAME: 4, Look.CONNECTION: 8}
_MOST_STATES = 40_000
_SMALLEST_TABLE = 1 << 20  # bytes
_LEARNED = 1 << 16  # words
_FLOATING_STATES = 6_000
"""Of the automaton for names that contain or end with something, beyond what its literals need at least."""
_START = 1028
_SETTLED = 1
_UNCLEAN = 1 << 31  # all: bpf/automaton.h


class Filtered(NamedTuple):
    """The part of a plan that the filter reads: words of rows, the row of ones, and the first of the rows by accept
    number, look by look; 0 if nobody asks for names."""

    first: int
    words: int
    everything: int
    names: int
    floating: int
    raw_names: int
    raw_floating: int


_LOOKS = (Look.NAME, Look.FLOATING_NAME, Look.RAW_NAME, Look.RAW_FLOATING_NAME)


@dataclass(frozen=True, slots=True)
class Tables:
    clauses: Clauses
    automaton: bytes
    rows: array[int]
    """64-bit words; index 0 is nobody's row."""
    plans: Mapping[int, Filtered]
    """By the call's number on this machine."""
    clause_rules: Sequence[int]
    """For each clause (64 times the word, and the bit), the rule's position + 1, with EXACT and what that needs."""
    firsts: Mapping[Space, int]
    """The word where each space begins in the row of a process."""

    @property
    def process_words(self) -> int:
        return len(self.clause_rules) // 64


def make_tables(rules: Sequence[Rule]) -> Tables:
    """The tables for these rules."""
    clauses = cut(rules)
    begun = _Names.of(clauses, floating=False)
    floating = _Names.of(clauses, floating=True)
    rows = array("Q", [0])
    plans: dict[int, Filtered] = {}
    clause_rules: list[int] = []
    firsts: dict[Space, int] = {}
    for space in clauses.spaces:
        first = firsts[space] = len(clause_rules) // 64
        everything = len(rows)
        rows.extend(words((1 << len(space.clauses)) - 1, space.words))
        names = [0] * len(_LOOKS)
        if space.asks_for_names:
            for index, look in enumerate(_LOOKS if space.asks_for_raw_names else _LOOKS[:2]):
                names[index] = len(rows)
                which = floating if look in (Look.FLOATING_NAME, Look.RAW_FLOATING_NAME) else begun
                _add_rows(rows, clauses, space, look, which)
        clause_rules += [*map(_entry, space.clauses), *[0] * (-len(space.clauses) % 64)]
        plans.update(dict.fromkeys(space.numbers(), Filtered(first, space.words, everything, *names)))
    return Tables(clauses, _encoded(begun, floating), rows, plans, clause_rules, firsts)


@dataclass(frozen=True, slots=True)
class _Names:
    """An automaton of names. ``held``: the atoms that may hold, by accept number, or None where that isn't known;
    ``accepts``: the accept number of each state, with ``_UNCLEAN``."""

    automaton: Automaton
    held: Sequence[Sequence[int] | None]
    accepts: Sequence[int]

    @classmethod
    def of(cls, clauses: Clauses, *, floating: bool) -> _Names:
        patterns: dict[Pattern, int] = {}
        if floating:
            patterns.update((pattern, number) for number, pattern in enumerate(UNCLEAN))
        atoms_of: dict[int, list[int]] = {}
        for atom, test in clauses.name_tests.items():
            if test.floats is floating:
                for pattern in test.patterns:
                    atoms_of.setdefault(patterns.setdefault(pattern, len(patterns)), []).append(atom)
        most = _MOST_STATES
        if floating:
            length = sum(len(part) for pattern in patterns for part in pattern.elements if isinstance(part, bytes))
            most = min(most, _FLOATING_STATES + 2 * length)
        automaton = build(tuple(patterns), most_states=most)
        marks = [
            _UNCLEAN if floating and accepted is not None and not accepted.isdisjoint(range(len(UNCLEAN))) else 0
            for accepted in automaton.accept_sets
        ]
        held = [
            None if accepted is None else [atom for pattern in accepted for atom in atoms_of.get(pattern, ())]
            for accepted in automaton.accept_sets
        ]
        return cls(automaton, held, [number | marks[number] for number in automaton.accepts])


def _add_rows(rows: array[int], clauses: Clauses, space: Space, look: Look, names: _Names) -> None:
    """Appends a row for each accept number."""
    possible = Possible(clauses, space, {look})
    everything = (1 << len(space.clauses)) - 1
    for atoms in names.held:
        rows.extend(words(everything if atoms is None else possible.row(atoms), space.words))


def _entry(clause: Clause) -> int:
    """What clause_rules says of a clause."""
    rule = clause.rule + 1 if clause.rule >= 0 else UNCLASSIFIED
    if not clause.exact:
        return rule
    return rule | EXACT | sum({_KNOWN[look] for look in clause.looks}) << 24


def _encoded(begun: _Names, floating: _Names) -> bytes:
    """The two automata as bpf/automaton.h reads them."""
    columns = array("H")
    for of_begun, of_floating in zip(begun.automaton.classes, floating.automaton.classes, strict=True):
        columns.extend((4 + 4 * of_begun, 4 + 4 * of_floating))
    second = _START + begun.automaton.states * 4 * (begun.automaton.columns + 1)
    header = columns.tobytes() + array("I", [second]).tobytes()
    return header + _states(begun, _START) + _states(floating, second)


def _states(names: _Names, begin: int) -> bytes:
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


def table_size(tables: Tables | None) -> int:
    """The size of the map for the automaton in bytes: a power of two."""
    return _power_of_two(_SMALLEST_TABLE, len(tables.automaton) if tables is not None else 0)


def row_words(tables: Tables | None) -> int:
    """The size of the map for rows, learned ones too, in words: a power of two."""
    return _power_of_two(2 * _LEARNED, len(tables.rows) + _LEARNED if tables is not None else 0)


def _power_of_two(least: int, needed: int) -> int:
    return max(least, 1 << (needed - 1).bit_length()) if needed else least


assert UNKNOWN == 0  # bpf/filter.c
