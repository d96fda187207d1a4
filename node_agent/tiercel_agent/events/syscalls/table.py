"""All system calls. Of those that nothing is said of here, the result is told, and no argument."""

from __future__ import annotations

from tiercel_agent.events.syscalls import files, network, processes, system
from tiercel_agent.events.syscalls.model import Syscall, plain
from tiercel_engine.system_calls import SYSTEM_CALLS

_DESCRIBED = (*files.CALLS, *network.CALLS, *processes.CALLS, *system.CALLS)

SYSCALLS: tuple[Syscall, ...] = (
    *_DESCRIBED,
    *map(plain, sorted(SYSTEM_CALLS.keys() - {call.name for call in _DESCRIBED})),
)

BY_NAME: dict[str, Syscall] = {call.name: call for call in SYSCALLS}
