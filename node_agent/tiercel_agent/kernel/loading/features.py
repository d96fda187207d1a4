"""What programs are loaded as, and what of a kernel they use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum


class ProgramType(IntEnum):
    """BPF_PROG_TYPE_… of the kernel's include/uapi/linux/bpf.h."""

    TRACEPOINT = 5
    RAW_TRACEPOINT = 17
    TRACING = 26
    LSM = 29


@dataclass(frozen=True, slots=True)
class ProgramKind:
    """What the kernel is told of a program: its type, and for a hook how it is attached (BPF_TRACE_FEXIT and so on) and
    the BTF id of the function that it is attached to."""

    type: ProgramType
    attach: int = 0
    function: int = 0


AT_RAW_TRACEPOINT = ProgramKind(ProgramType.RAW_TRACEPOINT)


@dataclass(frozen=True, slots=True)
class Chain:
    """Programs that hand records on by tail calls, and the array that they find each other in. An array holds programs
    of one kind, so that code that serves several kinds is loaded once for each."""

    array: str
    prefix: str
    """What stands before the names of the programs that the chain has apart."""
    copies: tuple[str, ...]
    """The programs of which it has its own."""


CALLS = Chain("families", "", ())
"""Those of system calls."""
EVENTS = Chain("event_families", "event_", ("image", "send"))
"""Those of other tracepoints, where calls have another kind."""
RINGS = Chain(
    "ring_families",
    "ring_",
    ("connection", "admit", "begin", "image", "send", "plain", "paths", "descriptor", "message", "exec_failed"),
)
"""Those at functions of io_uring."""
OF_EVENTS = ("on_exec", "on_exit", "on_fork", "on_rename", "cgroup_made", "cgroup_gone")
RING_CODE = ("ring_begins", "ring_ends", "ring_completes")


@dataclass(frozen=True, slots=True)
class RingPoints:
    """Where programs see the operations of io_uring: at the beginning and the end of functions, by name, or at two
    tracepoints."""

    functions: Mapping[str, tuple[ProgramKind, ProgramKind]] = field(default_factory=dict)
    tracepoints: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Features:
    """What of this kernel the programs use."""

    direct_reads: int | None = None
    """The BTF id of bpf_rdonly_cast, if the programs call it."""
    call_event: int | None = None
    """The number of the trace event at which the programs of calls run; None: they run at the raw tracepoint."""
    hooks: Mapping[str, tuple[ProgramKind, ...]] = field(default_factory=dict)
    """The programs that can be at hooks of the kernel, each with what it can be loaded as, the best first."""
    rings: RingPoints | None = None
    """Where the operations of io_uring are seen; None: they aren't."""

    @property
    def chains(self) -> tuple[Chain, ...]:
        """The chains besides that of calls."""
        apart = (EVENTS,) if self.call_event is not None else ()
        return (*apart, RINGS) if self.rings is not None and self.rings.functions else apart


def part_of(program: str) -> str:
    """What a program belongs to, of which all is left out if the kernel refuses some of it: itself, or ``rings``."""
    return "rings" if program.startswith(RINGS.prefix) else program
