"""The programs that watch for one set of rules: loaded, with the filter's tables in their maps."""

from __future__ import annotations

import mmap
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from struct import Struct

from tiercel_agent.detection.partial import families_lost, is_reported, is_silent
from tiercel_agent.events.syscalls import BY_NAME, SYSCALLS, Syscall, captures, known_numbers, needed, plans
from tiercel_agent.filter.clauses import Clauses
from tiercel_agent.filter.learner import CandidateSetStore, Learner, Maps
from tiercel_agent.filter.lost_records import LossCounters
from tiercel_agent.filter.rule_counters import CounterMaps, RuleCounters, counter_sizes
from tiercel_agent.filter.tables import Tables, automaton_size, candidate_set_words
from tiercel_agent.kernel.bytecode.compiler import Bytecode
from tiercel_agent.kernel.loading.libbpf import possible_cpus
from tiercel_agent.kernel.loading.loader import DIRECT_READS, Size
from tiercel_agent.kernel.loading.optional_programs import OPTIONAL
from tiercel_agent.kernel.loading.program_set import ProgramSet
from tiercel_agent.kernel.machine import Machine
from tiercel_agent.kernel.probes.own_number import own_number
from tiercel_agent.kernel.probes.rings import ring_programs
from tiercel_agent.warning import AgentWarning
from tiercel_engine.matching.requirements import Requirements
from tiercel_engine.resources.node_agent import WarningKind
from tiercel_engine.rule import Rule

FLOOD_LIMIT = 100
"""Matches of one rule in one cgroup that are reported one by one in a second, where the kernel decides them; and so
many once more that are unlike those."""

_SETTINGS = Struct("=2IQ")
_CALLS_PAGES = 2048  # 8 MiB
_PROCESSES_PAGES = 512  # 2 MiB: what is in it is read before calls are, and so makes alerts late
_CGROUPS_PAGES = 64  # 256 KiB
_PREEMPTED_SINCE = (6, 13)
"""Kernels in which other tasks' programs may run in the midst of a program: at the latest those of 7, and what made it
possible began with 6.13, where tracepoints of system calls may fault."""
_DATA_BYTES = 256
_CHANGE_TAKES = 1_000_000  # ns: bpf/changes.h

Take = Callable[["Watch", bytes], None]


class Watch:
    """The programs are loaded and know what to watch for, but aren't attached. Raises CompileError or LibbpfError.

    ``take_call``, ``take_process`` and ``take_cgroup`` get the records when the ring buffers are read. Without tables
    nothing is filtered.
    """

    def __init__(
        self,
        bytecode: Bytecode,
        machine: Machine,
        requirements: Requirements,
        rules: Sequence[Rule],
        tables: Tables | None,
        flood_limit: int,
        take_call: Take,
        take_process: Take,
        take_cgroup: Callable[[bytes], None],
    ) -> None:
        self.requirements = requirements
        self.warnings = too_many_rules(tables.clauses) if tables is not None else []
        architecture = platform.machine()
        self.programs = ProgramSet(
            bytecode,
            map_sizes(tables, rules),
            machine.features,
            lambda record: take_call(self, record),
            lambda record: take_process(self, record),
            take_cgroup,
            [*needed(requirements.event_types), *ring_programs(machine.rings, requirements.event_types)],
        )
        lost = families_lost(self.programs.missing)
        seen = [call for call in SYSCALLS if call.name in requirements.event_types and not is_silent(call, lost)]
        asked = [call for call in seen if is_reported(call, lost)]
        self.calls: Mapping[int, Syscall] = {
            number: call for call in asked for number in known_numbers(call, architecture)
        }
        self.types = frozenset(call.name for call in seen)
        maps = self.programs.maps
        counter_maps = CounterMaps(maps["rule_counters"], maps["counter_pools"], maps["pool_of_rule"])
        self.rule_counters = RuleCounters(counter_maps, rules)
        self.losses = LossCounters(maps["losses"], [rule.key for rule in rules])
        self.learner: Learner | None = None
        self._memory: mmap.mmap | None = None
        self._words: memoryview | None = None
        filtered: Mapping[int, tuple[int, ...]] = {}
        if tables is not None:
            self._memory = mmap.mmap(maps["candidate_sets"].fd, candidate_set_words(tables) * 8)
            self._words = memoryview(self._memory).cast("Q")
            self._words[: len(tables.candidate_sets)] = memoryview(tables.candidate_sets)
            maps["automaton"].update(_u32(0), tables.automaton.ljust(automaton_size(tables), b"\0"))
            for clause, rule in enumerate(tables.clause_rules):
                maps["clause_rules"].update(_u32(clause), _u32(rule))
            filtered = tables.plans
            learned = Maps(*(maps[name] for name in Maps._fields))
            self.learner = Learner(learned, tables, CandidateSetStore(self._words, len(tables.candidate_sets)))
        limit = flood_limit or 0xFFFF_FFFF
        maps["settings"].update(_u32(0), _SETTINGS.pack(limit, own_number(), 0))
        self.programs.set_plans(plans(asked, architecture, filtered, captures(self.programs.hooks)))
        for layout in machine.rings.layouts:
            if layout.call in self.types and (number := known_numbers(BY_NAME[layout.call], architecture)):
                maps["ring_operations"].update(_u32(layout.opcode), layout.packed(number[0]))
        self.programs.freeze()

    def attach(self) -> None:
        """Attaches the programs: from now on there are records. Raises LibbpfError."""
        self.programs.attach()
        if self.learner is not None:
            self.learner.with_processes = not any(OPTIONAL[name].learns_processes for name in self.programs.missing)
            self.learner.since = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + _CHANGE_TAKES

    def drain(self) -> None:
        """Reads all records that are there, and not endlessly what comes meanwhile."""
        calls = self.programs.calls.unread()
        for ring in (self.programs.cgroups, self.programs.processes):  # what these tell precedes the calls
            ring.consume(ring.unread())
        self.programs.calls.consume(calls)

    def call_of(self, number: int) -> Syscall | None:
        """The system call with this number; None if no rule asks for it."""
        return self.calls.get(number)

    def close(self) -> None:
        """Closing twice is allowed."""
        self.learner = None
        self.programs.close()
        if self._words is not None:
            self._words.release()
        if self._memory is not None:
            self._memory.close()


