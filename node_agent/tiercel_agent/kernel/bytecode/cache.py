"""Compiled programs on the disk, so that a restart needs no compiler.

What is in these files is loaded into the kernel. So a file is used only if nobody but the agent's own user can have
written it: each folder on the way and the file itself belong to that user or to root, others may not write them, and no
link is followed. A digest shows that a file was cut short or changed by hand. The key stands for everything that the
bytecode depends on: another kernel, other offsets or other C code have another key.

A file is a line with the format and the digest of the rest, then JSON. What can't be used or kept is logged.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import time
from typing import Any

from tiercel_agent.kernel.bytecode.compiler import FLAGS, MAPS, PROGRAMS, RING_PROGRAMS, Bytecode, decoded, encoded
from tiercel_agent.kernel.bytecode.hook_points import HOOK_POINTS
from tiercel_agent.kernel.bytecode.program_text import kconfig, program_text
from tiercel_engine.located import located

LOGGER = logging.getLogger(__name__)

MOST = 12
"""Files that are kept. Programs differ by what the rules ask for and by the sizes of their tables."""
MOST_BYTES = 8 << 20
"""Of all files together."""

_FORMAT = b"tiercel-programs 1 "
_SUFFIX = ".programs"
_NEW = ".new-"  # how the names of files begin that are being written
_ABANDONED = 3600.0  # seconds after which such a file is left over from a crash
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class CacheError(Exception):
    """Nothing can be kept in the folder, or a file in it can't be used; the message says why."""


@dataclass(frozen=True, slots=True)
class BytecodeCache:
    """The files in one folder. No method raises errors of the disk: each different one is logged once."""

    folder: Path
    _warned: set[str] = field(default_factory=set, init=False)

    def find(self, key: str) -> Bytecode | None:
        """The bytecode that is kept under the key; None if there is none that can be trusted."""
        name = key + _SUFFIX
        try:
            with _opened(self.folder, make=False) as folder:
                content = _read(folder, name)
                bytecode = _checked(content, key)
                with suppress(OSError):
                    os.utime(name, dir_fd=folder, follow_symlinks=False)  # the oldest files are removed first
                return bytecode
        except FileNotFoundError:
            return None
        except CacheError as error:
            self._warn(f"compiled programs in {self.folder} are passed over, and compiled anew: {error}")
        except OSError as error:
            self._warn(f"compiled programs in {self.folder} can't be read: {error.strerror} ({located(error)})")
        return None

    def keep(self, key: str, bytecode: Bytecode) -> None:
        """Keeps the bytecode under the key, in place of an earlier one, and removes the oldest files if there are too
        many."""
        try:
            with _opened(self.folder, make=True) as folder:
                _write(folder, key + _SUFFIX, _framed(key, bytecode))
                _prune(folder)
        except CacheError as error:
            self._warn(f"compiled programs are not kept in {self.folder}: {error}")
        except OSError as error:
            self._warn(f"compiled programs can't be kept in {self.folder}: {error.strerror} ({located(error)})")

    def _warn(self, line: str) -> None:
        if line not in self._warned:
            self._warned.add(line)
            LOGGER.warning("%s", line)


def key_of(macros: Mapping[str, int]) -> str:
    """The key of the bytecode for these macros: a digest of everything that it depends on, in hexadecimal."""
    depends = {
        "machine": platform.machine(),
        "kernel": [platform.release(), platform.version()],
        "text": [program_text(), kconfig()],
        "compiling": [FLAGS, PROGRAMS, list(HOOK_POINTS), RING_PROGRAMS, MAPS],
        "macros": dict(macros),
    }
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()


def _compiler() -> str | None:
    """The version of bcc, which is not loaded for that; None if it isn't installed."""
    with suppress(PackageNotFoundError):
        return version("bcc")
    return None


def _framed(key: str, bytecode: Bytecode) -> bytes:
    content = {"key": key, "compiler": _compiler(), **encoded(bytecode)}
    text = json.dumps(content).encode()
    return _FORMAT + hashlib.sha256(text).hexdigest().encode() + b"\n" + text


