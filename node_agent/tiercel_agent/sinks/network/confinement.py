"""What the interpreter refuses in the process of tenants' sinks, whatever library asks for it and in whatever thread.

It tells of each `connect` and each datagram with the numeric address, before it happens; libraries resolve names and
connect by themselves. It tells of each file that is opened and each program that is started, too. This holds for
everything that uses Python's sockets and files. It is no sandbox for code that is hostile itself: that the process is
another user's, without powers, is what holds then (``tiercel_agent.powers``).
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

from tiercel_agent.powers.own_files import own_files
from tiercel_agent.sinks.network.egress_policy import EgressPolicy, Forbidden, may_reach

_SENT = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_PROGRAMS = frozenset(
    {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn"}
)
_WATCHED = _SENT | _PROGRAMS | {"open"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class ForbiddenFile(OSError):
    """A tenant's sink tried to open a file, or to start a program."""

    def __init__(self) -> None:
        super().__init__(errno.EACCES, "a sink of this namespace has no files and no programs")

    def __str__(self) -> str:
        return str(self.strerror)


def confine(policy: Callable[[], EgressPolicy]) -> None:
    """Holds this process, for the rest of its life, to ``policy`` and to ``own_files``."""
    readable = own_files()
    roots = tuple(f"{path.rstrip('/')}/" for path in readable)

    # Called for very much: all but what is watched ends here. The end of the interpreter takes a module's names away
    # before it takes the hook, hence the defaults.
    def hook(event: str, arguments: tuple[Any, ...], watched: frozenset[str] = _WATCHED) -> None:
        if event not in watched:
            return
        if event in _SENT:
            _check(arguments[0], arguments[1], policy())
        elif event != "open":
            raise ForbiddenFile
        elif not isinstance(arguments[0], (int, type(None))):  # these are open already
            real = os.path.realpath(os.fsdecode(arguments[0]))
            # Python writes bytecode beside what is imported, and goes on if it can't.
            if arguments[2] & _WRITING or not (real in readable or real.startswith(roots)):
                raise ForbiddenFile

    sys.addaudithook(hook)


def _check(used: socket.socket, address: object, policy: EgressPolicy) -> None:
    if address is None:
        return  # where the socket is connected to, which was checked
    inet = used.family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple) and address
    if not inet or not may_reach(address[0], policy):  # type: ignore[index]
        raise Forbidden
