"""A system call that occurred, and what its fields are looked up in."""

from __future__ import annotations

from dataclasses import dataclass, field

from tiercel_agent.context.accounts import Accounts
from tiercel_agent.context.cgroups import CgroupTable, membership
from tiercel_agent.context.container import ContainerId, container_of
from tiercel_agent.context.hostnames import HostNames
from tiercel_agent.context.mount_namespaces import MountNamespaces
from tiercel_agent.events.names import Names, names_of
from tiercel_agent.events.processes import Image, ProcessTable
from tiercel_agent.events.record import Record
from tiercel_agent.events.syscalls import Syscall
from tiercel_agent.events.wire import Header, ProcessRef
from tiercel_agent.workloads.inventory import Inventory
from tiercel_agent.workloads.model import NOTHING, Workload

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
    inventory: Inventory
    mounts: MountNamespaces
    requested: frozenset[str] = frozenset()
    """Keys that the rules read: recorded beside the fields that need no argument."""
    socket_names: dict[int, str] = field(default_factory=dict)
    """The last connection that each datagram socket was seen with, by the socket's inode."""
    _containers: dict[int | tuple[int, int, int], ContainerId | None] = field(default_factory=dict)

    def knows_cgroup(self, cgroup: int, pid: int) -> bool:
        """Whether what ``container`` says of the cgroup is the last word."""
        return cgroup == _ROOT_CGROUP or self.cgroups.path(cgroup, pid) is not None

    def container(self, header: Header, process: ProcessRef) -> ContainerId | None:
        """The container that a process is in: by its cgroup, and if that is the host's by its mount namespace.

        What a user runs below systemd's part for that user is believed only of processes that don't see the
        host's files: users may name cgroups there as they like.
        """
        found = self._container_of_cgroup(header.cgroup, process)
        if found is None:
            return self.mounts.owner(header.mount_ns)
        if found.user is not None and header.mount_ns == self.mounts.host:
            return None
        return found

    def executed(self, header: Header, process: ProcessRef) -> None:
        """A process executes something else now."""
        container = self._container_of_cgroup(header.cgroup, process) if header.vpid == 1 else None
        if container is not None:
            self.mounts.executed(container, header.mount_ns, header.vpid)

    def workload(self, header: Header, process: ProcessRef) -> Workload:
        """What is known of the container that a process is in."""
        container = self.container(header, process)
        return NOTHING if container is None else self.inventory.workload(container)

    def _container_of_cgroup(self, cgroup: int, process: ProcessRef) -> ContainerId | None:
        """Where runtimes use version 1 hierarchies only, all processes are in the root of version 2: there by the
        process's membership, asked once an exec."""
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
        return self.world.container(self.header, self.process)

    @property
    def workload(self) -> Workload:
        return self.world.workload(self.header, self.process)

    def ancestor_image(self, index: int) -> Image:
        """The image of the parent (0), its parent (1) …"""
        return self.world.processes.image(self.ancestors[index])
