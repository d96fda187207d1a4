"""Many names as one value of an alert's field."""

from __future__ import annotations

from collections.abc import Iterable

MOST_NAMES = 10
"""Names that such a value shows."""


def joined(names: Iterable[str], most: int = MOST_NAMES) -> str:
    """The names once each: ``a, b and 3 more``. Empty names are left out."""
    known = [name for name in dict.fromkeys(names) if name]
    rest = len(known) - most
    return ", ".join(known[:most]) + (f" and {rest} more" if rest > 0 else "")
