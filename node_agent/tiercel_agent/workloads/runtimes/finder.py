"""Asks the runtimes of this machine for containers, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tiercel_agent.context.container import ContainerId
from tiercel_agent.workloads.bounds import bounded, chosen
from tiercel_agent.workloads.model import Container
from tiercel_agent.workloads.news import ContainerNews
from tiercel_agent.workloads.runtimes.model import CONTAINERD, DOCKER, NoAnswer, Runtime, Socket, is_there, sockets_for

_AGAIN = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds between two tries for a container. Its runtime knows it at about the time when its cgroup is made, and when
it has started a little later; or it is itself being restarted."""
_TRIES_WHEN_GONE = 3
_AT_ONCE = 16
_NOBODY = "0" * 64
_MOST_WAITING = 4096


class ContainerFinder:
    """``tell`` is called in the finder's thread: when a container is found, and when there is nobody to be asked.

    ``annotations`` are the names of those that are kept of pods.
    """

    def __init__(
        self, sockets: Iterable[Socket], annotations: Collection[str], tell: Callable[[ContainerNews], None]
    ) -> None:
        self._annotations = annotations
        self._failures: dict[Path, str] = {}
        self._sockets = tuple(sockets)
        self._tell = tell
        self._runtimes: dict[Path, Runtime] = {}
        self._searches: OrderedDict[ContainerId, asyncio.Task[None]] = OrderedDict()
        self._gone: set[ContainerId] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="runtimes", daemon=True)
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._rehearse(), self._loop)

    @property
    def failure(self) -> str:
        """What the runtimes that don't answer as they should last said; "" while all do."""
        return "; ".join(list(self._failures.values()))

    def find(self, container: ContainerId) -> None:
        """Begins a search, unless there is one. Returns at once."""
        self._loop.call_soon_threadsafe(self._begin, container)

    def gone(self, container: ContainerId) -> None:
        """The container is no more: what its runtime doesn't say soon, it won't."""
        self._loop.call_soon_threadsafe(self._note_gone, container)

    def close(self) -> None:
        """Closing twice is allowed."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=5)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._end())
        finally:
            self._loop.close()

    async def _end(self) -> None:
        searches = list(self._searches.values())
        for search in searches:
            search.cancel()
        await asyncio.gather(*searches, return_exceptions=True)
        for runtime in self._runtimes.values():
            await runtime.close()

    async def _rehearse(self) -> None:
        """Asks the runtimes that are there for nothing in particular: the first time takes longer than some
        containers live."""
        for socket in self._sockets:
            if is_there(socket.path):
                with suppress(Exception):
                    for in_pod in (True, False):
                        await self._runtime(socket).container(_NOBODY, in_pod=in_pod)

    def _runtime(self, socket: Socket) -> Runtime:
        runtime = self._runtimes.get(socket.path)
        if runtime is None:
            runtime = self._runtimes[socket.path] = _open(socket)
        return runtime

    def _begin(self, container: ContainerId) -> None:
        if container in self._searches:
            return
        self._searches[container] = self._loop.create_task(self._search(container))
        if len(self._searches) > _MOST_WAITING:
            _, oldest = self._searches.popitem(last=False)
            oldest.cancel()

    def _note_gone(self, container: ContainerId) -> None:
        if container in self._searches:
            self._gone.add(container)

    async def _search(self, container: ContainerId) -> None:
        try:
            for tries, pause in enumerate((*_AGAIN, None), start=1):
                found = await self._look(container)
                if found is not None:
                    self._tell(ContainerNews(container, found))
                    if found.started:
                        return
                elif tries == 1 and not self._present(container):
                    self._tell(ContainerNews(container, None))
                if pause is None or (container in self._gone and tries >= _TRIES_WHEN_GONE):
                    if found is None:
                        self._tell(ContainerNews(container, None))
                    return
                await asyncio.sleep(pause)
        finally:
            self._searches.pop(container, None)
            self._gone.discard(container)

    def _present(self, container: ContainerId) -> list[Socket]:
        wanted = sockets_for(container.runtime, self._sockets, in_pod=container.pod_uid is not None)
        return [socket for socket in wanted if is_there(socket.path)]

    async def _look(self, container: ContainerId) -> Container | None:
        for socket in self._present(container):
            async with self._at_once:
                try:
                    found = await self._runtime(socket).container(container.id, in_pod=container.pod_uid is not None)
                except NoAnswer as error:
                    self._failures[socket.path] = str(error)
                    continue
                except Exception as error:  # what one runtime answers must not end the search at others
                    self._failures[socket.path] = f"{socket.path}: {type(error).__name__}: {error}"
                    continue
            self._failures.pop(socket.path, None)
            if found is not None and _fits(found, container):
                return self._kept(found)
        return None

    def _kept(self, found: Container) -> Container:
        """The container with as much of what others wrote as is worth keeping."""
        pod = found.pod
        if pod is not None:
            pod = replace(pod, labels=bounded(pod.labels), annotations=chosen(pod.annotations, self._annotations))
        return replace(found, labels=bounded(found.labels), pod=pod)


def _fits(found: Container, container: ContainerId) -> bool:
    """Whether it is the one asked for: a cgroup's name may be made to look like another pod's."""
    pods = container.pod_uid, found.pod.uid if found.pod is not None else None
    return found.id == container.id and (None in pods or pods[0] == pods[1])


def _open(socket: Socket) -> Runtime:
    """Imported when there is a socket: the libraries take more memory than all else of this."""
    if socket.interface == DOCKER:
        from tiercel_agent.workloads.runtimes.docker import Docker  # noqa: PLC0415

        return Docker(socket.path, next(iter(socket.runtimes)))
    if socket.interface == CONTAINERD:
        from tiercel_agent.workloads.runtimes.containerd import Containerd  # noqa: PLC0415

        return Containerd(socket.path)
    from tiercel_agent.workloads.runtimes.cri import Cri  # noqa: PLC0415

    return Cri(socket.path, "docker" if "docker" in socket.runtimes else "cri-o")
