"""One set of loaded programs: attached to the kernel, with its maps and its rings."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Mapping

from tiercel_agent.kernel.bytecode.compiler import Bytecode
from tiercel_agent.kernel.bytecode.hook_points import HOOK_POINTS
from tiercel_agent.kernel.loading.features import Features
from tiercel_agent.kernel.loading.hooks import attach_hook
from tiercel_agent.kernel.loading.libbpf import (
    Map,
    ProgramStatistics,
    Refused,
    Ring,
    attach_raw_tracepoint,
    possible_cpus,
    program_statistics,
)
from tiercel_agent.kernel.loading.loader import Size, load_programs
from tiercel_agent.kernel.loading.optional_programs import OPTIONAL
from tiercel_agent.kernel.loading.trace_event import attach_trace_event

# In the order of FAMILY_… in bpf/maps.h, from 1.
_FAMILIES = (
    *("plain", "paths", "descriptor", "message", "exec_failed", "image", "begin", "send", "admit"),
    *("walk_name", "match_names", "connection", "clean_name"),
)
ON_CALLS = "on_return"
"""The program that runs at every system call. The kernel counts its tail calls as its own run time."""
_TRACEPOINTS = {
    "sched_process_fork": "on_fork",
    "sched_process_exec": "on_exec",
    "sched_process_exit": "on_exit",
    "task_rename": "on_rename",
    "cgroup_mkdir": "cgroup_made",
    "cgroup_rmdir": "cgroup_gone",
    "sys_exit": ON_CALLS,
}
_WRITTEN_ONCE = ("families", "plans", "settings", "automaton", "clause_rules", "pool_of_rule", "ring_operations")
_MOST_CALLS = 512
_COUNTERS = ("lost calls", "lost processes", "seen calls", "filtered calls")


class ProgramSet:
    """Programs that are loaded and not attached yet. Every plan is empty at first.

    ``sizes`` and ``features`` are as for ``load_programs``. ``take_call``, ``take_process`` and ``take_cgroup`` are
    called with each record of their rings. ``wanted`` are the programs at functions and hooks of the kernel that are
    needed. Raises CompileError or LibbpfError.
    """

    def __init__(
        self,
        bytecode: Bytecode,
        sizes: Mapping[str, Size],
        features: Features,
        take_call: Callable[[bytes], None],
        take_process: Callable[[bytes], None],
        take_cgroup: Callable[[bytes], None],
        wanted: Collection[str] = (),
    ) -> None:
        self._cpus = possible_cpus()
        self._links: list[int] = []
        self._rings: list[Ring] = []
        self._closed = False
        self._loaded = load_programs(bytecode, sizes, features, OPTIONAL, wanted)
        self._features = features
        self._missing = dict(self._loaded.missing)
        try:
            maps = {name: Map(fd, name) for name, fd in self._loaded.maps.items()}
            self.maps: Mapping[str, Map] = maps
            for index, name in enumerate(_FAMILIES, start=1):
                if name not in self._missing:
                    maps["families"].update(_u32(index), _u32(self._loaded.programs[name]))
                for chain in features.chains:
                    if (copy := self._loaded.programs.get(chain.prefix + name)) is not None:
                        maps[chain.array].update(_u32(index), _u32(copy))
            self.processes = Ring(maps["processes"].fd, take_process)
            self._rings.append(self.processes)
            self.cgroups = Ring(maps["cgroups"].fd, take_cgroup)
            self._rings.append(self.cgroups)
            self.calls = Ring(maps["calls"].fd, take_call)
            self._rings.append(self.calls)
        except OSError:
            self.close()
            raise

    @property
    def missing(self) -> Mapping[str, Refused]:
        """The optional programs (loading/optional_programs.py) that this kernel refuses: those that it doesn't load,
        and, once the set is attached, those whose tracepoint it lacks."""
        return self._missing

    @property
    def hooks(self) -> frozenset[str]:
        """The programs at hooks of the kernel that are loaded and, once the set is attached, attached."""
        return frozenset(HOOK_POINTS) & self._loaded.programs.keys() - self._missing.keys()

    def attach(self) -> None:
        """Attaches the programs: from now on there are records. Raises LibbpfError."""
        for program in sorted(self.hooks):
            try:
                self._links.append(attach_hook(HOOK_POINTS[program], self._loaded.programs[program]))
            except Refused as refused:
                self._missing[program] = refused
        self._attach_rings()
        for tracepoint, program in _TRACEPOINTS.items():
            if program in self._missing:
                continue
            try:
                self._links.append(self._attached(tracepoint, program))
            except Refused as refused:
                if program not in OPTIONAL or refused.errno != errno.ENOENT:
                    raise
                self._missing[program] = refused

    def _attach_rings(self) -> None:
        """At the ends first: an operation whose beginning wasn't seen isn't reported."""
        rings = self._features.rings
        if rings is None or "rings" in self._missing:
            return
        programs = self._loaded.programs
        try:
            if rings.tracepoints is not None:
                submission, completion = rings.tracepoints
                self._links.append(attach_raw_tracepoint(completion, programs["ring_completes"]))
                self._links.append(attach_raw_tracepoint(submission, programs["ring_begins"]))
                return
            for name in sorted((name for name in programs if ":" in name), reverse=True):
                self._links.append(attach_hook(name, programs[name]))
        except Refused as refused:
            self._missing["rings"] = refused

    def _attached(self, tracepoint: str, program: str) -> int:
        if program == ON_CALLS and self._features.call_event is not None:
            return attach_trace_event(self._features.call_event, self._loaded.programs[program])
        return attach_raw_tracepoint(tracepoint, self._loaded.programs[program])

    def set_plans(self, plans: Mapping[int, bytes]) -> None:
        """Sets which system calls are recorded, by their numbers, and what each record has (``struct plan``)."""
        for number, plan in plans.items():
            self.maps["plans"].update(_u32(number), plan)

    def freeze(self) -> None:
        """Ends all writing to the maps that say what is watched: not even root can switch it off there. Raises
        LibbpfError."""
        for name in (*_WRITTEN_ONCE, *(chain.array for chain in self._features.chains)):
            self.maps[name].freeze()

    def request_image(self, pid: int) -> None:
        """Has the kernel report what the process of that pid executes, before the next record of it."""
        self.maps["undelivered"].update(_u32(pid), bytes(8))

    def counters(self) -> dict[str, int]:
        """The counters by name, each the total of all CPUs."""
        totals = {}
        for index, name in enumerate(_COUNTERS):
            raw = self.maps["counters"].lookup(_u32(index), 8 * self._cpus)
            totals[name] = sum(int.from_bytes(raw[at : at + 8], "little") for at in range(0, len(raw), 8))
        totals["failed records"] = sum(ring.unreadable.count for ring in self._rings)
        totals["skipped calls"] = self.statistics(ON_CALLS).skipped
        others = [name for name in _TRACEPOINTS.values() if name != ON_CALLS and name not in self._missing]
        totals["skipped processes"] = sum(self.statistics(name).skipped for name in others)
        return totals

    def statistics(self, program: str) -> ProgramStatistics:
        """What the kernel has counted of one of the programs. Its tail calls count as its own run time."""
        return program_statistics(self._loaded.programs[program])

    def calls_seen(self) -> dict[int, int]:
        """How often each call was made, by its number, if the programs were compiled to count that; without i386
        calls."""
        counts = {}
        for number in range(_MOST_CALLS):
            raw = self.maps["call_counts"].lookup(_u32(number), 8 * self._cpus)
            counts[number] = sum(int.from_bytes(raw[at : at + 8], "little") for at in range(0, len(raw), 8))
        return counts

    def detach(self) -> None:
        """Detaches the programs. There are no more records, but those in the rings can still be read."""
        while self._links:
            os.close(self._links.pop())

    def close(self) -> None:
        """Detaches the programs, and drops what is still in the rings. Closing twice is allowed."""
        self.detach()
        while self._rings:
            self._rings.pop().close()
        if not self._closed:
            self._closed = True
            self._loaded.close()


def _u32(number: int) -> bytes:
    return number.to_bytes(4, "little")
