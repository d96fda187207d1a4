"""The kernel's half of the filter in user space: bpf/automaton.h and bpf/decide.h as they are, and a model of
bpf/filter.h around them."""

from __future__ import annotations

import ctypes
import errno
import shutil
import subprocess
from array import array
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from struct import Struct
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tiercel_agent.events.syscalls import BY_NAME, native_numbers
from tiercel_agent.filter.budget import BUDGET, FilterBudget
from tiercel_agent.filter.learner import CandidateSetStore, Learner, Maps
from tiercel_agent.filter.tables import EXACT, RULE, Tables, automaton_size, candidate_set_words, make_tables
from tiercel_engine.rule import Rule

MACHINE = "x86_64"
_SHIM = """
#include "automaton.h"
#include "clean.h"
#include "decide.h"
u32 cleaned(u8 *name, u32 length) { struct cleaning cleaning; return clean_text(&cleaning, name, name, length); }
void look_at_name(const u8 *table, const u8 *name, u32 length, struct accepts *accepts)
{ *accepts = accepts_of(table, name, length); }
u32 is_possible(const u64 *table, struct signal_sets *sets, u32 words) { return any_candidate(table, sets, words); }
u32 is_possible_yet(const u64 *table, struct signal_sets *sets, u32 words)
{ return any_candidate_yet(table, sets, words); }
void candidates_of(const u64 *table, struct signal_sets *sets, u32 first, u32 words, struct candidates *candidates)
{ find_candidates(table, sets, first, words, candidates); }
"""
_KNOWN_PROCESS, _KNOWN_CALL, _KNOWN_NAME = 1, 2, 4
_KIND_UNKNOWN = 0xFF
_KEY = Struct("=Ii4I")
_FACTS = Struct("=24s2I3Q")


class Accepts(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("begun", "floating", "unclean")]


class Signals(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint32)
        for name in "process call given given_floating real real_floating raw raw_floating connection".split()
    ]


class Candidates(ctypes.Structure):
    _fields_ = [
        ("count", ctypes.c_uint32),
        ("clause", ctypes.c_uint32 * 8),
        ("filled", ctypes.c_uint32),
        ("clause_of_word", ctypes.c_uint32 * 8),
        ("word", ctypes.c_uint64 * 8),
    ]


@cache
def compiled(table: int, words: int) -> ctypes.CDLL:
    """The decision as a library, for tables of these sizes."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to compile bpf/decide.h for user space with")
    with TemporaryDirectory() as folder:
        source, library = Path(folder, "decide.c"), Path(folder, "decide.so")
        source.write_text(_SHIM)
        include = str(files("tiercel_agent").joinpath("bpf"))
        sizes = [f"-DAUTOMATON_SIZE={table}", f"-DCANDIDATE_SET_WORDS={words}"]
        command = [
            compiler,
            "-O2",
            "-Wall",
            "-Wno-unknown-pragmas",
            "-Werror",
            "-shared",
            "-fPIC",
            f"-I{include}",
            "-include",
            f"{include}/include/linux/kconfig.h",
            *sizes,
        ]
        subprocess.run([*command, "-o", str(library), str(source)], check=True)
        return ctypes.CDLL(str(library))


class Table(dict[bytes, bytes]):
    """A map of the kernel's."""

    def update(self, key: bytes, value: bytes) -> None:  # type: ignore[override]
        self[key] = value


@dataclass(frozen=True)
class Process:
    pid: int
    fields: dict[str, Any]


@dataclass(frozen=True)
class Call:
    """One call: ``text`` is the path passed, ``real`` that of the file opened, ``rest`` what no signal decides."""

    name: str
    process: Process
    result: int
    numbers: tuple[int, int] = (0, 0)
    folder: str = "/"
    text: str = "/a"
    real: str = "/a"
    kind: int = 8
    rest: dict[str, Any] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        return self.name == "openat"


@dataclass(frozen=True)
class Decision:
    """``facts``: the filter's section of the record; None if the call is stopped. ``certain``: positions of rules that
    the kernel takes for matched, which it may count instead of reporting."""

    facts: bytes | None
    certain: frozenset[int] = frozenset()


