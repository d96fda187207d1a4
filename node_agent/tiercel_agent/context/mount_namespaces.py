"""Which container a mount namespace belongs to: a container's is the one in which its first process executes a program.

A process with enough rights can leave its container's cgroup, for one of the host's or of another container. It is
still recognised by its mount namespace, which it doesn't leave by that.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path

from tiercel_agent.context.container import ContainerId

_MOST = 8192
_FIRST = 1  # pid of the first process of a pid namespace, as that counts


class MountNamespaces:
    """The owners of mount namespaces. ``host`` is the machine's own namespace, which belongs to no container; 0 if
    unknown."""

    def __init__(self, host: int) -> None:
        self.host = host
        self._owners: OrderedDict[int, ContainerId] = OrderedDict()

    def executed(self, container: ContainerId, mount_ns: int, vpid: int) -> None:
        """Notes that a process of a container has executed a program in that namespace. ``vpid`` is its pid in the
        container."""
        if vpid == _FIRST and mount_ns not in (0, self.host):
            self._owners[mount_ns] = container
            self._owners.move_to_end(mount_ns)
            if len(self._owners) > _MOST:
                self._owners.popitem(last=False)

    def owner(self, mount_ns: int) -> ContainerId | None:
        return self._owners.get(mount_ns)

    def left(self, container: ContainerId) -> None:
        """Forgets a container that is gone, since the kernel may give the number of its namespace to another one."""
        for mount_ns in [number for number, owner in self._owners.items() if owner == container]:
            del self._owners[mount_ns]

    def examine(self, cgroup: Path, container: ContainerId) -> None:
        """Notes the namespace of a container that runs already, by its first process in the cgroup's folder."""
        try:
            pids = (cgroup / "cgroup.procs").read_text().split()
        except OSError:
            return
        for pid in pids:
            try:
                status = Path(f"/proc/{pid}/status").read_text(errors="replace")
                mount_ns = os.stat(f"/proc/{pid}/ns/mnt").st_ino  # noqa: PTH116
            except OSError:
                continue
            numbers = next((line.split() for line in status.split("\n") if line.startswith("NSpid:")), ["0"])
            self.executed(container, mount_ns, int(numbers[-1]))


def host_mount_namespace() -> int:
    """The mount namespace of the machine's first process; 0 if this process may not see it."""
    try:
        return os.stat("/proc/1/ns/mnt").st_ino  # noqa: PTH116
    except OSError:
        return 0
