"""Control groups: from the id that the kernel gives (bpf_get_current_cgroup_id) to the path that tells the container.

The id of a version 2 cgroup is its inode number, and a file handle of the type FILEID_KERNFS is
nothing but that id (include/linux/exportfs.h, fs/kernfs/mount.c): open_by_handle_at finds the cgroup
exactly and without a search, given CAP_DAC_READ_SEARCH. Without that capability the hierarchy is walked.
The kernel reports new cgroups with their paths when they are made (bpf/cgroups.c).
Ids aren't used twice and version 2 cgroups can't be renamed, so a path stays true. It is kept after the cgroup is gone,
since events of its last processes may still come.
"""

from __future__ import annotations

import ctypes
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cachetools import LRUCache

from tiercel_agent.context.container import ContainerId, container_of
from tiercel_agent.context.rootfs import process_directory, start_of
from tiercel_engine.located import located

MOUNT_POINTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
_CGROUP2_MARK = "cgroup.controllers"
_FILEID_KERNFS = 0xFE
_LOG = logging.getLogger(__name__)
_LIBC = ctypes.CDLL(None, use_errno=True)


class _FileHandle(ctypes.Structure):
    _fields_ = (("handle_bytes", ctypes.c_uint), ("handle_type", ctypes.c_int), ("id", ctypes.c_uint64))


def mount_point() -> str | None:
    """Where the version 2 hierarchy is mounted, or None."""
    for path in MOUNT_POINTS:
        if Path(path, _CGROUP2_MARK).exists():
            return path
    return None


@dataclass(frozen=True, slots=True)
class Membership:
    """The cgroups of a process: its path in the version 2 hierarchy, and by controller in version 1 hierarchies."""

    unified: str | None = None
    by_controller: dict[str, str] = field(default_factory=dict)

    def container(self) -> ContainerId | None:
        """The container, from the version 2 path or else from the first version 1 path that has one."""
        for path in (self.unified, *self.by_controller.values()):
            container = container_of(path) if path else None
            if container:
                return container
        return None


def parse_membership(text: str) -> Membership:
    """Reads the text of ``/proc/PID/cgroup``: lines of ``number:controllers:path``."""
    unified: str | None = None
    by_controller: dict[str, str] = {}
    for line in text.split("\n"):
        number, _, rest = line.partition(":")
        controllers, separator, path = rest.partition(":")
        if not separator:
            continue
        if number == "0" and not controllers:
            unified = path
        else:
            by_controller.update(dict.fromkeys(controllers.removeprefix("name=").split(","), path))
    return Membership(unified, by_controller)


def membership(pid: int, start: int | None = None) -> Membership | None:
    """The cgroups of a process, or None if it is gone. With ``start``, the process's start in clock ticks, it must be
    that process and no later one of its number."""
    try:
        with process_directory(pid) as process_fd:
            fd = os.open("cgroup", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process_fd)
            with open(fd, encoding="utf-8", errors="surrogateescape", newline="\n") as file:  # noqa: PTH123
                if start is not None and start_of(process_fd) != start:
                    return None
                return parse_membership(file.read())
    except (OSError, ValueError, IndexError):
        return None


class CgroupTable:
    """Paths by cgroup id. A path starts with ``/`` at the hierarchy's root.

    ``limit`` is the most paths that are remembered (the least recently used goes first). ``walk_interval`` is the least
    number of seconds between two walks for ids that couldn't be looked up otherwise.
    """

    def __init__(
        self,
        root: str | None = None,
        *,
        limit: int = 16384,
        walk_interval: float = 1.0,
        use_handles: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root = root if root is not None else mount_point()
        self._limit = limit
        self._walk_interval = walk_interval
        self._clock = clock
        self._paths: LRUCache[int, str] = LRUCache(limit)
        self._root_fd = -1
        if self._root is None:
            return
        try:
            # the path as the kernel prints it: the root may have been given through a link
            self._root = os.path.realpath(self._root)
            if use_handles:
                self._root_fd = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            _LOG.info("control groups are searched for by walking the hierarchy: %s", located(error))
            self._root_fd = -1
        self._walked = self._clock()
        self._walk()

    def close(self) -> None:
        if self._root_fd >= 0:
            os.close(self._root_fd)
            self._root_fd = -1

    def __len__(self) -> int:
        return len(self._paths)

    def made(self, cgroup_id: int, path: str) -> None:
        """Notes a version 2 cgroup that the kernel has reported as new."""
        self._paths[cgroup_id] = path

    def known_paths(self) -> list[str]:
        """The paths of the cgroups that are remembered."""
        return list(self._paths.values())

    def folder(self, path: str) -> Path:
        """The folder of a cgroup of the version 2 hierarchy."""
        return Path(f"{self._root}{path}")

    def path(self, cgroup_id: int, pid: int | None = None) -> str | None:
        """The cgroup's path, or None if no cgroup of that id is or was known.

        ``pid`` is a process that was in it. Its membership is read only where file handles don't work, and believed
        only if the id fits.
        """
        known = self._paths.get(cgroup_id)
        if known is not None:
            return known
        if self._root is None:
            return None
        path = self._by_handle(cgroup_id) or self._by_process(cgroup_id, pid)
        if path is not None:
            self._paths[cgroup_id] = path
            return path
        now = self._clock()
        if self._root_fd < 0 and now - self._walked >= self._walk_interval:
            self._walked = now
            self._walk()
        return self._paths.get(cgroup_id)

    def _by_handle(self, cgroup_id: int) -> str | None:
        if self._root_fd < 0:
            return None
        handle = _FileHandle(8, _FILEID_KERNFS, cgroup_id)
        fd = _LIBC.open_by_handle_at(self._root_fd, ctypes.byref(handle), os.O_PATH | os.O_CLOEXEC)
        if fd < 0:
            if ctypes.get_errno() in _NO_HANDLES:
                self.close()
            return None
        try:
            return self._below_root(os.readlink(f"/proc/self/fd/{fd}"))  # noqa: PTH115
        except OSError:
            return None
        finally:
            os.close(fd)

    def _by_process(self, cgroup_id: int, pid: int | None) -> str | None:
        cgroups = membership(pid) if pid is not None else None
        if cgroups is None or cgroups.unified is None or ".." in cgroups.unified.split("/"):
            return None
        try:
            fits = os.stat(f"{self._root}{cgroups.unified}").st_ino == cgroup_id  # noqa: PTH116
        except OSError:
            return None
        return cgroups.unified if fits else None

    def _below_root(self, path: str) -> str | None:
        if path == self._root:
            return "/"
        return path.removeprefix(str(self._root)) if path.startswith(f"{self._root}/") else None

    def _walk(self) -> None:
        for cgroup_id, path in _cgroups(str(self._root), self._limit):
            self._paths[cgroup_id] = path


_NO_HANDLES = frozenset({1, 38, 95})  # EPERM, ENOSYS, EOPNOTSUPP


def _cgroups(root: str, limit: int) -> Iterator[tuple[int, str]]:
    """Id and path of the cgroups below a hierarchy's root, from the top down; at most ``limit``."""
    pending = [""]
    count = 0
    while pending and count < limit:
        path = pending.pop()
        try:
            cgroup_id = os.stat(f"{root}{path}").st_ino  # noqa: PTH116
            with os.scandir(f"{root}{path}") as entries:
                pending.extend(f"{path}/{entry.name}" for entry in entries if entry.is_dir(follow_symlinks=False))
        except OSError:
            continue
        count += 1
        yield cgroup_id, path or "/"
