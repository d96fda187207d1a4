"""Searches for containers at the runtimes of this machine, which another process asks, in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path

from tiercel_agent.context.container import ContainerId
from tiercel_agent.workloads.bounds import bounded, chosen
from tiercel_agent.workloads.model import Container
from tiercel_agent.workloads.news import ContainerNews
from tiercel_agent.workloads.runtimes.model import NoAnswer, Runtime, Socket, is_there, sockets_for
from tiercel_agent.workloads.runtimes.remote import RemoteRuntime, RuntimeProcess
from tiercel_engine.located import located

_AGAIN = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds between two tries for a container. Its runtime knows it from about the time on when its cgroup is made, and
when it was started a little later. The runtime may also be just restarting."""
_TRIES_WHEN_GONE = 3
_AT_ONCE = 16
_NO_CONTAINER = "0" * 64
_MOST_WAITING = 4096
_LOG = logging.getLogger(__name__)


class ContainerFinder:
    """Searches for containers. ``report`` is called in the finder's thread when a container has been found, and when it
    can't be.

    ``annotations`` are the names of the pods' annotations that are kept.
    """

    def __init__(
        self, sockets: Iterable[Socket], annotations: Collection[str], report: Callable[[ContainerNews], None]
    ) -> None:
        self._annotations = annotations
        self._failures: dict[Path, str] = {}
        self._sockets = tuple(sockets)
        self._report = report
        self._process = RuntimeProcess(self._sockets)
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
        """The last failures of the runtimes that don't answer as they should; "" if all do."""
        return "; ".join(list(self._failures.values()))

    def find(self, container: ContainerId) -> None:
        """Begins to search for a container, unless a search for it is under way. Returns at once."""
        self._loop.call_soon_threadsafe(self._begin, container)

    def gone(self, container: ContainerId) -> None:
        """The container has gone. Its search ends after a few more tries."""
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
        """Asks each runtime that is there for a container that doesn't exist: the first request takes longer than some
        containers live."""
        for socket in self._sockets:
            if is_there(socket.path):
                try:
                    for in_pod in (True, False):
                        await self._runtime(socket).container(_NO_CONTAINER, in_pod=in_pod)
                except Exception as error:  # it will be asked again, and then the failure is reported
                    _LOG.debug("%s doesn't answer: %s", socket.path, located(error))

    def _runtime(self, socket: Socket) -> Runtime:
        runtime = self._runtimes.get(socket.path)
        if runtime is None:
            runtime = self._runtimes[socket.path] = RemoteRuntime(self._process, socket)
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
                facts = await self._look(container)
                if facts is not None:
                    self._report(ContainerNews(container, facts))
                    if facts.started:
                        return
                elif tries == 1 and not self._present(container):
                    self._report(ContainerNews(container, None))
                if pause is None or (container in self._gone and tries >= _TRIES_WHEN_GONE):
                    if facts is None:
                        self._report(ContainerNews(container, None))
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
                    facts = await self._runtime(socket).container(container.id, in_pod=container.pod_uid is not None)
                except NoAnswer as error:
                    self._failures[socket.path] = str(error)
                    continue
                except Exception as error:  # whatever one runtime answers, the others are still asked
                    if socket.path not in self._failures:
                        _LOG.warning("%s: %s", socket.path, located(error))
                    self._failures[socket.path] = f"{socket.path}: {type(error).__name__}: {error}"
                    continue
            self._failures.pop(socket.path, None)
            if facts is not None and _fits(facts, container):
                return self._kept(facts)
        return None

    def _kept(self, facts: Container) -> Container:
        """The container with its labels and annotations cut to a bounded size."""
        pod = facts.pod
        if pod is not None:
            pod = replace(pod, labels=bounded(pod.labels), annotations=chosen(pod.annotations, self._annotations))
        return replace(facts, labels=bounded(facts.labels), pod=pod)


def _fits(facts: Container, container: ContainerId) -> bool:
    """Whether the runtime's container is the one that was searched for. A cgroup's name may have been chosen to look
    like that of another pod."""
    pods = container.pod_uid, facts.pod.uid if facts.pod is not None else None
    return facts.id == container.id and (None in pods or pods[0] == pods[1])
