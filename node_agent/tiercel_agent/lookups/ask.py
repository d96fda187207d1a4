"""What parts of the agent see of look-ups: a function that they ask by."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Ask(Protocol):
    """``Lookups.ask``, or in tests what stands for it."""

    def __call__(
        self, concerned: Hashable, function: Callable[P, T | None], /, *arguments: P.args, **named: P.kwargs
    ) -> T | None: ...
