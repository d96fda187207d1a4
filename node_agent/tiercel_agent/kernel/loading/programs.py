"""One set of loaded programs: attached to the kernel, with its maps and its rings."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping

from tiercel_agent.kernel.bytecode.compiler import Bytecode
from tiercel_agent.kernel.loading.libbpf import Map, Refused, Ring, attach_raw_tracepoint, possible_cpus, run_time
from tiercel_agent.kernel.loading.loader import Size, load_programs
from tiercel_agent.kernel.loading.optional_programs import OPTIONAL

# In the order of FAMILY_… in bpf/maps.h, from 1.
_FAMILIES = (
    *("plain", "paths", "descriptor", "message", "exec_failed", "image", "begin", "send", "admit"),
    *("walk_name", "match_names", "connection"),
)
ON_CALLS = "on_return"
"""What runs at every system call. What it hands a call over to by a tail call counts as its own run time."""
_TRACEPOINTS = {
    "sched_process_fork": "on_fork",
    "sched_process_exec": "on_exec",
    "sched_process_exit": "on_exit",
    "task_rename": "on_rename",
    "cgroup_mkdir": "cgroup_made",
    "cgroup_rmdir": "cgroup_gone",
    "sys_exit": "on_return",
}
_MOST_CALLS = 512
_COUNTERS = ("lost calls", "lost processes", "seen calls", "filtered calls")


class ProgramSet:
    """Loaded, but not attached; every plan is empty at first. Raises CompileError or LibbpfError.

    ``sizes`` and ``direct_reads`` are as for ``load_programs``.
    """

    def __init__(
        self,
        bytecode: Bytecode,
        sizes: Mapping[str, Size],
        direct_reads: int | None,
        take_call: Callable[[bytes], None],
        take_process: Callable[[bytes], None],
        take_cgroup: Callable[[bytes], None],
    ) -> None:
        self._cpus = possible_cpus()
        self._links: list[int] = []
        self._rings: list[Ring] = []
        self._closed = False
        self._loaded = load_programs(bytecode, sizes, direct_reads, OPTIONAL)
        self._missing = dict(self._loaded.missing)
        try:
            maps = {name: Map(fd, name) for name, fd in self._loaded.maps.items()}
            self.maps: Mapping[str, Map] = maps
            for index, name in enumerate(_FAMILIES, start=1):
                if name not in self._missing:
                    maps["families"].update(_u32(index), _u32(self._loaded.programs[name]))
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
        """The programs that this kernel refuses, of those that can be done without (kernel/parts.py): those that can't
        be loaded, and once it is attached those whose tracepoint isn't there."""
        return self._missing

    def attach(self) -> None:
        """From now on there are records. Raises LibbpfError."""
        for tracepoint, program in _TRACEPOINTS.items():
            if program in self._missing:
                continue
            try:
                self._links.append(attach_raw_tracepoint(tracepoint, self._loaded.programs[program]))
            except Refused as refused:
                if program not in OPTIONAL or refused.errno != errno.ENOENT:
                    raise
                self._missing[program] = refused

    def set_plans(self, plans: Mapping[int, bytes]) -> None:
        """Which system calls pass, by number, and what each carries."""
        for number, plan in plans.items():
            self.maps["plans"].update(_u32(number), plan)

    def counters(self) -> dict[str, int]:
        """Totals over all CPUs, by name."""
        totals = {}
        for index, name in enumerate(_COUNTERS):
            raw = self.maps["counters"].lookup(_u32(index), 8 * self._cpus)
            totals[name] = sum(int.from_bytes(raw[at : at + 8], "little") for at in range(0, len(raw), 8))
        totals["failed records"] = sum(ring.failed for ring in self._rings)
        return totals

    def run_time(self, program: str) -> tuple[int, int]:
        """Nanoseconds and runs of one of the programs, as ``libbpf.run_time``."""
        return run_time(self._loaded.programs[program])

    def calls_seen(self) -> dict[int, int]:
        """How often each call was made, by number, if the programs were made to count that; i386 calls are left out."""
        seen = {}
        for number in range(_MOST_CALLS):
            raw = self.maps["call_counts"].lookup(_u32(number), 8 * self._cpus)
            seen[number] = sum(int.from_bytes(raw[at : at + 8], "little") for at in range(0, len(raw), 8))
        return seen

    def detach(self) -> None:
        """No more records; those that wait can still be read."""
        while self._links:
            os.close(self._links.pop())

    def close(self) -> None:
        """Detaches, and gives up what waits. Closing twice is allowed."""
        self.detach()
        while self._rings:
            self._rings.pop().close()
        if not self._closed:
            self._closed = True
            self._loaded.close()


def _u32(number: int) -> bytes:
    return number.to_bytes(4, "little")
