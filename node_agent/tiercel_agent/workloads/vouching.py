"""Whether a runtime vouches for a container: its cgroup is where the runtime has put it.

A cgroup's name alone proves nothing. Whoever may make cgroups, such as a privileged container, could move into one that
is named like another's and act in the other's name.
"""

from __future__ import annotations

import os
from pathlib import Path

from tiercel_agent.context.cgroups import membership, mount_point
from tiercel_agent.context.container import ContainerId, container_of
from tiercel_agent.workloads.model import Container

_LATE = 5_000_000_000  # ns: a container may have ended before its cgroup was noticed
_INITIAL_ROOT = 1  # the id of the machine's own root cgroup, which is the inode of its folder


def vouches(facts: Container, claimed: ContainerId, since: int) -> bool:
    """Whether the runtime's container lies in the cgroup that claims to be its. ``since`` is from when on the cgroup is
    known, in nanoseconds since the epoch.

    The runtime says it by the container's specification or by its first process. The specification outlives the
    container, whose cgroup anybody may make anew once it has come to its end.
    """
    if facts.finished and facts.finished < since - _LATE:
        return False
    if claimed.cgroup in facts.cgroups:
        return True
    if _is_nested() and any(path != "/" and claimed.cgroup.endswith(path) for path in facts.cgroups):
        return True
    return facts.pid > 0 and (_by_membership(facts.pid, claimed) or _by_member(facts.pid, claimed))


def _by_membership(pid: int, claimed: ContainerId) -> bool:
    groups = membership(pid)
    if groups is None:
        return False
    paths = {groups.unified, *groups.by_controller.values()} - {None}
    # An agent with a cgroup namespace of its own sees paths from its own cgroup on.
    return any(_lies_in(path, claimed) for path in paths if path and "/.." not in path)


def _lies_in(path: str, claimed: ContainerId) -> bool:
    container = container_of(path)
    return path == claimed.cgroup or (container is not None and container.cgroup == claimed.cgroup)


def _by_member(pid: int, claimed: ContainerId) -> bool:
    """Whether the process is among those of the cgroup, or of one in it: some runtimes make one for the container's
    processes."""
    root = mount_point()
    if root is None or not claimed.cgroup:
        return False
    folder = Path(f"{root}{claimed.cgroup}")
    try:
        inner = [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return False
    return any(str(pid) in _members(each) for each in (folder, *inner))


def _members(folder: Path) -> list[str]:
    try:
        return (folder / "cgroup.procs").read_text().split()
    except OSError:
        return []


def _is_nested() -> bool:
    """Whether this node is itself a container, so that its runtime doesn't know the beginning of its cgroups' paths."""
    root = mount_point()
    try:
        return root is not None and os.stat(root).st_ino != _INITIAL_ROOT  # noqa: PTH116
    except OSError:
        return False
