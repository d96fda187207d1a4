"""Which container a process is in, and what is known of it."""

from __future__ import annotations

from tiercel_agent.context.cgroups import CgroupTable, membership
from tiercel_agent.context.container import ContainerId, concerned, container_of, unexplained
from tiercel_agent.context.mount_namespaces import MountNamespaces
from tiercel_agent.context.procfs import TICK
from tiercel_agent.kernel.records import OTHER_ROOT, CgroupRecord, Header, ProcessRef
from tiercel_agent.loss import NOT_KNOWN, LostBy
from tiercel_agent.workloads.inventory import Inventory
from tiercel_agent.workloads.model import NOTHING, Workload
from tiercel_engine.printable import printable

_ROOT_CGROUP = 1
_MOST_CGROUPS = 16384
_LONGEST_PATH = 200


class Containers:
    """The containers of this machine. Those that run already are noted when this object is made."""

    def __init__(self, cgroups: CgroupTable, mounts: MountNamespaces, inventory: Inventory) -> None:
        self.inventory = inventory
        self._cgroups = cgroups
        self._mounts = mounts
        self._by_cgroup: dict[int | tuple[int, int, int], ContainerId | None] = {}
        for path in cgroups.known_paths():
            container = container_of(path)
            if container is not None:
                inventory.appeared(container)
                mounts.examine(cgroups.folder(path), container)

    def of(self, header: Header, process: ProcessRef) -> ContainerId | None:
        """The container that a process is in; None for the host.

        What decides: the mount namespace, if it is the one of a container's first process, since a process may be moved
        to any cgroup; then the cgroup. Where both say nothing, a process is in a container of its own nevertheless if
        its PID namespace isn't the machine's and its root directory isn't either. One of these alone makes no
        container: services of the host have mounts, roots or process numbers of their own too, and names of files mean
        the host's as long as the root is the host's.

        Below a user's own systemd instance, users may name cgroups as they like. A container there is believed only of
        processes that are outside of the host's mount namespace.
        """
        container = self._of_cgroup(header.cgroup, process)
        owner = self._mounts.owner(header.mount_ns)
        if owner is not None and owner is not container and (container is None or not _same_pod(owner, container)):
            return owner
        if container is None:
            return self._unexplained(header, process) if header.flags & OTHER_ROOT else None
        if container.user is not None and header.mount_ns == self._mounts.host:
            return None
        return container

    def workload(self, header: Header, process: ProcessRef) -> Workload:
        """What is known of the container that a process is in."""
        container = self.of(header, process)
        return NOTHING if container is None else self.inventory.workload(container)

    def concerned(self, header: Header, process: ProcessRef) -> str:
        """Whom it concerns what is looked up for a process, as ``Lookups.ask`` wants it."""
        container = self.of(header, process)
        if container is not None:
            return f"container {container.short}"
        return concerned(self._cgroups.path(header.cgroup, process.pid) or "/")

    def lost_by(self, cgroup: int) -> LostBy:
        """Where the processes of a cgroup are, as far as that is known now.

        A container that a user has named, or that its runtime hasn't vouched for, is told only by its path.
        """
        path = self._cgroups.path(cgroup)
        if path is None:
            return NOT_KNOWN
        shown = printable(path)
        shown = shown if len(shown) <= _LONGEST_PATH else f"…{shown[-_LONGEST_PATH:]}"
        container = container_of(path)
        if container is None or container.user is not None:
            return LostBy(shown)
        workload = self.inventory.workload(container)
        if workload.container is None:
            return LostBy(shown)
        pod = workload.pod
        return LostBy(shown, container.short, f"{pod.namespace}/{pod.name}" if pod is not None else "")

    def is_known(self, cgroup: int, pid: int) -> bool:
        """Whether it is certain which container the cgroup's processes are in."""
        return cgroup == _ROOT_CGROUP or self._cgroups.path(cgroup, pid) is not None

    def executed(self, header: Header, process: ProcessRef) -> None:
        """Notes that a process has executed a program."""
        container = self._of_cgroup(header.cgroup, process) if header.vpid == 1 else None
        if container is None:
            return
        owner = self._mounts.owner(header.mount_ns)
        if owner is None or not self._cgroups.folder(owner.cgroup).exists():  # a container keeps what it made
            self._mounts.executed(container, header.mount_ns, header.vpid)

    def take(self, record: CgroupRecord) -> ContainerId | None:
        """Notes that a cgroup was made or removed. Returns the container that has gone with it, if any."""
        container = container_of(record.path)
        if record.made:
            if record.hierarchy == 0:
                self._cgroups.made(record.id, record.path)
            if container is not None:
                self.inventory.appeared(container)
            return None
        if (
            container is None or container_of(record.path.rpartition("/")[0]) == container
        ):  # a cgroup within the container
            return None
        self.inventory.disappeared(container)
        self._mounts.left(container)
        return container

    def close(self) -> None:
        self._cgroups.close()
        self.inventory.close()

    def _unexplained(self, header: Header, process: ProcessRef) -> ContainerId:
        """A container that no form of cgroups shows to be one."""
        path = self._cgroups.path(header.cgroup, process.pid) if header.cgroup != _ROOT_CGROUP else None
        return unexplained(path or "/", header.pid_ns)

    def _of_cgroup(self, cgroup: int, process: ProcessRef) -> ContainerId | None:
        """The container of a cgroup. Where runtimes use only version 1 hierarchies, all processes are in the root of
        version 2; then the membership of the process counts, which is read once for each exec."""
        key = process[:3] if cgroup == _ROOT_CGROUP else cgroup
        try:
            return self._by_cgroup[key]
        except KeyError:
            pass
        if cgroup == _ROOT_CGROUP:
            groups = membership(process.pid, process.start // TICK)
            container = groups.container() if groups else None
        else:
            path = self._cgroups.path(cgroup, process.pid)
            if path is None:
                return None
            container = container_of(path)
        if len(self._by_cgroup) >= _MOST_CGROUPS:
            self._by_cgroup.clear()
        self._by_cgroup[key] = container
        return container


def _same_pod(one: ContainerId, other: ContainerId) -> bool:
    """Whether both are one container, or of one pod, whose containers may have namespaces in common."""
    return one == other or (one.pod_uid is not None and one.pod_uid == other.pod_uid)
