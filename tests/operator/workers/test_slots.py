"""Turns at a few slots."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tiercel_operator.workers.slots import FairSlots


def served(count: int, asked: Sequence[str]) -> list[str]:
    """In which order those who ask have their turns. Each keeps its slot until all have asked."""

    async def run() -> list[str]:
        slots, order, everyone = FairSlots(count), [], asyncio.Event()

        async def work(key: str) -> None:
            async with slots.of(key):
                order.append(key)
                await everyone.wait()

        tasks = [asyncio.create_task(work(key)) for key in asked]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        begun = len(order)
        everyone.set()
        await asyncio.gather(*tasks)
        return [*order[:begun], "|", *order[begun:]]

    return asyncio.run(run())


def test_who_asks_often_waits_for_who_asks_once() -> None:
    assert served(1, ["a", "a", "a", "a", "b", "c"]) == ["a", "|", "b", "c", "a", "a", "a"]


def test_nobody_has_two_slots_at_once() -> None:
    assert served(3, ["a", "a", "a", "b"])[:3] == ["a", "b", "|"]


def test_who_has_gone_away_keeps_nobody_waiting() -> None:
    async def run() -> list[str]:
        slots, order = FairSlots(1), []

        async def work(key: str) -> None:
            async with slots.of(key):
                order.append(key)
                await asyncio.sleep(0)

        tasks = [asyncio.create_task(work(key)) for key in ("a", "b", "b", "c")]
        await asyncio.sleep(0)
        for each in tasks[1:3]:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with slots.of("b"):
            order.append("again")
        return order

    assert asyncio.run(run()) == ["a", "c", "again"]
