"""What must be known of this machine before programs are compiled for it."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from tiercel_agent.kernel.bytecode.compiler import CompileError
from tiercel_agent.kernel.errors import DetectorError
from tiercel_agent.kernel.loading.features import Features
from tiercel_agent.kernel.loading.libbpf import LibbpfError
from tiercel_agent.kernel.loading.optional_programs import RINGS_UNSEEN
from tiercel_agent.kernel.probes.btf import Btf
from tiercel_agent.kernel.probes.call_event import NEEDED, call_event, needs_call_event
from tiercel_agent.kernel.probes.direct_reads import DirectReads, direct_reads
from tiercel_agent.kernel.probes.hooks import Hooks, hooks
from tiercel_agent.kernel.probes.map_values import largest_value
from tiercel_agent.kernel.probes.offsets import MissingMembers, resolve
from tiercel_agent.kernel.probes.permissions import Facts, allow_locked_memory, blind_spots, read_facts, refusal
from tiercel_agent.kernel.probes.rings import Rings, rings
from tiercel_agent.kernel.refusals import explained
from tiercel_agent.warning import AgentWarning
from tiercel_engine.resources.node_agent import WarningKind


@dataclass(frozen=True, slots=True)
class Machine:
    """``offsets`` are those of probes/offsets.py, ``direct_reads`` says how programs may read the kernel's memory,
    ``call_event`` where programs of calls run (probes/call_event.py), ``largest_value`` how many bytes a value of a map
    may have (probes/map_values.py), ``hooks`` which of the kernel's own hooks programs can be at (probes/hooks.py),
    ``rings`` how operations of io_uring are seen (probes/rings.py), and ``warnings`` name what is missing and not
    indispensable."""

    facts: Facts
    offsets: Mapping[str, int]
    direct_reads: DirectReads | None
    call_event: int | None
    largest_value: int
    hooks: Hooks
    rings: Rings
    warnings: Sequence[AgentWarning]

    @property
    def features(self) -> Features:
        """What the programs use of it."""
        function = self.direct_reads.function if self.direct_reads is not None else None
        return Features(function, self.call_event, self.hooks.programs, self.rings.points)


def probe_machine() -> Machine:
    """What this machine is like. Raises DetectorError if it can't be watched, as far as that is known before
    loading."""
    facts = read_facts()
    if reason := refusal(facts):
        raise DetectorError(reason)
    facts = allow_locked_memory(facts)
    try:
        with closing(Btf()) as btf:
            offsets, costs = resolve(btf, platform.machine())
            warnings = [
                *(AgentWarning(WarningKind.KERNEL_LACKS, detail=cost) for cost in costs),
                *(AgentWarning(WarningKind.CAPABILITY_MISSING, detail=line) for line in blind_spots(facts)),
            ]
            event = call_event(facts.version)
            if event is None and needs_call_event(facts.version):
                warnings.append(AgentWarning(WarningKind.KERNEL_LACKS, detail=NEEDED))
            found = hooks(btf, facts.version)
            seen = rings(btf, calls_at_event=event is not None)
            if seen.reason:
                warnings.append(AgentWarning(WarningKind.KERNEL_LACKS, detail=f"{seen.reason}: {RINGS_UNSEEN}"))
            return Machine(facts, offsets, direct_reads(btf), event, largest_value(), found, seen, warnings)
    except LibbpfError as error:
        raise DetectorError(str(error.strerror)) from error
    except MissingMembers as error:
        raise DetectorError(f"kernel {facts.release} has no {error}: it can't be watched, please report it") from error


def refused(error: CompileError | LibbpfError, machine: Machine) -> DetectorError:
    """The error that says in a sentence what went wrong in compiling or loading."""
    return DetectorError(*explained(error, machine.facts))
