"""Landlock: a process gives up, for good, the files of all folders but those that it names (kernel 5.13 and newer).

Source of numbers and structures: the kernel's include/uapi/linux/landlock.h. A process needs no powers for it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path
from struct import Struct

from tiercel_agent.powers.libc import LIBC, checked

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on all architectures
_VERSION = 1
_PATH_BENEATH = 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
# Rights to files that each version of the interface knows, from the first: all of them are given up.
_RIGHTS = (1 << 13, 1 << 14, 1 << 15, 1 << 15, 1 << 16)
_BIND_TCP = 1  # from the fourth version
_ABSTRACT_SOCKETS_AND_SIGNALS = 3  # from the sixth
_RULESET = Struct("=QQQ")
_RULE = Struct("=Qi")


def version() -> int:
    """The version of the interface; 0 where the kernel hasn't got it."""
    return max(0, int(LIBC.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)))


def read_only_below(paths: Iterable[str]) -> bool:
    """From now on this thread, and threads and processes that it starts, can read the files and folders below these
    paths, and no others; they write and execute none. False where the kernel hasn't got Landlock. Raises OSError."""
    known = version()
    if not known:
        return False
    rights = _RIGHTS[min(known, len(_RIGHTS)) - 1] - 1
    network = _BIND_TCP if known >= 4 else 0
    scoped = _ABSTRACT_SOCKETS_AND_SIGNALS if known >= 6 else 0
    size = 24 if known >= 6 else 16 if known >= 4 else 8
    attributes = _RULESET.pack(rights, network, scoped)[:size]
    ruleset = checked(LIBC.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(size), 0))
    try:
        for path in paths:
            _allow(ruleset, path)
        checked(LIBC.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)
    return True


def _allow(ruleset: int, path: str) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # it isn't there
    try:
        rights = _READ_FILE | _READ_DIR if Path(path).is_dir() else _READ_FILE
        checked(LIBC.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, _RULE.pack(rights, opened), 0))
    finally:
        os.close(opened)