class Kernel:
    """The maps, and the decision about a call as next_program() of bpf/filter.h makes it."""

    def __init__(self, rules: list[Rule], budget: FilterBudget = BUDGET) -> None:
        self.tables: Tables = make_tables(rules, budget)
        self.maps = Maps(*(Table() for _ in Maps._fields))  # type: ignore[arg-type]
        self._sets = array("Q", bytes(8 * candidate_set_words(self.tables)))
        self._sets[: len(self.tables.candidate_sets)] = self.tables.candidate_sets
        self._automaton = self.tables.automaton.ljust(automaton_size(self.tables), b"\0")
        self._library = compiled(automaton_size(self.tables), candidate_set_words(self.tables))
        self._address = (ctypes.c_uint64 * len(self._sets)).from_buffer(self._sets)
        self.learner = Learner(
            self.maps, self.tables, CandidateSetStore(memoryview(self._sets), len(self.tables.candidate_sets))
        )

    def decide(self, call: Call) -> Decision:
        number = native_numbers(BY_NAME[call.name], MACHINE)[0]
        plan = self.tables.plans.get(number)
        if plan is None:  # no rule can match the call: nobody asks for it
            return Decision(None)
        signals = Signals(*[plan.all_clauses] * 9)
        known = 0
        entry = self.maps.process_classes.get(call.process.pid.to_bytes(4, "little"))  # type: ignore[attr-defined]
        if entry:
            start, cred, cgroup, _, process_set, _own, confirmed, _ = Struct("=4Q4I").unpack(entry)
            if confirmed and (start, cred, cgroup) == (call.process.pid, 7, 1):
                signals.process, known = process_set + plan.first, known | _KNOWN_PROCESS
        kind = call.kind if call.is_open and call.result >= 0 else 0
        key = _KEY.pack(number, min(call.result, 16), *call.numbers, 0, kind)
        call_set = self.maps.call_sets.get(key)  # type: ignore[attr-defined]
        if call_set:
            signals.call, known = int.from_bytes(call_set, "little"), known | _KNOWN_CALL
        if self._library.is_possible_yet(self._address, ctypes.byref(signals), plan.words):
            if plan.names and kind != _KIND_UNKNOWN:
                known |= self._read_names(call, plan, signals)
            if self._library.is_possible(self._address, ctypes.byref(signals), plan.words):
                facts = _FACTS.pack(key, known, 0, call.process.pid, 7, 0 if known & _KNOWN_PROCESS else 1)
                return Decision(facts, self._certain(plan, signals, known))
        return Decision(None)

    def _read_names(self, call: Call, plan: Any, signals: Signals) -> int:
        given = call.text if call.text.startswith("/") else f"{call.folder.rstrip('/')}/{call.text}"
        if call.result in (-errno.EACCES, -errno.EPERM):
            return 0
        of_given = self._accepts(given)
        if of_given.unclean:
            of_given = self._accepts(self.cleaned(given))
        of_real = self._accepts(call.real) if call.result >= 0 else of_given
        if plan.raw_names:
            passed = self._accepts(call.text)
            signals.raw = plan.raw_names + passed.begun * plan.words
            signals.raw_floating = plan.raw_floating + passed.floating * plan.words
        signals.given = plan.names + of_given.begun * plan.words
        signals.given_floating = plan.floating + of_given.floating * plan.words
        signals.real = plan.names + of_real.begun * plan.words
        signals.real_floating = plan.floating + of_real.floating * plan.words
        known = of_given.begun and of_given.floating and of_real.begun and of_real.floating
        return _KNOWN_NAME if known else 0

    def cleaned(self, name: str) -> str:
        """What the kernel makes of a name of at most 511 bytes."""
        text = ctypes.create_string_buffer(name.encode("utf-8", "surrogateescape"), 512)
        length = self._library.cleaned(text, len(name.encode("utf-8", "surrogateescape")))
        return text.raw[:length].decode("utf-8", "surrogateescape")

    def _accepts(self, name: str) -> Accepts:
        raw = name.encode("utf-8", "surrogateescape")
        accepts = Accepts()
        self._library.look_at_name(self._automaton, raw + bytes(16), len(raw), ctypes.byref(accepts))
        return accepts

    def _certain(self, plan: Any, signals: Signals, known: int) -> frozenset[int]:
        candidates = Candidates()
        arguments = (self._address, ctypes.byref(signals), plan.first * 64, plan.words, ctypes.byref(candidates))
        self._library.candidates_of(*arguments)
        if candidates.count > 4:
            return frozenset()
        rules = [self.tables.clause_rules[clause] for clause in candidates.clause[: candidates.count]]
        return frozenset((rule & RULE) - 1 for rule in rules if rule & EXACT and not rule >> 24 & 15 & ~known)
