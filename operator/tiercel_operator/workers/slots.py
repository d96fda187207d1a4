"""A share of something for everybody: of several who ask for it, each has one turn after the other."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class FairSlots:
    """``count`` slots. Nobody has more than one at once, and those who wait get one in turns, whatever number of
    requests each of them makes. All methods belong to one event loop."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._busy: set[str] = set()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        """Who waits, in the order of their turns."""

    @asynccontextmanager
    async def of(self, key: str) -> AsyncIterator[None]:
        """A slot for somebody, once it is their turn."""
        await self._take(key)
        try:
            yield
        finally:
            self._give_back(key)

    async def _take(self, key: str) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append(turn)
        self._hand_out()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was handed out in this very moment
                self._give_back(key)
            raise

    def _give_back(self, key: str) -> None:
        self._free += 1
        self._busy.discard(key)
        if key in self._waiting:
            self._waiting[key] = self._waiting.pop(key)  # behind all others
        self._hand_out()

    def _hand_out(self) -> None:
        for key in list(self._waiting):
            if not self._free:
                return
            if key in self._busy:
                continue
            turns = self._waiting.pop(key)
            while turns and turns[0].done():  # whoever asked has gone
                turns.popleft()
            if not turns:
                continue
            self._free -= 1
            self._busy.add(key)
            turns.popleft().set_result(None)
            if turns:
                self._waiting[key] = turns
