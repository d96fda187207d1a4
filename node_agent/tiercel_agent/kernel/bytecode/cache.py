"""Compiled programs on the disk, so that a restart needs no compiler.

What is found here is loaded into the kernel. So it counts only if nobody but the agent's own user can have written it:
each folder on the way and the file itself belong to that user or to root, others may not write them, and no link is
followed. A digest tells a file that was cut short or changed by hand. The key stands for all that the bytecode depends
on: another kernel, other offsets, other C code have another one.

A file is a line with the format and the digest of what follows, then JSON.
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

from tiercel_agent.kernel.bytecode.compiler import FLAGS, MAPS, PROGRAMS, Bytecode, decoded, encoded
from tiercel_agent.kernel.bytecode.sources import kconfig, program_text

LOGGER = logging.getLogger(__name__)

MOST = 12
"""Files that are kept. Programs differ by what rules ask for and by the size of their tables, so there are several."""
MOST_BYTES = 8 << 20
"""Of all files together."""

_FORMAT = b"tiercel-programs 1 "
_SUFFIX = ".programs"
_NEW = ".new-"  # how files begin that are being written
_ABANDONED = 3600.0  # seconds after which nobody is writing them any more
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class CacheError(Exception):
    """Nothing can be kept there, or what is there doesn't count: why, in words."""


@dataclass(frozen=True, slots=True)
class BytecodeCache:
    """What is wrong with the folder is in the log, and each thing once; no method raises because of the disk."""

    folder: Path
    _logged: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    def find(self, key: str) -> Bytecode | None:
        """What is kept under the key, if it can be trusted."""
        name = key + _SUFFIX
        try:
            with _opened(self.folder, make=False) as folder:
                content = _read(folder, name)
                found = _checked(content, key)
                with suppress(OSError):
                    os.utime(name, dir_fd=folder, follow_symlinks=False)  # the oldest go first
                return found
        except FileNotFoundError:
            return None
        except CacheError as error:
            self._warn(f"compiled programs in {self.folder} are passed over, and compiled anew: {error}")
        except OSError as error:
            self._warn(f"compiled programs in {self.folder} can't be read: {error.strerror}")
        return None

    def keep(self, key: str, bytecode: Bytecode) -> None:
        """Keeps it in place of what has been there by that key, and removes what is too much."""
        try:
            with _opened(self.folder, make=True) as folder:
                _write(folder, key + _SUFFIX, _framed(key, bytecode))
                _prune(folder)
        except CacheError as error:
            self._warn(f"compiled programs are not kept in {self.folder}: {error}")
        except OSError as error:
            self._warn(f"compiled programs can't be kept in {self.folder}: {error.strerror}")

    def _warn(self, line: str) -> None:
        if line not in self._logged:
            self._logged.add(line)
            LOGGER.warning("%s", line)


def key_of(macros: Mapping[str, int]) -> str:
    """What bytecode is kept under: a digest of all that it depends on."""
    depends = {
        "machine": platform.machine(),
        "kernel": [platform.release(), platform.version()],
        "text": [program_text(), kconfig()],
        "compiling": [FLAGS, PROGRAMS, MAPS],
        "macros": dict(macros),
    }
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()


def _compiler() -> str | None:
    """The version of bcc, found without loading it; None if there is none."""
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
    # Without a compiler there is nothing better to be had than what another version has made.
    if value.get("compiler") != (here := _compiler()) and here is not None:
        raise CacheError(f"they were made by another version of the compiler than {here}")
    return bytecode


# folders and files


@contextmanager
def _opened(path: Path, *, make: bool) -> Iterator[int]:
    """The folder's descriptor. Raises CacheError for one that others could have written into.

    It, and the one that it is in, may not be links; those above are taken where they really are, and looked at there.
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
    """Where a folder is open to all but sticky, as /tmp, others can't exchange what is in it."""
    found = os.fstat(folder)
    if found.st_uid != os.geteuid() and (own or found.st_uid != 0):
        raise CacheError(f"{path} belongs to another user")
    if found.st_mode & _OTHERS_WRITE and (own or not found.st_mode & stat.S_ISVTX):
        raise CacheError(f"others may write in {path}")


def _read(folder: int, name: str) -> bytes:
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise CacheError(f"{name} is a link") from error
        raise
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise CacheError(f"{name} is no file of its own")
        if found.st_uid != os.geteuid() or found.st_mode & _OTHERS_WRITE:
            raise CacheError(f"others may have written {name}")
        if found.st_size > MOST_BYTES:
            raise CacheError(f"{name} is too large")
        return file.read(MOST_BYTES)


def _write(folder: int, name: str, content: bytes) -> None:
    """All of it or nothing is there by that name. Raises OSError."""
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
    """Removes the oldest of what is too much. Raises OSError."""
    kept = []
    for name in os.listdir(folder):
        if not name.endswith(_SUFFIX) and not name.startswith(_NEW):
            continue  # not ours
        with suppress(FileNotFoundError):
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not name.startswith(_NEW):
                kept.append((found.st_mtime_ns, found.st_size, name))
            elif time() - found.st_mtime > _ABANDONED:
                os.unlink(name, dir_fd=folder)
    size = 0
    for number, (_, bytes_of_it, name) in enumerate(sorted(kept, reverse=True)):
        size += bytes_of_it
        if number >= MOST or size > MOST_BYTES:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
