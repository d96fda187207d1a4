"""The process that workers are made of: for each piece of work it makes a copy of itself, which ends with it.

It has imported everything before and has one thread, so that a copy costs some milliseconds and shares its memory. It
does no work itself, and so nothing that is wrong with a piece of work lasts. It ends when the operator is gone.
"""

from __future__ import annotations

import fcntl
import gc
import os
import pickle
import signal
import socket
import sys
from collections.abc import Sequence
from importlib import import_module

from tiercel_engine.located import located
from tiercel_operator.workers.limits import Limits

DONE, FAILED = b"d", b"f"
"""The first byte of an answer: what the task returned follows, or the type and place of an error."""
LENGTH = 8
"""Bytes of the length of what follows, after the first one."""
_LONGEST_REQUEST = 4096


def serve(fd: int, modules: Sequence[str]) -> None:
    """Takes requests from a socket (Unix, SOCK_SEQPACKET), and never returns. A request is limits and, beside them, the
    socket of the piece of work."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the operator decides when it ends
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # copies that have ended leave nothing
    for module in modules:
        import_module(module)
    gc.collect()
    gc.freeze()  # the collector would write to pages that copies share
    control = socket.socket(fileno=fd)
    while True:
        packet, given, _, _ = socket.recv_fds(control, _LONGEST_REQUEST, 1)
        if not packet:
            os._exit(0)
        try:
            child = os.fork()
        except OSError:
            child = -1  # the operator sees that the socket is closed
        if not child:
            try:
                control.close()
                _work(given[0], pickle.loads(packet))  # noqa: S301 (it comes from this program)
            finally:
                os._exit(0)
        for each in given:
            os.close(each)


def _work(fd: int, limits: Limits) -> None:
    """Does one piece of work: a function, sent by its name, and its arguments. Without an answer it took too much."""
    limits.apply()
    with socket.socket(fileno=fd) as connection:
        with connection.makefile("rb") as given:
            request = given.read()
        _end_with(connection)
        try:
            task, arguments = pickle.loads(request)  # noqa: S301 (it comes from this program)
            kind, answer = DONE, task(*arguments)
        except MemoryError:
            return
        except Exception as error:
            kind, answer = FAILED, located(error).encode("utf-8", "replace")
        signal.signal(signal.SIGIO, signal.SIG_IGN)
        connection.sendall(kind + len(answer).to_bytes(LENGTH) + answer)


def _end_with(connection: socket.socket) -> None:
    """Has the kernel end this process when the other side closes the connection: nobody waits for the answer then."""
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(connection, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(connection, fcntl.F_SETFL, fcntl.fcntl(connection, fcntl.F_GETFL) | os.O_ASYNC)


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2:])
