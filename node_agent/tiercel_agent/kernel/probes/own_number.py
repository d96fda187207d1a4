"""By which number the kernel's programs know this process.

They count processes as the initial PID namespace does. In another one, as in a container without ``hostPID`` or on a
node that is a container itself, a process has another number there than it knows, and its own may be anybody's.
"""

from __future__ import annotations

import os
from pathlib import Path
from struct import Struct

from tiercel_agent.kernel.loading.loader import result_of

INITIAL = 0xEFFFFFFC
"""The inode of the initial PID namespace (PROC_PID_INIT_INO of the kernel's include/linux/proc_ns.h)."""
_UNKNOWN = 0
"""No process that makes calls has this number."""
_INSTRUCTION = Struct("<BBhi")
_PROGRAM = (
    (0x85, 0x00, 0, 14),  # r0 = bpf_get_current_pid_tgid()
    (0x77, 0x00, 0, 32),  # r0 >>= 32
    (0x95, 0x00, 0, 0),  # return r0
)


def pid_namespace() -> int:
    """The inode of this process's PID namespace."""
    return Path("/proc/self/ns/pid").stat().st_ino


def own_number() -> int:
    """The number of this process in the initial PID namespace; 0 if the kernel doesn't tell, as before Linux 5.10."""
    if pid_namespace() == INITIAL:
        return os.getpid()
    number = result_of(b"".join(_INSTRUCTION.pack(*instruction) for instruction in _PROGRAM))
    return _UNKNOWN if number is None else number
