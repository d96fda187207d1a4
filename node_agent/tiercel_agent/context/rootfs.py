"""Opening files inside another process's root, where every name and every file may be hostile.

openat2 (Linux 5.6) resolves a path as if the process had been chrooted there: absolute links and ``..`` stay
inside, whatever is changed meanwhile (openat2(2), RESOLVE_IN_ROOT). Links of /proc that jump elsewhere are refused.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

_SYS_OPENAT2 = 437  # the same on every architecture
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_IN_ROOT = 0x10
CACHED = 0x20
"""Only what the kernel has in its cache: no file server is asked (openat2(2), RESOLVE_CACHED; Linux 5.12)."""
START = 19
"""Among what follows the name in /proc/PID/stat: the process's start."""
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_in_root(root_fd: int, path: str, flags: int, resolve: int = 0) -> int:
    """Open a path below the directory ``root_fd`` as if that were ``/``; returns a descriptor. Raises OSError.

    ``resolve`` is 0 or CACHED.
    """
    how = _OpenHow(flags | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS | resolve)
    fd = _LIBC.syscall(
        ctypes.c_long(_SYS_OPENAT2),
        ctypes.c_int(root_fd),
        ctypes.c_char_p(os.fsencode(path)),
        ctypes.byref(how),
        ctypes.c_size_t(ctypes.sizeof(how)),
    )
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return int(fd)


@contextmanager
def directory(path: str) -> Iterator[int]:
    """A descriptor (O_PATH) of a directory of this process's own. Raises OSError."""
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def process_directory(pid: int) -> Iterator[int]:
    """A descriptor of ``/proc/PID``: it stays with that process, and fails once it is gone. Raises OSError."""
    with directory(f"/proc/{pid}") as fd:
        yield fd


@contextmanager
def process_root(process_fd: int) -> Iterator[int]:
    """A descriptor (O_PATH) of the root directory of the process behind a ``/proc/PID`` descriptor. Raises OSError."""
    fd = os.open("root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=process_fd)
    try:
        yield fd
    finally:
        os.close(fd)


def namespace(process_fd: int, kind: str) -> int | None:
    """The inode number of a namespace (``mnt``, ``pid`` …) of a process, None if it is gone."""
    try:
        text = os.readlink(f"ns/{kind}", dir_fd=process_fd)
        return int(text.partition("[")[2].rstrip("]"))
    except (OSError, ValueError):
        return None


def parse_stat(content: bytes) -> tuple[str, list[bytes]]:
    """The name, and what follows it from the state on, of ``/proc/PID/stat``.

    The name is in parentheses and may itself contain parentheses, blanks and line ends. Raises ValueError.
    """
    first, last = content.index(b"("), content.rindex(b")")
    return content[first + 1 : last].decode("utf-8", "surrogateescape"), content[last + 1 :].split()


def start_of(process_fd: int) -> int:
    """When the process has started, in clock ticks since boot. Raises OSError, ValueError or IndexError."""
    fd = os.open("stat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process_fd)
    try:
        return int(parse_stat(os.read(fd, 4096))[1][START])
    finally:
        os.close(fd)


def read_regular(root_fd: int, path: str, limit: int) -> bytes | None:
    """The content of a regular file of at most ``limit`` bytes; None for anything else. Raises OSError.

    A FIFO or device in its place doesn't block, and is not affected: the file is first opened without effect (O_PATH),
    and read only if it is a regular file.
    """
    handle = open_in_root(root_fd, path, os.O_PATH)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
            return None
        fd = os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    finally:
        os.close(handle)
    try:
        content = bytearray()
        while len(content) <= limit and (block := os.read(fd, 65536)):
            content += block
    finally:
        os.close(fd)
    return bytes(content) if len(content) <= limit else None
