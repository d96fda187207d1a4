"""What a process gives up before it deals with anything that others have written, and what it may use."""

from __future__ import annotations

import contextlib
import os
import resource
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from struct import Struct

from tiercel_agent.powers.landlock import read_only_below
from tiercel_agent.powers.libc import LIBC, checked

USER = 61376
"""The number of the user, and of its group, whose process that of tenants' sinks is: nobody else's, as far as one can
choose."""

_SET_NO_NEW_PRIVS, _CAP_AMBIENT, _CLEAR_ALL = 38, 47, 4
_CAPABILITY_VERSION = 0x20080522
_HEADER, _SETS = Struct("=Ii"), Struct("=6I")
_STACK = 1 << 19  # bytes of a thread's stack: there is one for each sink
_FILE = 1 << 20  # bytes of a file in memory: TLS reads keys from there
_LOOK = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class Limits:
    """``memory`` is bytes that it can write to, ``files`` how many it can have open, ``seconds`` of processor time that
    may pass while Python can't do anything else: a library that never returns ends the process. ``nice`` is how far it
    stands back behind others."""

    memory: int = 384 << 20
    files: int = 4096
    seconds: int = 20
    nice: int = 10


def give_up(readable: Iterable[str], limits: Limits) -> None:
    """Gives up capabilities, the way to more of them, and all files but ``readable``. Raises OSError.

    The process must not have begun any thread.
    """
    checked(LIBC.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    checked(LIBC.prctl(_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0))
    checked(LIBC.capset(_HEADER.pack(_CAPABILITY_VERSION, 0), _SETS.pack(*(0,) * 6)))
    with contextlib.suppress(OSError):  # of all processes, the kernel ends this one first where memory is short
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")
    os.nice(limits.nice)
    _limit(resource.RLIMIT_DATA, limits.memory)
    _limit(resource.RLIMIT_NOFILE, limits.files)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, _FILE)
    threading.stack_size(_STACK)
    read_only_below(readable)


def keep_time(limits: Limits) -> None:
    """Begins a thread by which the kernel ends this process once it gets no chance to run."""
    threading.Thread(target=_renew, args=(limits.seconds,), daemon=True).start()


def _renew(seconds: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    while True:
        used = resource.getrusage(resource.RUSAGE_SELF)
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + 1 + seconds, hard))
        time.sleep(_LOOK)


def _limit(kind: int, most: int) -> None:
    _, hard = resource.getrlimit(kind)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (most, most))
