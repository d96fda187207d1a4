"""Whether a call is aimed at the agent itself: at its process, or at its programs and maps in the kernel.

What counts is the number of a process or of a kernel object, and never a name, which anybody may have.
"""

from __future__ import annotations

import os
from pathlib import Path

from tiercel_agent.events.descriptor import OpenFile
from tiercel_agent.events.own_process import OwnProcess, fdinfo
from tiercel_agent.events.render import signed32
from tiercel_agent.events.syscall_record import SyscallRecord
from tiercel_agent.kernel.probes.own_number import INITIAL
from tiercel_agent.kernel.records import Section

_FIRST_ARGUMENT = frozenset(
    "kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo process_vm_readv process_vm_writev".split()
)
_ALL, _GROUP = -1, 0  # of kill(2)
_LONGEST_NUMBER = 10
_BY_ID = {13: "prog_id", 14: "map_id", 30: "link_id"}
"""Commands of bpf(2) that get hold of what somebody else has loaded, by what /proc calls its number: BPF_PROG_,
BPF_MAP_ and BPF_LINK_GET_FD_BY_ID. Whoever changes a map or a link needs one of these first."""


def is_aimed_at(record: SyscallRecord, own: OwnProcess) -> bool:
    """Whether the call of this record is aimed at the agent."""
    header = record.header
    match record.call.name:
        case "ptrace":
            return _is_own(record, signed32(header.arg1), own)
        case "kill" if signed32(header.arg0) <= 0:
            return _reaches_group(record, signed32(header.arg0), own)
        case name if name in _FIRST_ARGUMENT:
            return _is_own(record, signed32(header.arg0), own)
        case "pidfd_send_signal":
            return _is_own_descriptor(record, own)
        case "bpf":
            kind = _BY_ID.get(header.arg0)
            number = bpf_id(record)
            return kind is not None and number is not None and (kind, number) in own.objects
    return _is_own_file(record, own)


def bpf_id(record: SyscallRecord) -> int | None:
    """The number of the object that a bpf(2) which gets one by its number asks for: the first member of its attr."""
    section = record.sections.get(Section.ADDRESS)
    if record.header.arg0 not in _BY_ID or section is None or len(section[1]) < 4:
        return None
    return int.from_bytes(section[1][:4], "little")


def _own_pid(record: SyscallRecord, own: OwnProcess) -> int:
    """The agent's number as the caller knows it; 0 if it can't see the agent."""
    namespace = record.header.pid_ns
    return own.pid if namespace == own.namespace else own.number if namespace == INITIAL else 0


def _is_own(record: SyscallRecord, number: int, own: OwnProcess) -> bool:
    """Whether a number is that of the agent, or of one of its threads."""
    pid = _own_pid(record, own)
    if not pid or number <= 0:
        return False
    return number == pid or (pid == own.pid and Path("/proc/self/task", str(number)).exists())


def _reaches_group(record: SyscallRecord, target: int, own: OwnProcess) -> bool:
    """Whether a signal to many reaches the agent: to all, to the caller's own group (0), or to another group."""
    if not (pid := _own_pid(record, own)):
        return False
    if target == _ALL:
        return True
    if pid != own.pid:  # the number of the agent's group isn't known there
        return False
    return (record.header.vpgid if target == _GROUP else -target) == os.getpgrp()


def _is_own_descriptor(record: SyscallRecord, own: OwnProcess) -> bool:
    """Whether a descriptor stands for the agent's process: by pidfd_open, or as a folder of /proc."""
    descriptor = record.descriptor
    if isinstance(descriptor, OpenFile) and descriptor.path and descriptor.path.rpartition("/")[2].isdecimal():
        return _is_own(record, int(descriptor.path.rpartition("/")[2]), own)
    told = fdinfo(Path(f"/proc/{record.process.pid}/fdinfo/{signed32(record.header.arg0)}"))
    return told.get("Pid", 0) == own.pid


def _is_own_file(record: SyscallRecord, own: OwnProcess) -> bool:
    """Whether a file is one of those by which the kernel shows the agent's process, wherever they are mounted."""
    names = record.names.fd
    return any(_is_below_own(record, name.split("/"), own) for name in (names.given, names.real) if name)


def _is_below_own(record: SyscallRecord, parts: list[str], own: OwnProcess) -> bool:
    """``…/PID/name`` and ``…/PID/task/TID/name``."""
    folder = parts[-4] if len(parts) > 4 and parts[-3] == "task" else parts[-2] if len(parts) > 2 else ""
    return folder.isdecimal() and len(folder) <= _LONGEST_NUMBER and _is_own(record, int(folder), own)
