"""What a call that opens a file asks for."""

from __future__ import annotations

from struct import unpack_from

from tiercel_agent.events.kernel_record import KernelRecord
from tiercel_agent.kernel.records import Section

OPENS = frozenset({"open", "openat", "openat2", "creat", "open_by_handle_at"})
CREAT_FLAGS = 0o1101
"""O_CREAT | O_WRONLY | O_TRUNC, what creat(2) stands for"""
_O_TMPFILE = 0o20200000


def open_flags(record: KernelRecord) -> int | None:
    """The flags of a call of the open family; None for other calls."""
    header = record.header
    match record.call.name:
        case "open":
            return header.arg1
        case "openat" | "open_by_handle_at":
            return header.arg2
        case "openat2":
            return open_how(record, 0)
        case "creat":
            return CREAT_FLAGS
    return None


def open_how(record: KernelRecord, index: int) -> int:
    """A member of openat2's ``struct open_how``: flags, mode or resolve."""
    section = record.sections.get(Section.OPEN_HOW)
    return int(unpack_from("=3Q", section[1])[index]) if section and len(section[1]) >= 24 else 0


def creation_mode(record: KernelRecord) -> int:
    """The permissions that a new file gets; 0 for other calls."""
    header = record.header
    match record.call.name:
        case "open":
            return header.arg2
        case "openat":
            return header.arg3
        case "openat2":
            return open_how(record, 1)
        case "creat":
            return header.arg1
    return 0


def makes_nameless(record: KernelRecord) -> bool:
    """Whether the call has made a file without a name in a folder, which is what it names (O_TMPFILE)."""
    flags = open_flags(record)
    return flags is not None and flags & _O_TMPFILE == _O_TMPFILE and record.header.result >= 0
