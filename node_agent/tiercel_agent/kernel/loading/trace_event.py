"""Attaching programs to the kernel's trace events, by perf_event_open (its manual page has the structure)."""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
from struct import Struct

from tiercel_agent.kernel.loading.libbpf import Refused, Thing

_CALL = {"x86_64": 298, "aarch64": 241}
_ATTRIBUTES = Struct("<IIQ48x")  # type, size and config of a struct perf_event_attr of the first version, 64 bytes
_TRACEPOINT = 2  # PERF_TYPE_TRACEPOINT
_EVERY_PROCESS, _NO_GROUP, _CLOSE_ON_EXEC = -1, -1, 8
_SET_BPF, _ENABLE = 0x40042408, 0x2400  # PERF_EVENT_IOC_SET_BPF, PERF_EVENT_IOC_ENABLE


def attach_trace_event(number: int, program_fd: int) -> int:
    """Has a loaded program run at each event of that number, on all processors; closing the returned descriptor
    detaches it. Raises Refused."""
    attributes = _ATTRIBUTES.pack(_TRACEPOINT, _ATTRIBUTES.size, number)
    libc = ctypes.CDLL(None, use_errno=True)
    processor = min(os.sched_getaffinity(0))  # the event belongs to one, and the program to the event
    arguments = (_EVERY_PROCESS, processor, _NO_GROUP, _CLOSE_ON_EXEC)
    opened = int(libc.syscall(_CALL[platform.machine()], attributes, *map(ctypes.c_long, arguments)))
    if opened < 0:
        raise Refused(Thing.TRACE_EVENT, str(number), ctypes.get_errno())
    try:
        fcntl.ioctl(opened, _SET_BPF, program_fd)
        fcntl.ioctl(opened, _ENABLE, 0)
    except OSError as error:
        os.close(opened)
        raise Refused(Thing.TRACE_EVENT, str(number), error.errno or 0) from error
    return opened
