"""The kernel's trace event of a system call's return, for programs that no other task may interrupt.

From Linux 7.0 on, a task may be interrupted while it runs programs at a raw tracepoint. The kernel doesn't start a
program a second time on the same processor, so that calls of other tasks went by unseen there until the first one goes
on. The handlers of trace events forbid that interruption (kernel/trace/bpf_trace.c, include/trace/perf.h), for some
hundred instructions a call. Their numbers stand in tracefs.
"""

from __future__ import annotations

import re
from pathlib import Path

INTERRUPTED_SINCE = (7, 0)
"""The first kernel whose raw tracepoints let other tasks interrupt programs."""

_TRACEFS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_FORMAT = "events/raw_syscalls/sys_exit/format"
_FIELD = re.compile(r"field:long (\w+);\s*offset:(\d+);\s*size:8;")
_LAYOUT = {"id": 8, "ret": 16}
"""Bytes: ``struct call_context`` in bpf/registers.h."""


NEEDED = (
    "no trace event of system calls is found in /sys/kernel/tracing (mount tracefs there): while a task is interrupted "
    "in the midst of a program, other tasks' calls on its processor go unseen, which is counted"
)
"""What a kernel since ``INTERRUPTED_SINCE`` lacks if there is no event."""


def needs_call_event(version: tuple[int, int] | None) -> bool:
    """Whether other tasks may interrupt programs at raw tracepoints of that kernel."""
    return version is not None and version >= INTERRUPTED_SINCE


def call_event(version: tuple[int, int] | None, places: tuple[str, ...] = _TRACEFS) -> int | None:
    """The number of the event at which programs of calls are to run; None if the raw tracepoint is better, or if
    tracefs shows no event of the known layout."""
    if not needs_call_event(version):
        return None
    for place in places:
        try:
            text = Path(place, _FORMAT).read_text("ascii")
        except (OSError, UnicodeDecodeError):
            continue
        number = re.search(r"^ID: (\d+)$", text, re.MULTILINE)
        offsets = {name: int(offset) for name, offset in _FIELD.findall(text)}
        if number is not None and offsets == _LAYOUT:
            return int(number[1])
    return None
