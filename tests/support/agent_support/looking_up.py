"""Look-ups in tests of what is looked up: made at once, by the test's own process."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from tiercel_agent.lookups.ask import P, T


def at_once(
    _concerned: Hashable, function: Callable[P, T | None], /, *arguments: P.args, **named: P.kwargs
) -> T | None:
    """An ``Ask``."""
    return function(*arguments, **named)
