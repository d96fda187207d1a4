"""The names of the files that a system call is about: as passed, made absolute, and as the kernel resolved them."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass

from tiercel_agent.context import paths
from tiercel_agent.events.descriptor import OpenFile, OpenSocket, read_sockaddr
from tiercel_agent.events.images import text
from tiercel_agent.events.kernel_record import KernelRecord
from tiercel_agent.events.opens import makes_nameless
from tiercel_agent.events.syscalls import FREE_TEXT, RETURNED, SENDS, TEXT_BEHIND, Family
from tiercel_agent.kernel import records
from tiercel_agent.kernel.records import Section
from tiercel_engine.event import LINKS
from tiercel_engine.uncertain import UNKNOWN, Beginning, Ending, Uncertain, Unknown, like

_AT_SYMLINK_NOFOLLOW, _AT_SYMLINK_FOLLOW = 0x100, 0x400
_FOLLOWING = frozenset(
    "chmod fchmodat chown truncate chdir chroot pivot_root mount execve execveat setxattr removexattr stat access "
    "faccessat utime utimes futimesat swapon swapoff acct quotactl".split()
)
"""Calls that follow a link at the end of a path."""
_FOLLOWING_UNLESS = {
    **{"fchownat": (4, _AT_SYMLINK_NOFOLLOW), "umount2": (1, 8), "newfstatat": (3, _AT_SYMLINK_NOFOLLOW)},
    **{"statx": (2, _AT_SYMLINK_NOFOLLOW), "faccessat2": (3, _AT_SYMLINK_NOFOLLOW)},
    **{"utimensat": (3, _AT_SYMLINK_NOFOLLOW), "open_tree": (2, _AT_SYMLINK_NOFOLLOW)},
    **{"mount_setattr": (2, _AT_SYMLINK_NOFOLLOW), "fspick": (2, 2), "fanotify_mark": (1, 4)},
    **{"inotify_add_watch": (2, 0x02000000)},
}
"""Those that do unless an argument, here by its index, has a bit."""
_FOLLOWING_IF = {
    **{("linkat", 0): (4, _AT_SYMLINK_FOLLOW), ("name_to_handle_at", 0): (4, _AT_SYMLINK_FOLLOW)},
    **{("move_mount", 0): (4, 1), ("move_mount", 1): (4, 0x10)},
}
"""The same for the first or second path of a call, if the argument has the bit."""
_FIRST_ARGUMENT = records.Header._fields.index("arg0")
REFUSED = (-errno.EACCES, -errno.EPERM)
"""Results of failed calls for which the resolved name is looked up all the same."""
_TOWARDS = frozenset({"connect", "sendto", "sendmsg", "sendmmsg"})  # with the address that the socket talks to


@dataclass(frozen=True, slots=True)
class Name:
    """The names of one file. ``raw`` is the name as passed, ``given`` the same made absolute and cleaned, ``real`` the
    name as the kernel resolved it, where that is known to differ from ``given``. Of names that are too long for a
    record only a part is known (``tiercel_engine.uncertain``)."""

    raw: str | None
    given: str | None
    real: str | None = None


NOTHING = Name(None, None)

Resolve = Callable[[str, bool], str | None]
"""A path of the process as the kernel resolves it, and a link at its end too if that is true; None if that can't be
told. The path is absolute, and not cleaned."""


def _name(raw: str, given: str, real: str | None) -> Name:
    return Name(raw, given, real if real != given else None)


def clean(path: str) -> str:
    """The path without ``.``, ``..`` and doubled slashes, as far as what is known of it tells."""
    if not isinstance(path, Uncertain):
        return paths.clean(path)
    if not isinstance(path, Ending):  # ``..`` may follow
        return path if isinstance(path, Unknown) else Uncertain(paths.clean(path))
    known = paths.clean(path)
    return UNKNOWN if known == "." or known.split("/")[0] == ".." else Ending(known)


def _in_folder(folder: str, name: str) -> str:
    """The path of a relative name, not cleaned."""
    if isinstance(folder, Unknown):
        return folder
    joined = f"{folder}/{name}" if name else folder
    return Ending(joined) if isinstance(folder, Ending) else joined


@dataclass(frozen=True, slots=True)
class Names:
    """``fd`` is the descriptor's file, ``path`` the one that the call acts on by name, ``source`` and ``target`` those
    of a rename, link or mount. The target of a link is what it leads to."""

    fd: Name = NOTHING
    path: Name = NOTHING
    source: Name = NOTHING
    target: Name = NOTHING


def in_order(record: KernelRecord, names: Names) -> tuple[Name, Name]:
    """The first and the second path of a call with two."""
    return (names.target, names.source) if record.call.name in LINKS else (names.source, names.target)


def names_of(record: KernelRecord, resolve: Resolve) -> Names:
    """The names of the files of a system call. For calls that return no descriptor the resolved name is looked up now,
    in the process's root; ``context.paths`` says how far that can be trusted."""
    call = record.call
    if call.family is Family.PATHS:
        if call.descriptor == RETURNED:
            opened = _opened(record, resolve)
            return Names(fd=opened, path=opened)
        if call.name == "fsconfig":
            return Names(source=Name(None, _disk(record)))
        if call.path[1] < 0 or call.flags & TEXT_BEHIND:
            return Names() if call.flags & FREE_TEXT else Names(path=_by_path(record, 0, resolve))
        second = _by_path(record, 1, resolve)
        if call.name == "mount":
            return Names(path=second, source=_device(record, resolve), target=second)
        first = _link_text(record, second) if call.flags & FREE_TEXT else _by_path(record, 0, resolve)
        return Names(source=second, target=first) if call.name in LINKS else Names(source=first, target=second)
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
    if section[0]:
        raw = Beginning(raw)
    if raw.startswith("/"):
        return raw, raw
    base = sections.get(Section.BASE_1 if slot else Section.BASE_0)
    if base is None:
        return raw, raw
    full = _in_folder(records.path(base), raw)
    return raw, Uncertain(full) if section[0] else full


