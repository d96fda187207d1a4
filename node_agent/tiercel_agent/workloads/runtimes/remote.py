"""The agent's end of the process that asks the runtimes: it is started, asked, and started anew when it has ended."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from tiercel_agent.workloads.model import Container
from tiercel_agent.workloads.runtimes.model import NoAnswer, Socket
from tiercel_agent.workloads.runtimes.packets import LONGEST, Question, Reply, question_line, read_reply
from tiercel_engine.located import located

PATIENCE = 30.0
"""Seconds for an answer: the runtime's own time for each call, and the start of the process."""
_RESTART = 1.0  # seconds between two starts
_END = 1.0  # seconds that its end is waited for

_Folder = tuple[int, int] | None
"""A folder's device and inode; None if it isn't there."""


class RuntimeProcess:
    """Asks these sockets by a process of its own. All methods belong to one event loop.

    The process is given the folders of the sockets, open: it needs no rights to find them. It is started anew when
    one of the folders is another one by now.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = tuple(paths)
        self._folders = tuple(dict.fromkeys(path.parent for path in self._paths))
        self._seen: tuple[_Folder, ...] = ()
        self._inside: dict[Path, str] = {}
        self._popen: subprocess.Popen[bytes] | None = None
        self._started = float("-inf")
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._number = 0
        self._starting = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """The number of the process; None while there is none."""
        return self._popen.pid if self._popen is not None and self._popen.poll() is None else None

    async def recognise(self, path: Path) -> Socket:
        """The runtime behind a socket, with the interface that it speaks. Raises NoAnswer if none answers."""
        reply = await self._ask(path)
        return Socket(path, reply.interface, frozenset({reply.runtime}))

    async def ask(self, path: Path, id_: str, *, in_pod: bool) -> Container | None:
        """As ``Runtime.container``, of the runtime behind a socket."""
        return (await self._ask(path, id_, in_pod=in_pod)).container

    async def _ask(self, path: Path, id_: str = "", *, in_pod: bool = False) -> Reply:
        writer = await self._running()
        number = self._number = self._number + 1
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            writer.write(question_line(Question(number, self._paths.index(path), id_, in_pod)))
            return await asyncio.wait_for(answer, PATIENCE)
        except TimeoutError:
            self._end()
            raise NoAnswer("the process that asks the runtimes doesn't answer") from None
        finally:
            self._waiting.pop(number, None)

    async def close(self) -> None:
        """Closing twice is allowed."""
        self._end()

    async def _running(self) -> asyncio.StreamWriter:
        async with self._starting:
            return await self._running_or_started()

    async def _running_or_started(self) -> asyncio.StreamWriter:
        folders = tuple(map(_folder, self._folders))
        if self._writer is None or self.pid is None or folders != self._seen:
            self._end()
            if time.monotonic() - self._started < _RESTART:
                raise NoAnswer("the process that asks the runtimes is about to be started again")
            self._started, self._seen = time.monotonic(), folders
            try:
                self._writer = await self._start()
            except OSError as error:
                raise NoAnswer(f"the process that asks the runtimes can't be started: {located(error)}") from error
        return self._writer

    async def _start(self) -> asyncio.StreamWriter:
        own, other = socket.socketpair()
        opened: list[int] = []
        try:
            inside: dict[Path, str] = {}
            for folder in self._folders:
                with suppress(OSError):
                    opened.append(os.open(folder, os.O_PATH | os.O_DIRECTORY))
                    inside[folder] = f"/proc/self/fd/{opened[-1]}"
            self._inside = {path: f"{inside.get(path.parent, path.parent)}/{path.name}" for path in self._paths}
            told = [self._inside[path] for path in self._paths]
            module = "tiercel_agent.workloads.runtimes.process"
            self._popen = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
                [sys.executable, "-I", "-m", module, str(other.fileno()), json.dumps(told)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(other.fileno(), *opened),
                cwd="/",
                env={"LANG": "C.UTF-8"},
                start_new_session=True,
            )
        finally:
            other.close()
            for each in opened:
                os.close(each)
        reader, writer = await asyncio.open_connection(sock=own, limit=LONGEST)
        self._reading = asyncio.create_task(self._read(reader))
        return writer

    async def _read(self, reader: asyncio.StreamReader) -> None:
        """Takes replies until the process has ended, or says what is none."""
        why = "the process that asks the runtimes has ended"
        try:
            while line := await reader.readline():
                reply = read_reply(line)
                answer = self._waiting.get(reply.number)
                if answer is None or answer.done():
                    continue
                if reply.failure:
                    answer.set_exception(NoAnswer(self._as_here(reply.failure)))
                else:
                    answer.set_result(reply)
        except OSError:
            pass  # it was killed with questions unread
        except ValueError as error:
            why = f"the process that asks the runtimes says what makes no sense: {located(error)}"
        self._end(why)

    def _as_here(self, failure: str) -> str:
        """With the paths as the agent has them."""
        for path, inside in self._inside.items():
            failure = failure.replace(inside, str(path))
        return failure

    def _end(self, why: str = "the process that asks the runtimes was ended") -> None:
        popen, self._popen = self._popen, None
        writer, self._writer = self._writer, None
        reading, self._reading = self._reading, None
        if writer is not None:
            writer.close()
        if reading is not None and reading is not asyncio.current_task():
            reading.cancel()
        if popen is not None:
            popen.kill()  # it is this user's
            with suppress(subprocess.TimeoutExpired):
                popen.wait(_END)
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(NoAnswer(why))


class RemoteRuntime:
    """A ``Runtime`` that is asked by the process."""

    def __init__(self, process: RuntimeProcess, path: Path) -> None:
        self._process = process
        self._path = path

    async def container(self, id_: str, *, in_pod: bool) -> Container | None:
        return await self._process.ask(self._path, id_, in_pod=in_pod)

    async def close(self) -> None:
        await self._process.close()


def _folder(path: Path) -> _Folder:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
