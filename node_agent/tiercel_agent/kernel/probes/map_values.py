"""How large one value of a map may be. Linux 5.10 takes no more than its largest allocation, 4 MiB; 6.1 does."""

from __future__ import annotations

from tiercel_agent.kernel.loading.loader import takes_value

WANTED = 8 << 20
"""Bytes: no table of ours needs more."""
_AT_LEAST = 4 << 20


def largest_value() -> int:
    """The most bytes of a value, as far as that matters."""
    return WANTED if takes_value(WANTED) else _AT_LEAST
