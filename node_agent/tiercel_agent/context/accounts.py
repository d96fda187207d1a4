"""Names of users and groups, from the root file system of the process that they concern.

A container has its own /etc/passwd: uid 1000 is another user there. Whoever controls that file system chooses the
names, so a container's files are read for processes of that container only, with limits, and never for the host's: a
user who makes a mount namespace of their own can't rename themselves by that (``mount_ns`` is None for every process
that is in no container, whatever namespaces it has).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from cachetools import LRUCache

from tiercel_agent.context.account_files import (
    GROUP,
    PASSWD,
    AccountFiles,
    Root,
    Stamps,
    files_of_host,
    files_of_process,
)
from tiercel_agent.context.idmap import IdMap
from tiercel_agent.context.nss import Nss
from tiercel_agent.lookups.ask import Ask

MAX_ENTRIES = 20_000
MAX_TEXT = 256
_ROOTS_OF_A_CONTAINER = 4
_MOST_PROCESSES = 4096
_HOST = "the host's accounts"
FIRST_ROOT = "/proc/1/root"
"""The root directory of the first process: that of the host for an agent in a container that sees the host's processes.
Nothing of the host has to be mounted for it, and a file that is replaced there is seen as it is then."""


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
    """The accounts of one root file system, as of when its files were last read."""

    root: Root = (0, 0)
    stamps: Stamps = field(default_factory=dict)
    users: Mapping[int, User] = field(default_factory=dict)
    groups: Mapping[int, Group] = field(default_factory=dict)
    id_maps: tuple[IdMap, IdMap] | None = None

    def take(self, files: AccountFiles) -> None:
        self.root, self.stamps = files.root, files.stamps
        self.id_maps = self.id_maps or files.id_maps
        if (content := files.changed.get(PASSWD)) is not None:
            self.users = parse_passwd(content)
        if (content := files.changed.get(GROUP)) is not None:
            self.groups = parse_group(content)

    def user(self, uid: int) -> User | None:
        """The user of an id, as the host counts."""
        number = self.id_maps[0].inside(uid) if self.id_maps else uid
        return self.users.get(number) if number is not None else None

    def group(self, gid: int) -> Group | None:
        number = self.id_maps[1].inside(gid) if self.id_maps else gid
        return self.groups.get(number) if number is not None else None


def host_root(first: str = FIRST_ROOT) -> str:
    """The host's root directory: "/" where this process has the same one, or may not look at the first process."""
    try:
        return "/" if Path(first).samefile("/") else first
    except OSError:
        return "/"


class Accounts:
    """Names by id, of the host and of containers.

    ``ask`` makes look-ups in files. ``limit`` is the most containers that are remembered; ``interval`` is for how many
    seconds files aren't examined again. ``host_root`` is where the host's root directory is. Where it is this process's
    own root, the host's name service (LDAP, SSSD) is asked for ids that its files don't have.
    """

    def __init__(
        self,
        ask: Ask,
        *,
        host_root: str = "/",
        limit: int = 512,
        interval: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        nss: Nss | None = None,
    ) -> None:
        self._ask = ask
        self._interval = interval
        self._clock = clock
        self._host_root = host_root
        self._nss = nss if nss is not None else Nss(enabled=host_root == "/")
        self._host = _Tables()
        self._host_examined = float("-inf")
        # By mount namespace and then by root directory: one chrooted process must not speak for its whole container.
        self._containers: LRUCache[int, dict[Root, _Tables]] = LRUCache(limit)
        # By process and mount namespace: when it was last examined, and in which root it was.
        self._examined: LRUCache[tuple[int, int | None, int], tuple[float, Root | None]] = LRUCache(_MOST_PROCESSES)

    def user(
        self, pid: int, mount_ns: int | None, uid: int, concerned: str = "", start: int | None = None
    ) -> User | None:
        """The user of an id (as the host counts), for a process in a container or on the host.

        ``mount_ns`` is the inode number of the container's mount namespace, None for the host. ``User.uid`` is
        the id as the container counts. None if there is no such user, or if the process is gone and nothing of
        its container is known; asking again with another process of the container may then succeed. ``concerned``
        is whose files are read, as ``Lookups.ask`` wants it. ``start`` is when the process has started, in clock ticks
        since boot: a later process of its number isn't taken for it.
        """
        tables = self._tables(pid, start, mount_ns, concerned)
        user = tables.user(uid) if tables else None
        if user is None and mount_ns is None and (entry := self._nss.user(uid)):
            return User(uid, *entry)
        return user

    def group(
        self, pid: int, mount_ns: int | None, gid: int, concerned: str = "", start: int | None = None
    ) -> Group | None:
        """The group of an id, in the same way as ``user``."""
        tables = self._tables(pid, start, mount_ns, concerned)
        group = tables.group(gid) if tables else None
        if group is None and mount_ns is None and (name := self._nss.group(gid)):
            return Group(gid, name)
        return group

    def close(self) -> None:
        self._nss.close()

    def _tables(self, pid: int, start: int | None, mount_ns: int | None, concerned: str) -> _Tables | None:
        now = self._clock()
        if mount_ns is None:
            if now - self._host_examined >= self._interval:
                self._host_examined = now
                files = self._ask(_HOST, partial(files_of_host, self._host_root, {self._host.root: self._host.stamps}))
                if files is not None:
                    self._host.take(files)
            return self._host
        key = pid, start, mount_ns
        examined, root = self._examined.get(key, (float("-inf"), None))
        if now - examined >= self._interval:
            root = self._examine(pid, start, mount_ns, concerned)
            self._examined[key] = now, root
        tables = self._containers.get(mount_ns) or {}
        return tables.get(root) if root is not None else next(iter(tables.values()), None)

    def _examine(self, pid: int, start: int | None, mount_ns: int, concerned: str) -> Root | None:
        """Brings the accounts in the process's root up to date; None if it is gone, or its number is another's now, or
        its files don't answer. The root that was seen first is the container's own, and counts then."""
        roots = self._containers.get(mount_ns) or {}
        known = {root: tables.stamps for root, tables in roots.items()}
        files = self._ask(concerned, partial(files_of_process, pid, mount_ns, known, start))
        if files is None:
            return None
        roots.setdefault(files.root, _Tables()).take(files)
        if len(roots) > _ROOTS_OF_A_CONTAINER:
            roots.pop(list(roots)[1])
        self._containers[mount_ns] = roots
        return files.root
