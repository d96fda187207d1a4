"""What every output is to the queue in front of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

Item_contra = TypeVar("Item_contra", contravariant=True)


class OutputClosed(Exception):
    """Whoever read this output has gone for good, and nobody will read it again."""


class Refused(Exception):
    """All items were delivered but ``count``, which this output will never take."""

    def __init__(self, count: int, message: str) -> None:
        super().__init__(message)
        self.count = count


class Output(Protocol[Item_contra]):
    """A destination of alerts (or of recorded events). One thread calls all methods."""

    @property
    def name(self) -> str:
        """How counters and logs call it: ``stdout``, ``file``."""

    def write(self, items: Sequence[Item_contra]) -> None:
        """Delivers all items or none; may block.

        Raises OSError if it can't now (the same items are offered again), OutputClosed if never again, Refused if
        only some were delivered and the others never will be.
        """

    def reopen(self) -> None:
        """Lets go of what may have been rotated away; the next write opens it anew."""

    def close(self) -> None: ...
