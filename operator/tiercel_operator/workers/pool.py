"""Has pieces of work done by processes of their own."""

from __future__ import annotations

import asyncio
import logging
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from tiercel_operator.workers import process
from tiercel_operator.workers.limits import Limits
from tiercel_operator.workers.process import DONE, LENGTH

LOGGER = logging.getLogger(__name__)

LONGEST_ANSWER: Final = 32 << 20
"""Bytes."""
_GRACE = 10.0  # seconds beyond the limit: the first request waits until the process has started
_END = 2.0  # seconds that its end is waited for


class NotDone(Exception):
    """A piece of work has no answer; the message says why."""


class TookTooMuch(NotDone):
    """It exceeded its limits."""


class NotStarted(NotDone):
    """There is no process for it, which says nothing about the work."""


class WorkerPool:
    """Starts a process for each piece of work. ``modules`` are those of the functions that are asked for.

    How many run at once is up to those who ask (``FairSlots``). One thread calls all methods.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        self._modules = tuple(modules)
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    async def run(self, limits: Limits, task: Callable[..., bytes], *arguments: object) -> bytes:
        """What the function returns that is called with the arguments by another process. It is sent by its name, the
        arguments by pickle; the answer is bytes, so that nothing but bytes comes from who has handled hostile input.
        The work ends when this is cancelled. Raises NotDone."""
        request = pickle.dumps((task, arguments))
        reader, writer = await asyncio.open_connection(sock=self._begin(limits))
        try:
            async with asyncio.timeout(limits.time + _GRACE):
                with suppress(ConnectionError):  # who has ended without reading it has no answer either
                    writer.write(request)
                    await writer.drain()
                    writer.write_eof()
                kind = await reader.readexactly(1)
                length = int.from_bytes(await reader.readexactly(LENGTH))
                answer = await reader.readexactly(length) if length <= LONGEST_ANSWER else None
        except (OSError, EOFError, TimeoutError):
            answer = None
        finally:
            writer.transport.abort()  # which ends whoever is still at work
        if answer is None:
            raise TookTooMuch(f"it took more than {limits}, and was stopped")
        if kind != DONE:
            raise NotDone(answer.decode("utf-8", "replace"))
        return answer

    def close(self) -> None:
        """Ends the process. Work that is under way goes on until its own end or limit."""
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_END)
        self._control = self._process = None

    def _begin(self, limits: Limits) -> socket.socket:
        """This end of the socket of a new process, which holds itself to the limits. Raises NotStarted."""
        own, others = socket.socketpair()
        own.setblocking(False)
        with others:
            for is_last in (False, True):
                try:
                    socket.send_fds(self._connected(), [pickle.dumps(limits)], [others.fileno()])
                except OSError as error:
                    self._forget()
                    if is_last:
                        own.close()
                        raise NotStarted(f"no process can be started for it: {error.strerror or error}") from error
                else:
                    break
        return own

    def _connected(self) -> socket.socket:
        """The socket of the process, which is started if there is none. May raise OSError."""
        if self._control is not None:
            return self._control
        own, others = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        own.setblocking(False)
        with others:
            try:
                self._process = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
                    [sys.executable, "-P", "-m", process.__name__, str(others.fileno()), *self._modules],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(others.fileno(),),
                    cwd="/",
                    start_new_session=True,
                )
            except OSError:
                own.close()
                raise
        self._control = own
        return own

    def _forget(self) -> None:
        """Gives up a process that is gone."""
        if self._process is not None:
            LOGGER.warning("the process that checks are made by has ended, and is started anew")
        self.close()
