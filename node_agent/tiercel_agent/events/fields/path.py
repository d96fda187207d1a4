"""``fs.path.*`` and ``evt.abspath``: the files that a call acts on by name."""

from __future__ import annotations

from collections.abc import Callable

from tiercel_agent.events.names import in_order
from tiercel_agent.events.syscall_record import SyscallRecord
from tiercel_engine.event import Value

FIELDS: dict[str, Callable[[SyscallRecord], Value | None]] = {
    "fs.path.name": lambda record: record.names.path.given,
    "fs.path.nameraw": lambda record: record.names.path.raw,
    "fs.path.realname": lambda record: record.names.path.real,
    "fs.path.source": lambda record: record.names.source.given,
    "fs.path.sourceraw": lambda record: record.names.source.raw,
    "fs.path.realsource": lambda record: record.names.source.real,
    "fs.path.target": lambda record: record.names.target.given,
    "fs.path.targetraw": lambda record: record.names.target.raw,
    "fs.path.realtarget": lambda record: record.names.target.real,
    "evt.abspath": lambda record: record.names.path.given,
    "evt.abspath.src": lambda record: in_order(record, record.names)[0].given,
    "evt.abspath.dst": lambda record: in_order(record, record.names)[1].given,
}
WITH_ARGUMENT: dict[str, Callable[[SyscallRecord, str], Value | None]] = {}
