"""The names of the files that a system call is about: as passed, made absolute, and as the kernel resolved them."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass

from tiercel_agent.context.paths import absolute, clean
from tiercel_agent.events.descriptor import OpenFile, OpenSocket, read_sockaddr
from tiercel_agent.events.kernel_record import KernelRecord
from tiercel_agent.events.processes import text
from tiercel_agent.events.syscalls import FREE_TEXT, RETURNED, Family
from tiercel_agent.kernel.records import Section

_AT_SYMLINK_NOFOLLOW, _AT_SYMLINK_FOLLOW, _UMOUNT_NOFOLLOW = 0x100, 0x400, 8
REFUSED = (-errno.EACCES, -errno.EPERM)
"""Results of failed calls for which the resolved name is looked up all the same."""
_TOWARDS = frozenset({"connect", "sendto", "sendmsg", "sendmmsg"})  # with the address that the socket talks to


@dataclass(frozen=True, slots=True)
class Name:
    """The names of one file. ``raw`` is the name as passed, ``given`` the same made absolute and cleaned, ``real`` the
    name as the kernel resolved it, where that is known to differ from ``given``."""

    raw: str | None
    given: str | None
    real: str | None = None


NOTHING = Name(None, None)

Resolve = Callable[[str, bool], str | None]
"""A path of the process as the kernel resolves it, and a link at its end too if that is true; None if that can't be
told. The path is absolute, and not cleaned."""


def _name(raw: str, given: str, real: str | None) -> Name:
    return Name(raw, given, real if real != given else None)


@dataclass(frozen=True, slots=True)
class Names:
    """``fd`` is the descriptor's file, ``path`` the one that the call acts on by name, ``source`` and ``target`` those
    of a rename or link."""

    fd: Name = NOTHING
    path: Name = NOTHING
    source: Name = NOTHING
    target: Name = NOTHING


def names_of(record: KernelRecord, resolve: Resolve) -> Names:
    """The names of the files of a system call. For calls that return no descriptor the resolved name is looked up now,
    in the process's root; ``context.paths`` says how far that can be trusted."""
    call = record.call
    if call.family is Family.PATHS:
        if call.descriptor == RETURNED:
            opened = _opened(record, resolve)
            return Names(fd=opened, path=opened)
        if call.path[1] < 0:
            return Names() if call.flags & FREE_TEXT else Names(path=_by_path(record, 0, resolve))
        target = _by_path(record, 1, resolve)
        if not call.flags & FREE_TEXT:
            return Names(source=_by_path(record, 0, resolve), target=target)
        if call.name == "mount":
            return Names(path=target)
        return Names(source=_link_text(record, target), target=target)
    if call.family is Family.EXEC:
        return Names(path=_executed(record, resolve))
    if call.name in _TOWARDS:
        return Names(fd=_connected(record))
    descriptor = record.descriptor
    if isinstance(descriptor, OpenFile):
        return Names(fd=Name(None, descriptor.path or descriptor.shown or None))
    if isinstance(descriptor, OpenSocket) and descriptor.path:
        return Names(fd=Name(None, descriptor.path))
    return Names()


def _passed(record: KernelRecord, slot: int) -> tuple[str, str] | None:
    """The path argument: as passed, and absolute but not cleaned. None if it couldn't be read."""
    sections = record.sections
    section = sections.get(Section.PATH_1 if slot else Section.PATH_0)
    if section is None:
        return None
    raw = text(section[1])
    if raw.startswith("/"):
        return raw, raw
    base = sections.get(Section.BASE_1 if slot else Section.BASE_0)
    if base is None or base[0]:
        return raw, raw
    return raw, f"{text(base[1])}/{raw}" if raw else text(base[1])


def _opened(record: KernelRecord, resolve: Resolve) -> Name:
    descriptor = record.descriptor
    real = descriptor.path if isinstance(descriptor, OpenFile) else None
    passed = _passed(record, 0)
    if passed is None:
        return Name(None, real)
    raw, full = passed
    if record.header.result in REFUSED:
        real = resolve(full, True)
    if not full.startswith("/"):
        return Name(raw, real or raw)
    return _name(raw, clean(full), real)


def _by_path(record: KernelRecord, slot: int, resolve: Resolve) -> Name:
    passed = _passed(record, slot)
    if passed is None:
        return NOTHING
    raw, full = passed
    result = record.header.result
    real = None
    if result >= 0 or result in REFUSED:
        real = resolve(full, _follows(record, slot))
    return _name(raw, clean(full), real)


def _follows(record: KernelRecord, slot: int) -> bool:
    """Whether the call follows a link, if the last name of the path is one."""
    header = record.header
    match record.call.name:
        case (
            "chmod"
            | "fchmodat"
            | "chown"
            | "truncate"
            | "chdir"
            | "chroot"
            | "pivot_root"
            | "mount"
            | "execve"
            | "execveat"
        ):
            return True
        case "fchownat":
            return not header.arg4 & _AT_SYMLINK_NOFOLLOW
        case "umount2":
            return not header.arg1 & _UMOUNT_NOFOLLOW
        case "linkat":
            return slot == 0 and bool(header.arg4 & _AT_SYMLINK_FOLLOW)
    return False


def _executed(record: KernelRecord, resolve: Resolve) -> Name:
    """The file that was to be executed, by the name that was passed. ``proc.exepath`` is the kernel's name for what
    then runs."""
    section = record.sections.get(Section.FILENAME)
    if section is None:
        return _by_path(record, 0, resolve)
    raw = text(section[1])
    return Name(raw, absolute(record.image.cwd, raw) if record.image.cwd or raw.startswith("/") else raw)


def _link_text(record: KernelRecord, link: Name) -> Name:
    section = record.sections.get(Section.PATH_0)
    if section is None:
        return NOTHING
    raw = text(section[1])
    if raw.startswith("/") or link.given is None:
        return Name(raw, clean(raw))
    return Name(raw, clean(f"{link.given.rpartition('/')[0]}/{raw}"))


def _connected(record: KernelRecord) -> Name:
    """The Unix socket that a call connects or sends to. The path that is passed may lead through links to the path that
    the socket was bound to."""
    address = record.sections.get(Section.ADDRESS)
    passed = read_sockaddr(address[1]) if address else None
    descriptor = record.descriptor
    bound = descriptor.path if isinstance(descriptor, OpenSocket) and descriptor.path else None
    if not isinstance(passed, str) or not passed:
        return Name(None, bound)
    if not passed.startswith("/"):
        return Name(passed, bound or passed)
    return _name(passed, clean(passed), bound if bound and bound.startswith("/") else None)