def _opened(record: KernelRecord, resolve: Resolve) -> Name:
    descriptor = record.descriptor
    real = descriptor.path if isinstance(descriptor, OpenFile) else None
    passed = _passed(record, 0)
    if passed is None:
        return Name(None, real)
    raw, full = passed
    if record.header.flags & records.EXCHANGED and descriptor is None:
        real = UNKNOWN  # it was another file, and is gone
    elif makes_nameless(record):
        real = None
    if record.header.result in REFUSED:
        real = resolve(full, True)
    if not full.startswith("/") and not isinstance(full, Uncertain):
        return Name(raw, real or raw)
    return _name(raw, clean(full), real)


def _by_path(record: KernelRecord, slot: int, resolve: Resolve) -> Name:
    passed = _passed(record, slot)
    if passed is None:
        return NOTHING
    raw, full = passed
    result = record.header.result
    real = _captured(record, slot)
    if real is None and (result >= 0 or result in REFUSED):
        real = resolve(full, _follows(record, slot))
    return _name(raw, clean(full), real)


def _captured(record: KernelRecord, slot: int) -> str | None:
    """Where the path led, if a hook of the kernel has seen it. Nobody can have exchanged that meanwhile."""
    section = record.sections.get(Section.REAL_1 if slot else Section.REAL_0)
    return records.path(section) if section is not None else None


def _follows(record: KernelRecord, slot: int) -> bool:
    """Whether the call follows a link, if the last name of the path is one."""
    name = record.call.name
    if name in _FOLLOWING_UNLESS:
        index, bit = _FOLLOWING_UNLESS[name]
        return not _argument(record, index) & bit
    if (name, slot) in _FOLLOWING_IF:
        index, bit = _FOLLOWING_IF[name, slot]
        return bool(_argument(record, index) & bit)
    return name in _FOLLOWING


def _argument(record: KernelRecord, index: int) -> int:
    return int(record.header[_FIRST_ARGUMENT + index])


def _executed(record: KernelRecord, resolve: Resolve) -> Name:
    """The file that was to be executed, by the name that was passed. ``proc.exepath`` is the kernel's name for what
    then runs."""
    section = record.sections.get(Section.FILENAME)
    if section is None:
        return _by_path(record, 0, resolve)
    raw = text(section[1])
    if raw.startswith("/"):
        return Name(raw, clean(raw))
    cwd = record.image.cwd
    return Name(raw, clean(_in_folder(cwd, raw)) if cwd or isinstance(cwd, Unknown) else raw)


def _device(record: KernelRecord, resolve: Resolve) -> Name:
    """What is mounted: a disk by the kernel's name for it, whatever it was called, or a text that some file system
    understands."""
    section, real = record.sections.get(Section.PATH_0), _disk(record)
    if section is None:
        return NOTHING
    raw = text(section[1])
    if not raw.startswith("/"):
        return _name(raw, raw, real)
    return _name(raw, clean(raw), resolve(raw, True) if real is None else real)


def _disk(record: KernelRecord) -> str | None:
    """The disk that the call has mounted, if a hook of the kernel has seen it."""
    device = record.sections.get(Section.DEVICE)
    return f"/dev/{text(device[1])}" if device is not None else None


def _link_text(record: KernelRecord, link: Name) -> Name:
    section = record.sections.get(Section.PATH_0)
    if section is None:
        return NOTHING
    raw = text(section[1])
    if raw.startswith("/") or link.given is None:
        return Name(raw, clean(raw))
    return Name(raw, clean(_in_folder(like(link.given.rpartition("/")[0], link.given), raw)))


def _connected(record: KernelRecord) -> Name:
    """The Unix socket that a call connects or sends to. The path that is passed may lead through links to the path that
    the socket was bound to."""
    address = record.sections.get(Section.ADDRESS)
    passed = read_sockaddr(address[1]) if address else None
    descriptor = record.descriptor
    bound = descriptor.path if isinstance(descriptor, OpenSocket) and descriptor.path else None
    if not isinstance(passed, str) or not passed:
        return Name(None, bound)
    if record.call.flags & SENDS:  # whatever the socket is bound or connected to
        return Name(passed, clean(passed) if passed.startswith("/") else passed)
    if not passed.startswith("/"):
        return Name(passed, bound or passed)
    return _name(passed, clean(passed), bound if bound and bound.startswith("/") else None)
