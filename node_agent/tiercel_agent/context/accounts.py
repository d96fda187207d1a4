"""Names of users and groups, from the root file system of the process that they concern.

A container has its own /etc/passwd: uid 1000 is another user there. Whoever controls that file system chooses the
names, so a container's files are read for processes of that container only, with limits, and never for the host's: a
user who makes a mount namespace of their own can't rename themselves by that (``mount_ns`` is None for every process
that is in no container, whatever namespaces it has).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cachetools import LRUCache

from tiercel_agent.context.idmap import IdMap, id_maps
from tiercel_agent.context.nss import Nss
from tiercel_agent.context.rootfs import (
    directory,
    namespace,
    open_in_root,
    process_directory,
    process_root,
    read_regular,
)

MAX_FILE = 1 << 20
MAX_ENTRIES = 20_000
MAX_TEXT = 256
_PASSWD, _GROUP = "/etc/passwd", "/etc/group"
_ROOTS_OF_A_CONTAINER = 4
MOUNTED_HOST = "/host"
"""Where the host's folders are mounted for an agent in a container."""


@dataclass(frozen=True, slots=True)
class User:
    uid: int
    name: str
    home: str
    shell: str


@dataclass(frozen=True, slots=True)
class Group:
    gid: int
    name: str


def parse_passwd(content: bytes) -> dict[int, User]:
    """Users by id from the text of a passwd file (passwd(5)). Where an id has several entries, the first counts."""
    users: dict[int, User] = {}
    for fields in _lines(content, 7):
        uid = _number(fields[2])
        if uid is not None and fields[0] and uid not in users and len(users) < MAX_ENTRIES:
            users[uid] = User(uid, fields[0], fields[5], fields[6])
    return users


def parse_group(content: bytes) -> dict[int, Group]:
    """Groups by id from the text of a group file (group(5)), in the same way."""
    groups: dict[int, Group] = {}
    for fields in _lines(content, 3):
        gid = _number(fields[2])
        if gid is not None and fields[0] and gid not in groups and len(groups) < MAX_ENTRIES:
            groups[gid] = Group(gid, fields[0])
    return groups


def _lines(content: bytes, width: int) -> list[list[str]]:
    """The first ``width`` fields of every line that has as many. Lines with a text longer than MAX_TEXT are left
    out."""
    lines = (line.split(b":", width)[:width] for line in content.split(b"\n"))
    return [
        [text.decode("utf-8", "surrogateescape") for text in line]
        for line in lines
        if len(line) == width and all(len(text) <= MAX_TEXT for text in line)
    ]


def _number(text: str) -> int | None:
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 10 else 1 << 32
    return number if number < 1 << 32 else None


@dataclass(slots=True)
class _Tables:
    """The accounts of one root file system, and when its files were last examined."""

    users: Mapping[int, User] = field(default_factory=dict)
    groups: Mapping[int, Group] = field(default_factory=dict)
    stamps: dict[str, tuple[int, ...] | None] = field(default_factory=dict)
    checked: float = float("-inf")
    uids: IdMap = field(default_factory=IdMap)
    gids: IdMap = field(default_factory=IdMap)
    mapped: bool = False


def host_root(mounted: str = MOUNTED_HOST) -> str:
    """The root directory that has the host's /etc: in a container, whose own /etc is another, where the host's is
    mounted."""
    return mounted if Path(mounted + _PASSWD).exists() else "/"


