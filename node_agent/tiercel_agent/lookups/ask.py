"""What parts of the agent see of look-ups: a function that they ask by."""

from __future__ import annotations

from functools import partial
from typing import Protocol, TypeVar

T = TypeVar("T")


class Ask(Protocol):
    """``Lookups.ask``, or in tests what stands for it."""

    def __call__(self, concerned: str, /, *look_ups: partial[T | None]) -> T | None: ...
