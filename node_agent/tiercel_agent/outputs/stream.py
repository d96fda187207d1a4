"""Outputs to descriptors and files: one line an item."""

from __future__ import annotations

import contextlib
import os
import select
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from tiercel_agent.outputs.model import OutputClosed

Item = TypeVar("Item")


def write_all(descriptor: int, data: bytes) -> None:
    """Writes all of ``data``, also to a descriptor that somebody made non-blocking."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            select.select([], [descriptor], [])


class StreamOutput(Generic[Item]):
    """Lines to an open descriptor, which stays open: standard output."""

    def __init__(self, name: str, descriptor: int, encode: Callable[[Item], bytes]) -> None:
        self.name = name
        self._descriptor = descriptor
        self._encode = encode

    def write(self, items: Sequence[Item]) -> None:
        try:
            write_all(self._descriptor, b"".join(map(self._encode, items)))
        except BrokenPipeError as error:
            raise OutputClosed from error

    def reopen(self) -> None:
        pass

    def close(self) -> None:
        pass


class FileOutput(Generic[Item]):
    """Lines appended to a file, which is opened anew when it was renamed or removed.

    ``keep_alive`` False closes the file after each batch. A new file is readable by its owner and
    group alone, since command lines hold secrets.
    """

    def __init__(self, name: str, path: Path, encode: Callable[[Item], bytes], *, keep_alive: bool = True) -> None:
        """Raises OSError if the file can't be opened now."""
        self.name = name
        self._path = path
        self._encode = encode
        self._keep_alive = keep_alive
        self._descriptor: int | None = self._open()
        if not keep_alive:
            self.reopen()

    def write(self, items: Sequence[Item]) -> None:
        data = b"".join(map(self._encode, items))
        descriptor = self._current()
        start = os.fstat(descriptor).st_size
        try:
            write_all(descriptor, data)
        except OSError:
            # A full disk takes part of the data: without it, the next attempt repeats no line and tears none.
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, start)
            raise
        if not self._keep_alive:
            self.reopen()

    def reopen(self) -> None:
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    def close(self) -> None:
        self.reopen()

    def _open(self) -> int:
        # A pipe without a reader would block an open for writing alone; opened for both it doesn't (fifo(7)).
        mode = os.O_RDWR if self._path.is_fifo() else os.O_WRONLY
        return os.open(self._path, mode | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def _current(self) -> int:
        if self._descriptor is not None and self._moved(self._descriptor):
            self.reopen()
        if self._descriptor is None:
            self._descriptor = self._open()
        return self._descriptor

    def _moved(self, descriptor: int) -> bool:
        opened = os.fstat(descriptor)
        if not stat.S_ISREG(opened.st_mode):
            return False
        try:
            named = self._path.stat()
        except FileNotFoundError:
            return True
        return (opened.st_dev, opened.st_ino) != (named.st_dev, named.st_ino)
