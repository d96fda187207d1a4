"""Removing the NodeAgents of nodes that are gone."""

from __future__ import annotations

import logging
import time

from tiercel_engine.api_group import API_VERSION
from tiercel_operator.cluster.state import State
from tiercel_operator.reconciliation.writer import ObjectWriter

LOGGER = logging.getLogger(__name__)

REMOVED_AFTER = 600.0
"""Seconds for which a node has to be away: a node that comes back soon keeps its NodeAgent."""


class GoneNodes:
    """Remembers since when nodes are gone."""

    def __init__(self, writer: ObjectWriter, state: State) -> None:
        self._writer = writer
        self._state = state
        self._gone_since: dict[str, float] = {}

    async def remove_agents(self) -> None:
        """To be called once all nodes are known. May raise one of ``kube.API_ERRORS``."""
        now = time.monotonic()
        self._gone_since = {name: since for name, since in self._gone_since.items() if name in self._state.agents}
        for name in list(self._state.agents):
            if name in self._state.nodes:
                self._gone_since.pop(name, None)
            elif now - self._gone_since.setdefault(name, now) > REMOVED_AFTER:
                await self._writer.delete(API_VERSION, "NodeAgent", name)
                LOGGER.info("removed the NodeAgent of the node %s, which is gone", name)