class Accounts:
    """Names by id, of the host and of containers.

    ``limit`` is the most containers that are remembered; ``interval`` is for how many seconds files aren't examined
    again. ``host_root`` is where the host's root directory is: ``/proc/1/root`` or a mount for an agent in a container.
    Where it is this process's own root, the host's name service (LDAP, SSSD) is asked for ids that its files don't
    have.
    """

    def __init__(
        self,
        *,
        host_root: str = "/",
        limit: int = 512,
        interval: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        nss: Nss | None = None,
    ) -> None:
        self._interval = interval
        self._clock = clock
        self._host_root = host_root
        self._nss = nss if nss is not None else Nss(enabled=host_root == "/")
        self._host = _Tables()
        # By mount namespace and then by root directory: one chrooted process must not speak for its whole container.
        self._containers: LRUCache[int, dict[tuple[int, int], _Tables]] = LRUCache(limit)

    def user(self, pid: int, mount_ns: int | None, uid: int) -> User | None:
        """The user of an id (as the host counts), for a process in a container or on the host.

        ``mount_ns`` is the inode number of the container's mount namespace, None for the host. ``User.uid`` is
        the id as the container counts. None if there is no such user, or if the process is gone and nothing of
        its container is known; asking again with another process of the container may then succeed.
        """
        tables = self._tables(pid, mount_ns)
        number = tables.uids.inside(uid) if tables else None
        user = tables.users.get(number) if tables and number is not None else None
        if user is None and mount_ns is None and (entry := self._nss.user(uid)):
            return User(uid, *entry)
        return user

    def group(self, pid: int, mount_ns: int | None, gid: int) -> Group | None:
        """The group of an id, in the same way as ``user``."""
        tables = self._tables(pid, mount_ns)
        number = tables.gids.inside(gid) if tables else None
        group = tables.groups.get(number) if tables and number is not None else None
        if group is None and mount_ns is None and (name := self._nss.group(gid)):
            return Group(gid, name)
        return group

    def close(self) -> None:
        self._nss.close()

    def _tables(self, pid: int, mount_ns: int | None) -> _Tables | None:
        if mount_ns is None:
            if self._stale(self._host):
                with suppress(OSError), directory(self._host_root) as root_fd:
                    self._refresh(self._host, root_fd)
            return self._host
        with suppress(OSError), process_directory(pid) as process_fd:
            if namespace(process_fd, "mnt") == mount_ns:
                with process_root(process_fd) as root_fd:
                    return self._container(mount_ns, process_fd, root_fd)
        # The process is gone, or its number is another's now. The root that was seen first is the container's own.
        known = self._containers.get(mount_ns)
        return next(iter(known.values())) if known else None

    def _container(self, mount_ns: int, process_fd: int, root_fd: int) -> _Tables:
        status = os.fstat(root_fd)
        roots = self._containers.setdefault(mount_ns, {})
        tables = roots.setdefault((status.st_dev, status.st_ino), _Tables())
        if len(roots) > _ROOTS_OF_A_CONTAINER:
            roots.pop(list(roots)[1])
        if not tables.mapped and (maps := id_maps(process_fd)):
            tables.uids, tables.gids = maps
            tables.mapped = True
        if self._stale(tables):
            self._refresh(tables, root_fd)
        return tables

    def _stale(self, tables: _Tables) -> bool:
        return self._clock() - tables.checked >= self._interval

    def _refresh(self, tables: _Tables, root_fd: int) -> None:
        tables.checked = self._clock()
        if (content := _changed(tables, root_fd, _PASSWD)) is not None:
            tables.users = parse_passwd(content)
        if (content := _changed(tables, root_fd, _GROUP)) is not None:
            tables.groups = parse_group(content)


def _changed(tables: _Tables, root_fd: int, path: str) -> bytes | None:
    """The content of a file that changed since last time, else None.

    A file that is missing, too large or no regular file is empty.
    """
    stamp: tuple[int, ...] | None = None
    content = b""
    with suppress(OSError):
        stamp = _stamp(root_fd, path)
        if path in tables.stamps and tables.stamps[path] == stamp:
            return None
        if (file := read_regular(root_fd, path, MAX_FILE)) is not None:
            content = file
    tables.stamps[path] = stamp
    return content


def _stamp(root_fd: int, path: str) -> tuple[int, ...]:
    """Numbers that differ once the file has changed. Raises OSError."""
    fd = open_in_root(root_fd, path, os.O_PATH)
    try:
        status = os.fstat(fd)
    finally:
        os.close(fd)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
