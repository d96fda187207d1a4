"""The pid file: there while the agent runs, and never two agents under one."""

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
    """Holds ``path`` with this process's id in it.

    A lock on the file tells a running agent from a file that was left behind: the kernel lets go of
    it with the process, whatever ended that. Raises AlreadyRunning or OSError.
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
        # The former holder may have removed the file between our open and our lock: then this lock is on nothing.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)