def too_many_rules(clauses: Clauses) -> list[AgentWarning]:
    """A warning for each namespace that has more rules than the filter can hold for it."""
    of_system = [AgentWarning(WarningKind.TOO_MANY_RULES, clauses.left_out)] if clauses.left_out else []
    over_budget = clauses.over_budget.items()
    return of_system + [AgentWarning(WarningKind.FILTER_BUDGET_EXCEEDED, rules, name) for name, rules in over_budget]


def map_sizes(tables: Tables | None, rules: Sequence[Rule]) -> dict[str, Size]:
    """The sizes of the maps whose size depends on the rules."""
    sizes = {"candidate_sets": Size(1, 8 * candidate_set_words(tables)), "automaton": Size(1, automaton_size(tables))}
    sizes |= counter_sizes(rules)
    if tables is not None:
        sizes["clause_rules"] = Size(max(1, len(tables.clause_rules)), 4)
    return sizes


def program_macros(
    machine: Machine, requirements: Requirements, tables: Tables | None, *, measuring: bool = False
) -> dict[str, int]:
    """The macros with which the programs are compiled for this machine and for rules.

    Rules that ask for no more than others have the same macros, and share compiled programs with them.
    """
    direct = machine.direct_reads
    return {
        **machine.offsets,
        **({"X86": 1} if platform.machine() == "x86_64" else {}),
        **({"DIRECT_READS": DIRECT_READS, "READABLE_TYPE": direct.type} if direct is not None else {}),
        **({"CALLS_BY_EVENT": 1} if machine.call_event is not None else {}),
        **({"HOOKS": 1} if machine.hooks.programs else {}),
        **({"RINGS": 1, **machine.rings.offsets} if machine.rings.points is not None else {}),
        **rule_macros(requirements),
        **({"WANT_COUNTS": 1} if measuring else {}),
        "CPUS": possible_cpus(),
        "SLOTS": _slots(machine),
        "CALLS_PAGES": _CALLS_PAGES,
        "PROCESSES_PAGES": _PROCESSES_PAGES,
        "CGROUPS_PAGES": _CGROUPS_PAGES,
        "AUTOMATON_SIZE": automaton_size(tables),
        "CANDIDATE_SET_WORDS": candidate_set_words(tables),
    }


def _slots(machine: Machine) -> int:
    """How many events of a CPU may be handled at once: each takes a scratch space of 90 KiB (bpf/scratch.h)."""
    if machine.facts.version is not None and machine.facts.version < _PREEMPTED_SINCE:
        return 1
    return 4 if possible_cpus() <= 32 else 2


def rule_macros(requirements: Requirements) -> dict[str, int]:
    """The macros for what the programs have to report for these rules beyond the usual."""
    fields = requirements.condition_fields | requirements.output_fields
    wanted = {}
    if any(field.startswith(("proc.env", "proc.aenv")) for field in fields):
        wanted["WANT_ENV"] = 1
    if "proc.cwd" in fields:
        wanted["WANT_CWD"] = 1
    if fields & {"evt.buffer", "evt.buflen", "evt.arg.data", "evt.args", "evt.info"}:
        wanted["WANT_DATA"] = _DATA_BYTES
    if "procexit" in requirements.event_types:
        wanted["WANT_EXIT"] = 1
    return wanted


PROCEXIT = BY_NAME["procexit"]


def _u32(number: int) -> bytes:
    return number.to_bytes(4, "little")