def _checked(content: bytes, key: str) -> Bytecode:
    head, _, text = content.partition(b"\n")
    if head != _FORMAT + hashlib.sha256(text).hexdigest().encode():
        raise CacheError("the file is cut short or was changed")
    try:
        value: dict[str, Any] = json.loads(text)
        bytecode = decoded(value)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CacheError("the file holds something else") from error
    if value.get("key") != key:
        raise CacheError("the file was made for another kernel or other rules")
    # Without a compiler there is nothing better than what another version of it has made.
    if value.get("compiler") != (here := _compiler()) and here is not None:
        raise CacheError(f"they were made by another version of the compiler than {here}")
    return bytecode


# folders and files


@contextmanager
def _opened(path: Path, *, make: bool) -> Iterator[int]:
    """The folder's descriptor. Raises CacheError if others could have written into it, or into a folder above it.

    The folder and its parent may not be links. Links further above are resolved, and the folders they lead to are
    checked. ``make`` creates the folder and its parent if they are missing.
    """
    path = path.absolute()
    above = Path(os.path.realpath(path.parent.parent))
    names = [*above.parts[1:], *filter(None, (path.parent.name, path.name))]
    folder = os.open("/", _FOLDER)
    try:
        _refuse_writable(folder, Path("/"))
        for depth, name in enumerate(names):
            if make and depth >= len(names) - 2:
                with suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=folder)
            try:
                inner = os.open(name, _FOLDER, dir_fd=folder)
            except NotADirectoryError:
                raise CacheError(f"{Path('/', *names[: depth + 1])} is no folder, or a link") from None
            os.close(folder)
            folder = inner
            _refuse_writable(folder, Path("/", *names[: depth + 1]), own=depth == len(names) - 1)
        yield folder
    finally:
        os.close(folder)


def _refuse_writable(folder: int, path: Path, *, own: bool = False) -> None:
    """Raises CacheError if others may write in the folder; above our ``own`` one it may be sticky, as /tmp is."""
    status = os.fstat(folder)
    if status.st_uid != os.geteuid() and (own or status.st_uid != 0):
        raise CacheError(f"{path} belongs to another user")
    if status.st_mode & _OTHERS_WRITE and (own or not status.st_mode & stat.S_ISVTX):
        raise CacheError(f"others may write in {path}")


def _read(folder: int, name: str) -> bytes:
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise CacheError(f"{name} is a link") from error
        raise
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise CacheError(f"{name} is no file of its own")
        if status.st_uid != os.geteuid() or status.st_mode & _OTHERS_WRITE:
            raise CacheError(f"others may have written {name}")
        if status.st_size > MOST_BYTES:
            raise CacheError(f"{name} is too large")
        return file.read(MOST_BYTES)


def _write(folder: int, name: str, content: bytes) -> None:
    """Writes the file so that all of it or nothing has that name. Raises OSError."""
    new = f"{_NEW}{os.getpid()}"
    with suppress(FileNotFoundError):
        os.unlink(new, dir_fd=folder)
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(fd)
        os.rename(new, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with suppress(OSError):
            os.unlink(new, dir_fd=folder)
        raise


def _prune(folder: int) -> None:
    """Removes the oldest files beyond MOST and MOST_BYTES. Raises OSError."""
    kept = []
    for name in os.listdir(folder):
        if not name.endswith(_SUFFIX) and not name.startswith(_NEW):
            continue  # not ours
        with suppress(FileNotFoundError):
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not name.startswith(_NEW):
                kept.append((status.st_mtime_ns, status.st_size, name))
            elif time() - status.st_mtime > _ABANDONED:
                os.unlink(name, dir_fd=folder)
    size = 0
    for number, (_, file_size, name) in enumerate(sorted(kept, reverse=True)):
        size += file_size
        if number >= MOST or size > MOST_BYTES:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
