"""User namespaces: the kernel gives a user's id as the host counts, a container's files as the container counts.

A process can make a user namespace and have any id in it. So a map is only used if it belongs to the user namespace
that owns the mount namespace whose files are read: the one that the container was set up with, not one that a process
made later.
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
        """The container's number for an id of the host; None if it has none. Without ranges the numbers are the
        same."""
        if not self.ranges:
            return number
        for first_inside, first_outside, count in self.ranges:
            if first_outside <= number < first_outside + count:
                return number - first_outside + first_inside
        return None


def parse_id_map(text: str) -> IdMap:
    """Reads the text of ``/proc/PID/uid_map`` or ``gid_map``."""
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
