"""Keeps the node's files from libraries that a tenant's settings drive: Apprise reads templates and keys by path."""

from __future__ import annotations

import errno
import mimetypes
import os
import sys
import sysconfig
import zoneinfo
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tiercel_agent.sinks.network.scoped import once, scoped

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class ForbiddenFile(OSError):
    """A tenant's sink tried to open a file."""

    def __init__(self) -> None:
        super().__init__(errno.EACCES, "it names a file of the node, which a sink of this namespace can't read")

    def __str__(self) -> str:
        return str(self.strerror)


@contextmanager
def no_files() -> Iterator[None]:
    """Within this thread, only what belongs to Python and its libraries can be opened, for reading.

    Whether a file was asked for is told to nobody: libraries open what they have found to be there.
    """
    _install()
    with scoped(_is_on, True):
        yield


@contextmanager
def files_for_ourselves() -> Iterator[None]:
    """Within ``no_files``, what the agent itself reads, whatever a tenant says."""
    with scoped(_is_on, False):
        yield


_is_on: ContextVar[bool] = ContextVar("no_files", default=False)


@once
def _install() -> None:
    sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[Any, ...], is_on: ContextVar[bool] = _is_on) -> None:
    if event != "open" or not is_on.get():
        return
    path, _, flags = arguments
    if isinstance(path, int) or path is None:
        return  # what is open already
    # Python writes bytecode beside what is imported, and goes on if it can't.
    if flags & _WRITING or not _of_python(os.fsdecode(path)):
        raise ForbiddenFile


def _of_python(path: str) -> bool:
    real = os.path.realpath(path)
    return real in _known_files() or any(real.startswith(root) for root in _roots())


def _roots() -> set[str]:
    """Directories of Python's own and of its libraries, with a slash at the end."""
    paths = sysconfig.get_paths()
    known = [paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    folders = {os.path.realpath(path) for path in (*known, *filter(os.path.isabs, sys.path), *zoneinfo.TZPATH)}
    return {f"{path}/" for path in folders if path != "/"}


def _known_files() -> set[str]:
    return {os.path.realpath(path) for path in (*mimetypes.knownfiles, os.devnull, "/etc/localtime")}
