"""The process that makes look-ups. Its threads each take a request, call the function, and send the answer.

A thread that waits for a file server may be one that nothing ends, not even SIGKILL, and then its process doesn't end
either. So it must be none of the agent's: the agent ends and starts again meanwhile. This process ends when the agent
has closed its end of the socket, as soon as the kernel lets it.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

from tiercel_agent.lookups.packets import MOST, READY, THREADS, answer, read_request
from tiercel_engine.located import located


def serve(fd: int, modules: Sequence[str]) -> None:
    """Serves requests on a socket (Unix, SOCK_SEQPACKET), and never returns.

    ``modules`` are those of the functions that will be called: they are imported before and not by the first request.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # the agent decides when it ends: last events still need answers
    for module in modules:
        import_module(module)
    for _ in range(THREADS - 1):
        threading.Thread(target=_take_requests, args=(fd,), daemon=True).start()
    os.write(fd, READY)
    _take_requests(fd)


def _take_requests(fd: int) -> None:
    with suppress(OSError):
        # Reading and writing are calls that no rule can ask for. Receiving and sending would make events.
        while packet := os.read(fd, MOST):
            number, look_up = read_request(packet)
            begun, sleeps, value, failure = time.monotonic(), _sleeps(), None, ""
            try:
                value = look_up()
            except Exception as error:  # the agent logs it, and goes on without an answer
                failure = located(error)
            slept = time.monotonic() - begun if _sleeps() > sleeps else 0.0
            for part in answer(number, value, failure, slept):
                os.write(fd, part)
    os._exit(0)


def _sleeps() -> int:
    """How often this thread has given its processor up by itself. On a busy machine it is taken from it, too."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2:])
