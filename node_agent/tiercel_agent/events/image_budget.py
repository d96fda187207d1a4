"""How many bytes the process table may take, and whose entries go first when they are too many.

Programs choose how many processes there are, and how much each of them has to remember. So whoever has most loses
first, of what it has: what is over before what still runs, and the oldest first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

from tiercel_agent.events.images import Image

OF_AN_ENTRY = 1024
"""Bytes of an entry without its image, in all tables together."""
_AT_ONCE = 32
"""Part of the limit that is made free at a time, so that finding who has most costs little for each entry."""

Key = Hashable
Owner = int | str
"""A control group by its id, or for processes that ran before the agent, by its name for people."""


@dataclass(slots=True)
class _Share:
    """The entries of an owner, the oldest first."""

    bytes: int = 0
    over: OrderedDict[Key, None] = field(default_factory=OrderedDict)
    running: OrderedDict[Key, None] = field(default_factory=OrderedDict)


@dataclass(slots=True)
class _Held:
    """An image, which counts once, for the owner of the entry that had it first."""

    owner: Owner
    image: Image
    entries: int = 0


class ImageBudget:
    """Which entries there are, for whom they count, and since when those are over that are. Times are in ns since
    boot."""

    def __init__(self, limit: int) -> None:
        self.bytes = 0
        self._limit = limit
        self._shares: dict[Owner, _Share] = {}
        self._images: dict[int, _Held] = {}
        self._owners: dict[Key, tuple[Owner, int]] = {}
        self._over: OrderedDict[Key, int] = OrderedDict()

    def add(self, key: Key, owner: Owner, image: Image) -> None:
        held = self._images.get(id(image))
        if held is None:
            held = self._images[id(image)] = _Held(owner, image)
            self._count(owner, image.size)
        held.entries += 1
        self._owners[key] = owner, id(image)
        self._count(owner, OF_AN_ENTRY)
        self._shares[owner].running[key] = None

    def owner(self, key: Key) -> Owner:
        return self._owners[key][0]

    def end(self, key: Key, time: int) -> None:
        """An entry is over: it is kept for records that are still to be read."""
        if key in self._over:
            return
        share = self._shares[self._owners[key][0]]
        del share.running[key]
        share.over[key] = None
        self._over[key] = time

    def remove(self, key: Key) -> None:
        owner, number = self._owners.pop(key)
        share = self._shares[owner]
        (share.running if self._over.pop(key, None) is None else share.over).pop(key)
        self._count(owner, -OF_AN_ENTRY)
        held = self._images[number]
        held.entries -= 1
        if not held.entries:
            del self._images[number]
            self._count(held.owner, -held.image.size)

    def over_since(self, time: int) -> Iterator[Key]:
        """The entries that were over by then, for whoever removes them one by one."""
        while self._over and next(iter(self._over.values())) < time:
            yield next(iter(self._over))

    def excess(self) -> Iterator[Key]:
        """The entries for which there is no room, for whoever removes them one by one."""
        if self.bytes <= self._limit:
            return
        enough = self._limit - self._limit // _AT_ONCE
        while self.bytes > enough:
            having = {owner: share.bytes for owner, share in self._shares.items() if share.over or share.running}
            if not having:
                return
            owner = max(having, key=having.__getitem__)
            second = max((size for other, size in having.items() if other != owner), default=0)
            share = self._shares[owner]
            while self.bytes > enough and share.bytes >= second and (share.over or share.running):
                yield next(iter(share.over or share.running))

    def _count(self, owner: Owner, size: int) -> None:
        share = self._shares.setdefault(owner, _Share())
        share.bytes += size
        self.bytes += size
        if not share.bytes:
            del self._shares[owner]
