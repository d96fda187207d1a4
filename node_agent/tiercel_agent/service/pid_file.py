"""The pid file: it is there while the agent runs, and keeps a second agent from starting with it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


class AlreadyRunning(Exception):
    """Another process holds the pid file; the message names it."""


@contextlib.contextmanager
def pid_file(path: Path) -> Iterator[None]:
    """Makes the file with this process's id in it, and removes it at the end.

    The file is locked. The kernel releases the lock when the process ends, in whatever way: a file that was left behind
    doesn't look like a running agent. Raises AlreadyRunning or OSError.
    """
    descriptor = _locked(path)
    try:
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _locked(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode("ascii", "replace").strip()
            os.close(descriptor)
            who = f"process {holder}" if holder.isdecimal() else "another process"
            raise AlreadyRunning(f"{who} holds the pid file {path}: stop it first") from None
        # If the former holder has removed the file between our open and our lock, we hold a file without a name.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)
