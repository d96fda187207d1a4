"""User namespaces: the kernel counts users as the host does, a container's files as the container does.

A process can make a user namespace and be anybody in it. So a map counts only for the user namespace that
owns the mount namespace whose files are read: what its own root set up, not what a process made on top of it.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass

_NS_GET_USERNS = 0xB701  # ioctl_ns(2)
_MAX_LINES = 340  # user_namespaces(7)


@dataclass(frozen=True, slots=True)
class IdMap:
    """Ranges as ``/proc/PID/uid_map`` has them: (first id inside, first id outside, count)."""

    ranges: tuple[tuple[int, int, int], ...] = ()

    def inside(self, number: int) -> int | None:
        """A host id as the container counts; None if it has none there. Without ranges ids are the same."""
        if not self.ranges:
            return number
        for first_inside, first_outside, count in self.ranges:
            if first_outside <= number < first_outside + count:
                return number - first_outside + first_inside
        return None


def parse_id_map(text: str) -> IdMap:
    """Read ``/proc/PID/uid_map`` or ``gid_map``."""
    ranges: list[tuple[int, int, int]] = []
    for line in text.splitlines()[:_MAX_LINES]:
        numbers = line.split()
        if len(numbers) == 3 and all(number.isascii() and number.isdecimal() for number in numbers):
            ranges.append((int(numbers[0]), int(numbers[1]), int(numbers[2])))
    return IdMap(tuple(ranges))


def id_maps(process_fd: int) -> tuple[IdMap, IdMap] | None:
    """The maps of users and groups of a process (a ``/proc/PID`` descriptor).

    None if its user namespace isn't the one that owns its mount namespace. Raises OSError if it is gone.
    """
    mount_fd = os.open("ns/mnt", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process_fd)
    try:
        owner_fd = fcntl.ioctl(mount_fd, _NS_GET_USERNS)
    finally:
        os.close(mount_fd)
    try:
        owner = os.fstat(owner_fd)
    finally:
        os.close(owner_fd)
    own = os.stat("ns/user", dir_fd=process_fd)
    if (owner.st_dev, owner.st_ino) != (own.st_dev, own.st_ino):
        return None
    return parse_id_map(_text(process_fd, "uid_map")), parse_id_map(_text(process_fd, "gid_map"))


def _text(process_fd: int, name: str) -> str:
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=process_fd)
    try:
        return os.read(fd, 65536).decode("ascii", "replace")
    finally:
        os.close(fd)
