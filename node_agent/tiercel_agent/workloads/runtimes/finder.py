"""Searches for containers at the runtimes of this machine, which another process asks, in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
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
from tiercel_agent.workloads.vouching import vouches
from tiercel_engine.located import located

_AGAIN = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds between two tries for a container. Its runtime knows it from about the time on when its cgroup is made, and
when it was started a little later. The runtime may also be just restarting."""
_TRIES_WHEN_GONE = 3
_RECOGNISE_AGAIN = 1.0  # seconds
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
        self, sockets: Iterable[Path], annotations: Collection[str], report: Callable[[ContainerNews], None]
    ) -> None:
        self._annotations = annotations
        self._failures: dict[Path, str] = {}
        self._paths = tuple(sockets)
        self._recognised: dict[Path, Socket] = {}
        self._recognising: dict[Path, asyncio.Task[None]] = {}
        self._not_before: dict[Path, float] = {}
        self._report = report
        self._process = RuntimeProcess(self._paths)
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
        self._recognise_others()
        if self._recognising:
            await asyncio.wait(list(self._recognising.values()))
        for socket in list(self._recognised.values()):
            try:
                for in_pod in (True, False):
                    await self._runtime(socket).container(_NO_CONTAINER, in_pod=in_pod)
            except Exception as error:  # it will be asked again, and then the failure is reported
                _LOG.debug("%s doesn't answer: %s", socket.path, located(error))

    def _recognise_others(self) -> None:
        """Begins to ask the sockets that are there, and that aren't recognised yet, which runtime listens. What doesn't
        answer is asked again a moment later at the earliest."""
        now = self._loop.time()
        for path in self._paths:
            if path in self._recognised or path in self._recognising or now < self._not_before.get(path, 0):
                continue
            if is_there(path):
                self._recognising[path] = self._loop.create_task(self._recognise(path))

    async def _recognise(self, path: Path) -> None:
        try:
            self._recognised[path] = await self._process.recognise(path)
            self._failures.pop(path, None)
        except NoAnswer as error:
            self._failures[path] = str(error)
            self._not_before[path] = self._loop.time() + _RECOGNISE_AGAIN
        finally:
            del self._recognising[path]

    def _runtime(self, socket: Socket) -> Runtime:
        runtime = self._runtimes.get(socket.path)
        if runtime is None:
            runtime = self._runtimes[socket.path] = RemoteRuntime(self._process, socket.path)
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
            denied_before, since = False, time.time_ns()
            for tries, pause in enumerate((*_AGAIN, None), start=1):
                facts, denied = await self._look(container, since)
                last = pause is None or (container in self._gone and tries >= _TRIES_WHEN_GONE)
                if facts is not None:
                    self._report(ContainerNews(container, facts))
                    if facts.started:
                        return
                elif last or (tries == 1 and not self._may_be_known(container)):
                    self._report(ContainerNews(container, None, denied))
                elif denied and not denied_before:
                    denied_before = True
                    self._report(ContainerNews(container, None, denied=True, searching=True))
                if last or pause is None:
                    return
                await asyncio.sleep(pause)
        finally:
            self._searches.pop(container, None)
            self._gone.discard(container)

    def _may_be_known(self, container: ContainerId) -> bool:
        """Whether a runtime is there that may know the container, or a socket of which nothing is known yet."""
        return bool(self._present(container)) or any(
            path not in self._recognised and is_there(path) for path in self._paths
        )

    def _present(self, container: ContainerId) -> list[Socket]:
        known = [self._recognised[path] for path in self._paths if path in self._recognised]
        wanted = sockets_for(container.runtime, known, in_pod=container.pod_uid is not None)
        return [socket for socket in wanted if is_there(socket.path)]

    async def _look(self, container: ContainerId, since: int) -> tuple[Container | None, bool]:
        """The container if a runtime vouches for it, and whether one has answered that it doesn't. ``since`` is as for
        ``vouches``."""
        denied = False
        self._recognise_others()
        if self._recognising and not self._present(container):
            await asyncio.wait(list(self._recognising.values()), return_when=asyncio.FIRST_COMPLETED)
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
            if facts is not None and _fits(facts, container, since):
                return self._kept(facts), False
            denied = True
        return None, denied

    def _kept(self, facts: Container) -> Container:
        """The container with its labels and annotations cut to a bounded size."""
        pod = facts.pod
        if pod is not None:
            pod = replace(pod, labels=bounded(pod.labels), annotations=chosen(pod.annotations, self._annotations))
        return replace(facts, labels=bounded(facts.labels), pod=pod)


def _fits(facts: Container, container: ContainerId, since: int) -> bool:
    """Whether the runtime's container is the one that was searched for. A cgroup's name may have been chosen to look
    like that of another container or pod."""
    pods = container.pod_uid, facts.pod.uid if facts.pod is not None else None
    return facts.id == container.id and (None in pods or pods[0] == pods[1]) and vouches(facts, container, since)
