"""A system call as the kernel recorded it."""

from __future__ import annotations

from typing import Literal

from tiercel_agent.events.descriptor import Descriptor, descriptor
from tiercel_agent.events.images import Image
from tiercel_agent.events.syscalls import Syscall
from tiercel_agent.kernel import records
from tiercel_agent.kernel.records import Header, ProcessRef, Section, Sections


class KernelRecord:
    """What the kernel recorded of one system call. Its sections are decoded when they are first read.

    ``image`` is what the process executes; after an exec, the new program.
    """

    __slots__ = ("_ancestors", "_descriptor", "_sections", "call", "header", "image", "process", "raw")

    def __init__(self, call: Syscall, header: Header, process: ProcessRef, raw: bytes, image: Image) -> None:
        self.call = call
        self.header = header
        self.process = process
        self.raw = raw
        self.image = image
        self._sections: Sections | None = None
        self._ancestors: list[ProcessRef] | None = None
        self._descriptor: Descriptor | Literal[False] | None = False

    @property
    def may_write_executable(self) -> bool | None:
        """Whether the process's user may write to the file that it executes; None if that isn't known."""
        facts = self.image.exe
        if facts is None:
            return None
        return self.header.uid in (0, facts.owner) or bool(facts.mode & 0o002)

    @property
    def sections(self) -> Sections:
        if self._sections is None:
            self._sections = records.sections(self.raw)
        return self._sections

    @property
    def ancestors(self) -> list[ProcessRef]:
        """The process's ancestors, parent first."""
        if self._ancestors is None:
            self._ancestors = records.ancestors(self.raw, self.sections)
        return self._ancestors

    @property
    def has_more_ancestors(self) -> bool:
        """Whether there may be ancestors that the record has no room for."""
        section = self.sections.get(Section.ANCESTORS)
        return section is not None and bool(section[0])

    @property
    def descriptor(self) -> Descriptor | None:
        """What the call's descriptor stands for; None if there is none."""
        if self._descriptor is False:
            self._descriptor = descriptor(self.sections)
        return self._descriptor
