"""The live event: a system call whose fields are computed when they are first read."""

from __future__ import annotations

from collections.abc import Iterator

from tiercel_agent.events.fields import FIELDS, extractor
from tiercel_agent.events.syscall_record import SyscallRecord
from tiercel_engine.event import Event, Value, resolved_view
from tiercel_engine.uncertain import is_uncertain

_BY_ANCESTOR = ("proc.aname", "proc.aexe", "proc.aexepath", "proc.acmdline", "proc.apid")


class LiveEvent(Event):
    """One system call of this machine, as rules read it. The values of its fields are kept once they are computed."""

    __slots__ = ("record",)

    def __init__(self, record: SyscallRecord) -> None:
        super().__init__("syscall", record.time)
        self.record = record

    def __missing__(self, key: str) -> Value | None:
        value = self[key] = extractor(key)(self.record)
        if is_uncertain(value):
            self.uncertain = True
        return value

    def views(self) -> Iterator[Event]:
        yield self
        names = self.record.names
        if any(name.real is not None for name in (names.fd, names.path, names.source, names.target)):
            view = resolved_view(self, names.fd.real, names.path.real, names.source.real, names.target.real)
            if view is not None:
                yield view

    def materialize(self) -> dict[str, Value | None]:
        """All fields that have a value: those of the registry, the call's arguments, each ancestor's, and the keys that
        rules read."""
        record = self.record
        keys = set(FIELDS) | record.context.requested
        keys.update(f"evt.arg.{parameter.name}" for parameter in record.call.parameters)
        for name in _BY_ANCESTOR:
            keys.update(f"{name}[{index}]" for index in range(1, len(record.ancestors) + 1))
        return {key: value for key in sorted(keys) if (value := self[key]) is not None}
