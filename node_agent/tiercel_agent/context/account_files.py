"""Reads the files of accounts, /etc/passwd and /etc/group, in the root directory of a process or of the host.

These are files of whoever has made that root, and may lie on a server that doesn't answer. So they are read by the
process that makes look-ups (``tiercel_agent.lookups``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from tiercel_agent.context.idmap import IdMap, id_maps
from tiercel_agent.context.rootfs import (
    directory,
    namespace,
    open_in_root,
    process_directory,
    process_root,
    read_regular,
    start_of,
)

PASSWD, GROUP = "/etc/passwd", "/etc/group"
MAX_FILE = 1 << 20

Root = tuple[int, int]
"""A root directory: its device and inode."""
Stamp = tuple[int, ...]
"""Numbers that differ once a file has changed."""
Stamps = Mapping[str, Stamp | None]
"""By the file's path; None for a file that can't be examined."""


@dataclass(frozen=True, slots=True)
class AccountFiles:
    """``changed`` has the content of the files that aren't as their stamps say: it is empty for a file that is missing,
    too large or no regular file. ``id_maps`` are those of users and groups, None where they aren't the root's."""

    root: Root
    stamps: Stamps
    changed: Mapping[str, bytes]
    id_maps: tuple[IdMap, IdMap] | None = None


def files_of_process(
    pid: int, mount_ns: int, known: Mapping[Root, Stamps], start: int | None = None
) -> AccountFiles | None:
    """The files in a process's root; None if it is gone, or no longer in that mount namespace. ``known`` are the stamps
    of files that were read before, by the root that they are in. With ``start``, the process's start in clock ticks,
    it must be that process and no later one of its number."""
    with suppress(OSError, ValueError, IndexError), process_directory(pid) as process_fd:
        if namespace(process_fd, "mnt") == mount_ns and start in (None, start_of(process_fd)):
            with process_root(process_fd) as root_fd:
                return _files(root_fd, known, id_maps(process_fd))
    return None


def files_of_host(root: str, known: Mapping[Root, Stamps]) -> AccountFiles | None:
    """The files below a directory of this machine's; None if it can't be opened."""
    with suppress(OSError), directory(root) as root_fd:
        return _files(root_fd, known)
    return None


def _files(root_fd: int, known: Mapping[Root, Stamps], maps: tuple[IdMap, IdMap] | None = None) -> AccountFiles:
    status = os.fstat(root_fd)
    root = status.st_dev, status.st_ino
    before = known.get(root, {})
    stamps: dict[str, Stamp | None] = {}
    changed: dict[str, bytes] = {}
    for path in (PASSWD, GROUP):
        stamps[path] = _stamp(root_fd, path)
        if path not in before or before[path] != stamps[path]:
            changed[path] = _content(root_fd, path) if stamps[path] is not None else b""
    return AccountFiles(root, stamps, changed, maps)


def _content(root_fd: int, path: str) -> bytes:
    with suppress(OSError):
        return read_regular(root_fd, path, MAX_FILE) or b""
    return b""


def _stamp(root_fd: int, path: str) -> Stamp | None:
    try:
        fd = open_in_root(root_fd, path, os.O_PATH)
    except OSError:
        return None
    try:
        status = os.fstat(fd)
    except OSError:
        return None
    finally:
        os.close(fd)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
