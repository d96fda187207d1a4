"""A sink that keeps what it gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tiercel_agent.sinks.model import ItemSink


class Collected:
    """``items`` are all that ``sink`` was given, in order."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.reopened = 0
        self.sink: ItemSink[Any] = ItemSink(send=self._take, batch=256, reopen=self._reopen)

    def _take(self, items: Sequence[Any]) -> None:
        self.items += items

    def _reopen(self) -> None:
        self.reopened += 1
