"""A system call that occurred, and what its fields are looked up in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tiercel_agent.context.accounts import Accounts
from tiercel_agent.context.cgroups import CgroupTable, membership
from tiercel_agent.context.container import ContainerId, container_of
from tiercel_agent.context.hostnames import HostNames
from tiercel_agent.events import wire
from tiercel_agent.events.descriptor import Descriptor, descriptor
from tiercel_agent.events.names import Names, names_of
from tiercel_agent.events.processes import Image, ProcessTable
from tiercel_agent.events.syscalls import Syscall
from tiercel_agent.events.wire import Header, ProcessRef, Sections

_ROOT_CGROUP = 1
_MAX_CONTAINERS = 16384


@dataclass(slots=True)
class Surroundings:
    """What the fields of an event are looked up in; shared by all events of a detector."""

    processes: ProcessTable
    accounts: Accounts
    cgroups: CgroupTable
    hostnames: HostNames
    hostname: str
    requested: frozenset[str] = frozenset()
    """Keys that the rules read: recorded beside the fields that need no argument."""
    socket_names: dict[int, str] = field(default_factory=dict)
    """The last connection that each datagram socket was seen with, by the socket's inode."""
    _containers: dict[int | tuple[int, int, int], ContainerId | None] = field(default_factory=dict)

    def container(self, cgroup: int, process: ProcessRef) -> ContainerId | None:
        """The container of a cgroup, by its id. Where runtimes use version 1 hierarchies only, all processes are in the
        root of version 2: there by the process's membership, asked once an exec."""
        key = process[:3] if cgroup == _ROOT_CGROUP else cgroup
        try:
            return self._containers[key]
        except KeyError:
            pass
        if cgroup == _ROOT_CGROUP:
            groups = membership(process.pid)
            found = groups.container() if groups else None
        else:
            path = self.cgroups.path(cgroup, process.pid)
            if path is None:
                return None
            found = container_of(path)
        if len(self._containers) >= _MAX_CONTAINERS:
            self._containers.clear()
        self._containers[key] = found
        return found


class Occurrence:
    """One system call as the kernel recorded it, with what follows from the record, read when it is asked for.

    ``image`` is what the process executes; for an exec, what it executes now. ``number`` counts the detector's
    events from 1, ``time`` is in nanoseconds since the epoch.
    """

    __slots__ = (
        "_ancestors",
        "_descriptor",
        "_names",
        "_sections",
        "call",
        "header",
        "image",
        "number",
        "process",
        "raw",
        "time",
        "world",
    )

    def __init__(
        self,
        time: int,
        call: Syscall,
        header: Header,
        process: ProcessRef,
        raw: bytes,
        image: Image,
        world: Surroundings,
    ) -> None:
        self.number: int = 0
        self.time: int = time
        self.call: Syscall = call
        self.header: Header = header
        self.process: ProcessRef = process
        self.raw: bytes = raw
        self.image: Image = image
        self.world: Surroundings = world
        self._sections: Sections | None = None
        self._ancestors: list[ProcessRef] | None = None
        self._descriptor: Descriptor | Literal[False] | None = False
        self._names: Names | None = None

    @property
    def sections(self) -> Sections:
        if self._sections is None:
            self._sections = wire.sections(self.raw)
        return self._sections

    @property
    def ancestors(self) -> list[ProcessRef]:
        if self._ancestors is None:
            self._ancestors = wire.ancestors(self.raw)
        return self._ancestors

    @property
    def descriptor(self) -> Descriptor | None:
        if self._descriptor is False:
            self._descriptor = descriptor(self.sections)
        return self._descriptor

    @property
    def names(self) -> Names:
        if self._names is None:
            self._names = names_of(self)
        return self._names

    def ancestor_image(self, index: int) -> Image:
        """The image of the parent (0), its parent (1) …"""
        return self.world.processes.image(self.ancestors[index])
