"""A system call that occurred, and what its fields are looked up in."""

from __future__ import annotations

from dataclasses import dataclass, field

from tiercel_agent.context.accounts import Accounts
from tiercel_agent.context.container import ContainerId
from tiercel_agent.context.hostnames import HostNames
from tiercel_agent.events.kernel_record import Record
from tiercel_agent.events.names import Names, names_of
from tiercel_agent.events.processes import Image, ProcessTable
from tiercel_agent.events.syscalls import Syscall
from tiercel_agent.kernel.records import Header, ProcessRef
from tiercel_agent.workloads.containers import Containers
from tiercel_agent.workloads.model import Workload


@dataclass(slots=True)
class Surroundings:
    """What the fields of an event are looked up in; shared by all events of a detector."""

    processes: ProcessTable
    accounts: Accounts
    containers: Containers
    hostnames: HostNames
    hostname: str
    requested: frozenset[str] = frozenset()
    """Keys that the rules read: recorded beside the fields that need no argument."""
    socket_names: dict[int, str] = field(default_factory=dict)
    """The last connection that each datagram socket was seen with, by the socket's inode."""


class Occurrence(Record):
    """One system call of this machine: the kernel's record, and what can be looked up for it.

    ``number`` counts the detector's events from 1, ``time`` is in nanoseconds since the epoch.
    """

    __slots__ = ("_names", "number", "time", "world")

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
        super().__init__(call, header, process, raw, image)
        self.number = 0
        self.time = time
        self.world = world
        self._names: Names | None = None

    @property
    def names(self) -> Names:
        if self._names is None:
            self._names = names_of(self)
        return self._names

    @property
    def container(self) -> ContainerId | None:
        """The container that the process is in, as its cgroup tells."""
        return self.world.containers.of(self.header, self.process)

    @property
    def workload(self) -> Workload:
        return self.world.containers.workload(self.header, self.process)

    def ancestor_image(self, index: int) -> Image:
        """The image of the parent (0), its parent (1) …"""
        return self.world.processes.image(self.ancestors[index])
