"""The process that asks the runtimes. It can look containers up, and passes on what it is told of them.

A runtime's socket is as good as root of the node, and what comes from there is read by large libraries. So the agent
has neither: this process has both, and no capabilities, and no files but the folders of the sockets.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from tiercel_agent.powers.giving_up import Limits, give_up
from tiercel_agent.powers.own_files import own_files
from tiercel_agent.workloads.runtimes.model import CONTAINERD, DOCKER, NoAnswer, Runtime, Socket
from tiercel_agent.workloads.runtimes.packets import LONGEST, Question, Reply, read_question, reply_line
from tiercel_agent.workloads.runtimes.recognition import recognise
from tiercel_engine.located import located

LIMITS = Limits(memory=320 << 20, files=256, nice=0)


def open_runtime(socket: Socket) -> Runtime:
    """The runtime behind a socket. Its module is imported only here, since the libraries need more memory than all the
    rest of the package."""
    if socket.interface == DOCKER:
        from tiercel_agent.workloads.runtimes.docker import Docker  # noqa: PLC0415

        return Docker(socket.path, next(iter(socket.runtimes)))
    if socket.interface == CONTAINERD:
        from tiercel_agent.workloads.runtimes.containerd import Containerd  # noqa: PLC0415

        return Containerd(socket.path)
    from tiercel_agent.workloads.runtimes.cri import Cri  # noqa: PLC0415

    return Cri(socket.path, next(iter(socket.runtimes)))


class Runtimes:
    """Those that listen on some sockets: each is asked once who it is."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._recognised: dict[int, Socket] = {}
        self._opened: dict[int, Runtime] = {}

    async def answer(self, question: Question) -> Reply:
        """Raises nothing."""
        number, path = question.number, self._paths[question.socket]
        try:
            found = await self._socket(question.socket)
            if not question.id:
                return Reply(number, interface=found.interface, runtime=next(iter(found.runtimes)))
            if question.socket not in self._opened:
                self._opened[question.socket] = open_runtime(found)
            return Reply(number, await self._opened[question.socket].container(question.id, in_pod=question.in_pod))
        except NoAnswer as error:
            return Reply(number, failure=str(error))
        except Exception as error:  # whatever one runtime answers, others are still asked
            return Reply(number, failure=f"{path}: an answer that makes no sense: {located(error)}")

    async def _socket(self, number: int) -> Socket:
        if number not in self._recognised:
            self._recognised[number] = await recognise(self._paths[number])
        return self._recognised[number]


async def serve(connection: socket.socket, paths: Sequence[Path]) -> None:
    """Answers questions until the connection ends."""
    reader, writer = await asyncio.open_connection(sock=connection, limit=LONGEST)
    runtimes = Runtimes(paths)
    tasks: set[asyncio.Task[None]] = set()

    async def answer(question: Question) -> None:
        writer.write(reply_line(await runtimes.answer(question)))

    while line := await reader.readline():
        task = asyncio.create_task(answer(read_question(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    os._exit(0)


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # the agent decides when it ends
    give_up(own_files(), LIMITS)
    connection = socket.socket(fileno=int(sys.argv[1]))
    asyncio.run(serve(connection, [Path(path) for path in json.loads(sys.argv[2])]))


if __name__ == "__main__":
    main()
