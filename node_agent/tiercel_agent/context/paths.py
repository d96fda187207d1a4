"""Paths as processes give them: made absolute, cleaned, and resolved as the kernel would.

For calls that return a descriptor the kernel reports the resolved path itself. For others (unlink, rename, mkdir, chmod
…) the path is resolved here, after the call. That is **a race**: whoever can change the links of a path between the
call and this look-up decides its result. So the resolved name is a second name beside the one that was passed and never
replaces it: a rule that matches either of them matches.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tiercel_agent.context.rootfs import CACHED, namespace, open_in_root, process_directory, process_root, start_of

_OWN_ROOT = re.compile(r"/proc/(?:self(?:/task/\d+)?|thread-self)/root(?=/|$)")
_LONGEST = 4096
_DELETED = " (deleted)"
_PROC_SUPER_MAGIC = 0x9FA0  # statfs(2)
_LIBC = ctypes.CDLL(None, use_errno=True)


def clean(path: str) -> str:
    """The path without ``.``, ``..`` and doubled slashes, by its text alone; ``..`` at the root leads to the root.

    A relative path stays relative, and keeps the ``..`` that lead out of it. A slash at the end is removed.
    """
    if not path:
        return ""
    absolute_path = path.startswith("/")
    parts: list[str] = []
    for part in path.split("/"):
        if part in ("", "."):
            continue
        if part != "..":
            parts.append(part)
        elif parts and parts[-1] != "..":
            parts.pop()
        elif not absolute_path:
            parts.append(part)
    joined = "/".join(parts)
    return f"/{joined}" if absolute_path else joined or "."


def absolute(cwd: str, path: str) -> str:
    """The absolute path, cleaned, of a path in the working directory ``cwd``. An empty path is the directory itself."""
    return clean(path if path.startswith("/") else f"{cwd}/{path}")


@dataclass(frozen=True, slots=True)
class Mates:
    """Processes that are likely to have the same root directory as another one: those of its ancestors that have its
    mount namespace. ``processes`` are pids and starts in clock ticks."""

    mount_namespace: int
    processes: tuple[tuple[int, int], ...]


_Place = Callable[[int, int, str, int], str | None]


def resolve_in_root(
    pid: int, path: str, *, start: int | None = None, follow: bool = False, mates: Mates | None = None
) -> str | None:
    """The path as the kernel resolves it inside that process's root. With ``start``, the process's start in clock
    ticks, it must be that process and no later one of its number. If it is gone, the first of its mates that is still
    there is taken.

    Links in its directory part are followed; the last name only with ``follow``, and if it leads to something.
    ``path`` is absolute as the process sees it and not cleaned (``clean`` reads ``link/..`` as nothing, the kernel
    doesn't). None if the processes or the directory are gone, or if the path leads into /proc, which looks different to
    every process. What is opened is opened without effect (O_PATH). A directory on a file system whose server
    doesn't answer (NFS, FUSE with allow_other) holds the caller.
    """
    return _resolved(pid, start, path, follow, mates, _place)


def resolve_from_cache(
    pid: int, path: str, *, start: int | None = None, follow: bool = False, mates: Mates | None = None
) -> str | None:
    """The same from what the kernel has in its cache, without asking any file server.

    What a process has just named is in the cache, unless a file server has forbidden to keep it. None for what isn't,
    for a link that was changed since it was last followed, and before Linux 5.12. A root directory on NFS may hold the
    caller even so.
    """
    return _resolved(pid, start, path, follow, mates, _cached_place)


def _resolved(pid: int, start: int | None, path: str, follow: bool, mates: Mates | None, place: _Place) -> str | None:
    if not path.startswith("/") or len(path) > _LONGEST:
        return None
    path = _without_own_root(path)
    directory, _, name = path.rstrip("/").rpartition("/")
    if name in ("", ".", ".."):
        directory, name = path, ""
    try:
        with _root_of(pid, start, mates) as (owner, root_fd):
            if follow and name:
                try:
                    return place(owner, root_fd, path, 0)
                except BlockingIOError:  # the cache doesn't tell where the last name leads
                    return None
                except OSError:
                    pass
            resolved = place(owner, root_fd, directory or "/", os.O_DIRECTORY)
    except (OSError, ValueError, IndexError):
        return None
    if resolved is None:
        return None
    return f"{resolved.rstrip('/')}/{name}" if name else resolved


@contextmanager
def _root_of(pid: int, start: int | None, mates: Mates | None) -> Iterator[tuple[int, int]]:
    """The process, or the mate in place of it, and its root directory. Raises OSError if none is there any more."""
    candidates: list[tuple[int, int | None, int | None]] = [(pid, start, None)]
    if mates is not None:
        candidates += [(number, began, mates.mount_namespace) for number, began in mates.processes]
    for number, began, mounts in candidates:
        with suppress(OSError, ValueError, IndexError), ExitStack() as stack:
            process_fd = stack.enter_context(process_directory(number))
            root_fd = stack.enter_context(process_root(process_fd))
            if began in (None, start_of(process_fd)) and mounts in (None, namespace(process_fd, "mnt")):
                kept = stack.pop_all()
                break
    else:
        raise ProcessLookupError(pid)
    with kept:
        yield number, root_fd


def _without_own_root(path: str) -> str:
    """The path with ``/proc/self/root/x`` as ``/x``, which it is for the process, though not when seen from outside."""
    path = re.sub(r"/(?:\.?/)+", "/", path)
    while match := _OWN_ROOT.match(path):
        path = path[match.end() :] or "/"
    return path


def _place(_pid: int, root_fd: int, path: str, flags: int) -> str | None:
    """The path of a file or directory from the root, with links followed; None if it was removed or lies in a
    procfs."""
    fd = open_in_root(root_fd, path, os.O_PATH | flags)
    try:
        if os.fstat(fd).st_nlink == 0 or _is_procfs(fd):
            return None
        return _below(_link(root_fd), _link(fd))
    finally:
        os.close(fd)


def _cached_place(pid: int, root_fd: int, path: str, flags: int) -> str | None:
    """The same, without asking a file server for anything: by what the kernel itself knows of the descriptor."""
    fd = open_in_root(root_fd, path, os.O_PATH | flags, CACHED)
    try:
        place = _link(fd)
        if place.endswith(_DELETED) or _file_system_type(pid, _mount_id(fd)) == "proc":
            return None
        return _below(_link(root_fd), place)
    finally:
        os.close(fd)


def _below(root: str, place: str) -> str | None:
    """The path from the root of a place that this process has a path for."""
    if root == "/":
        return place
    if place == root:
        return "/"
    return place.removeprefix(root) if place.startswith(f"{root}/") else None


def _mount_id(fd: int) -> str:
    lines = Path(f"/proc/self/fdinfo/{fd}").read_text("ascii").splitlines()
    return next(line.split()[1] for line in lines if line.startswith("mnt_id:"))


def _file_system_type(pid: int, mount_id: str) -> str | None:
    """The type of a mount that a process sees below its root directory; None if it sees no such mount there."""
    for line in Path(f"/proc/{pid}/mountinfo").read_bytes().splitlines():
        if line.startswith(f"{mount_id} ".encode()):
            return line.partition(b" - ")[2].split()[0].decode("ascii", "replace")
    return None


def _link(fd: int) -> str:
    return os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115


def _is_procfs(fd: int) -> bool:
    status = ctypes.create_string_buffer(256)  # struct statfs has 120 bytes; its first word is f_type
    return _LIBC.fstatfs(fd, status) == 0 and ctypes.c_long.from_buffer(status).value == _PROC_SUPER_MAGIC
