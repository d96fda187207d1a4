"""Following the agents' pods, and telling of agents that no longer answer."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial
from typing import Any

from tiercel_engine.located import located
from tiercel_operator.agents.metadata import AGENT_LABELS
from tiercel_operator.agents.node_event import node_event
from tiercel_operator.agents.presence import Presence, Sign, SignKind, agent_pod
from tiercel_operator.cluster.kube import API_ERRORS, Expired, Kube, error_text

LOGGER = logging.getLogger(__name__)

LOOK = 1.0
"""Seconds between two looks at what is to be told."""
_AGAIN_AFTER = 2.0
_PAUSE = 0.2
_MOST_UNTOLD = 20_000


class AgentWatch:
    """Follows the agents' pods in a thread of its own. All methods belong to one event loop.

    ``leads`` tells whether this operator is the one that writes, ``nodes`` which nodes there are.
    """

    def __init__(
        self, kube: Kube, namespace: str, leads: Callable[[], bool], nodes: Callable[[], Container[str]]
    ) -> None:
        self._kube = kube
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self._leads = leads
        self._nodes = nodes
        self._presence = Presence()
        self._pods: dict[str, Mapping[str, Any]] = {}
        self._untold: list[Sign] = []
        self._stopped = threading.Event()

    async def run(self) -> None:
        """Works until it is cancelled."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._follow, args=(loop,), name="agents", daemon=True).start()
        try:
            while True:
                await asyncio.sleep(LOOK)
                await self._tell()
        finally:
            self._stopped.set()

    async def _tell(self) -> None:
        """Posts what is to be told. What can't be posted now is tried again."""
        signs = self._presence.signs(self._nodes())
        self._untold = [*self._untold, *signs][-_MOST_UNTOLD:] if self._leads() else []
        while self._untold and self._leads():
            sign = self._untold[0]
            try:
                await asyncio.to_thread(self._kube.post_event, node_event(sign))
            except API_ERRORS as error:
                LOGGER.warning(
                    "an Event on the node %s can't be written, trying again: %s", sign.node, error_text(error)
                )
                return
            self._untold.pop(0)
            level = logging.INFO if sign.kind is SignKind.BACK else logging.WARNING
            LOGGER.log(level, "node %s: %s", sign.node, sign.message)

    def _listed(self, pods: Sequence[Mapping[str, Any]]) -> None:
        there = {pod["metadata"]["uid"] for pod in pods}
        for uid in self._pods.keys() - there:
            self._changed(self._pods[uid], exists=False)
        for pod in pods:
            self._changed(pod, exists=True)

    def _changed(self, body: Mapping[str, Any], *, exists: bool) -> None:
        try:
            pod = agent_pod(body)
        except Exception as error:  # one pod that nobody foresaw must not keep others from being known
            LOGGER.error("a pod of an agent can't be read: %s", located(error))
            return
        if pod is None:
            return
        if exists:
            self._pods[pod.uid] = body
        else:
            self._pods.pop(pod.uid, None)
        self._presence.take(pod, exists=exists)

    # in the thread

    def _follow(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._stopped.is_set():
            try:
                self._list_and_watch(loop)
            except RuntimeError:  # the event loop has ended
                return
            except Exception as error:
                LOGGER.warning("the agents' pods can't be followed, trying again: %s", located(error))
                self._stopped.wait(_AGAIN_AFTER)

    def _list_and_watch(self, loop: asyncio.AbstractEventLoop) -> None:
        labels = ",".join(f"{name}={value}" for name, value in AGENT_LABELS.items())
        pods, version = self._kube.list_path(self._path, labels)
        loop.call_soon_threadsafe(self._listed, pods)
        while not self._stopped.is_set():
            try:
                for kind, body in self._kube.watch_path(self._path, labels, version):
                    version = body["metadata"]["resourceVersion"]
                    if kind != "BOOKMARK":
                        loop.call_soon_threadsafe(partial(self._changed, body, exists=kind != "DELETED"))
            except Expired:
                return
            self._stopped.wait(_PAUSE)  # for servers that end watches at once
