"""Searches for containers at runtimes that a test serves."""

from __future__ import annotations

import queue
from collections.abc import Callable
from pathlib import Path

from agent_support.cri_server import ID, UID, cgroup
from tiercel_agent.context.container import ContainerId
from tiercel_agent.workloads.model import Container
from tiercel_agent.workloads.news import ContainerNews
from tiercel_agent.workloads.runtimes.finder import ContainerFinder

IN_POD = ContainerId(ID, "cri-o", UID, cgroup=cgroup())
Look = Callable[..., Container | None]


class Finding:
    """A finder, with what it reports."""

    def __init__(self, *paths: Path, annotations: tuple[str, ...] = ()) -> None:
        self.news: queue.SimpleQueue[ContainerNews] = queue.SimpleQueue()
        self.finder = ContainerFinder(paths, annotations, self.news.put)

    def look(self, container: ContainerId = IN_POD) -> Container | None:
        self.finder.find(container)
        return self.next()

    def next(self) -> Container | None:
        return self.news.get(timeout=60).container

    def found(self) -> Container:
        """What is found at last."""
        while (facts := self.next()) is None:
            pass
        return facts
