"""What every output is to the queue in front of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

Item_contra = TypeVar("Item_contra", contravariant=True)


class OutputClosed(Exception):
    """Whoever read this output has gone for good, and nobody will read it again."""


class Output(Protocol[Item_contra]):
    """A destination of alerts (or of recorded events). One thread calls all methods."""

    @property
    def name(self) -> str:
        """How counters and logs call it: ``stdout``, ``file``."""

    def write(self, items: Sequence[Item_contra]) -> None:
        """Delivers all items or none; may block.

        Raises OSError if it can't now (the same items are offered again), OutputClosed if never again.
        """

    def reopen(self) -> None:
        """Lets go of what may have been rotated away; the next write opens it anew."""

    def close(self) -> None: ...
