"""A file to which whole lines are appended, also after it was renamed, removed or linked to elsewhere."""

from __future__ import annotations

import os
import select
import stat
from pathlib import Path


def write_all(descriptor: int, data: bytes, patience: float | None = None) -> None:
    """Writes all of ``data``, also to a descriptor that somebody made non-blocking.

    Raises TimeoutError if such a descriptor takes nothing for ``patience`` seconds; None: waits for ever.
    """
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            writable = select.poll()
            writable.register(descriptor, select.POLLOUT)
            if not writable.poll(None if patience is None else patience * 1000):
                raise TimeoutError(f"nothing was read for {patience:g} seconds") from None


class AppendedFile:
    """Opened at the first need, and anew when it was renamed or removed. All functions raise OSError.

    A new file is readable by its owner and group alone, since command lines hold secrets. ``path`` may be a link,
    a device or a named pipe, whose reader has ``patience`` seconds (None: for ever) to make room.
    """

    def __init__(self, path: Path, patience: float | None = None) -> None:
        self.path = path
        self._patience = patience
        self._descriptor: int | None = None
        self._torn = False

    def current(self) -> int:
        """The descriptor of the file that the path leads to now."""
        if self._descriptor is not None and self._moved(self._descriptor):
            self.close()
        if self._descriptor is None:
            self._descriptor = self._open()
        return self._descriptor

    def append(self, data: bytes) -> None:
        """Adds all of ``data``, which are whole lines, or none of it, as far as the file can be cut back."""
        descriptor = self.current()
        start = os.fstat(descriptor).st_size
        if self._torn:  # the half of a line that is there stays one
            data = b"\n" + data
        try:
            write_all(descriptor, data, self._patience)
        except OSError:
            # A full disk may have taken a part of the data, which is removed: so no line is torn or written twice.
            self._torn = not self._cut_back(descriptor, start)
            raise
        self._torn = False

    def close(self) -> None:
        """Closes the file; the next write opens it anew."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    def _open(self) -> int:
        # A pipe without a reader would block an open for writing alone; opened for both it doesn't (fifo(7)).
        mode = os.O_RDWR | os.O_NONBLOCK if self.path.is_fifo() else os.O_WRONLY
        return os.open(self.path, mode | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def _moved(self, descriptor: int) -> bool:
        opened = os.fstat(descriptor)
        if not stat.S_ISREG(opened.st_mode):
            return False
        try:
            named = self.path.stat()
        except FileNotFoundError:
            return True
        return (opened.st_dev, opened.st_ino) != (named.st_dev, named.st_ino)

    @staticmethod
    def _cut_back(descriptor: int, size: int) -> bool:
        try:
            os.ftruncate(descriptor, size)
        except OSError:  # a pipe, or a file that may only grow
            return False
        return True
