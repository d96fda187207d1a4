"""``fs.path.*`` and ``evt.abspath``: the files that a call acts on by name."""

from __future__ import annotations

from collections.abc import Callable

from tiercel_agent.events.syscall_record import Occurrence
from tiercel_engine.event import Value

FIELDS: dict[str, Callable[[Occurrence], Value | None]] = {
    "fs.path.name": lambda event: event.names.path.given,
    "fs.path.nameraw": lambda event: event.names.path.raw,
    "fs.path.realname": lambda event: event.names.path.real,
    "fs.path.source": lambda event: event.names.source.given,
    "fs.path.sourceraw": lambda event: event.names.source.raw,
    "fs.path.realsource": lambda event: event.names.source.real,
    "fs.path.target": lambda event: event.names.target.given,
    "fs.path.targetraw": lambda event: event.names.target.raw,
    "fs.path.realtarget": lambda event: event.names.target.real,
    "evt.abspath": lambda event: event.names.path.given,
    "evt.abspath.src": lambda event: event.names.source.given,
    "evt.abspath.dst": lambda event: event.names.target.given,
}
WITH_ARGUMENT: dict[str, Callable[[Occurrence, str], Value | None]] = {}
