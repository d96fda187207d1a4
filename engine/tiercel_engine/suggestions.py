"""Guesses at what a misspelt name means: they cost time, and hostile text could ask for many."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

from tiercel_engine import fields

MAX_GUESSES = 200
MAX_KNOWN = 1000
"""Names among which one is looked for."""

_LONGEST_NAME = 100


class Guesses:
    """Gives hints until so many have been asked for, then ``""``."""

    def __init__(self, left: int = MAX_GUESSES) -> None:
        self._left = left

    def field(self, name: str) -> str:
        """What to say of a field that does not exist, in a condition or, with a % before it, in an output."""
        sign = "%" if name.startswith("%") else ""
        names = fields.similar(name.removeprefix("%"), 1) if self._may_ask() else []
        return f"did you mean {sign}{names[0]}?" if names else "`tiercel fields` lists all fields"

    def similar(self, name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
        """A hint for a name that is not among ``known``, or ``""``."""
        if not self._may_ask():
            return ""
        candidates = list(islice((other for other in known if len(other) <= _LONGEST_NAME), MAX_KNOWN))
        names = get_close_matches(name[:_LONGEST_NAME], candidates, n=1, cutoff=cutoff)
        return f"did you mean {names[0]}?" if names else ""

    def _may_ask(self) -> bool:
        self._left -= 1
        return self._left >= 0
