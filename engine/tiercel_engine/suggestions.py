"""Suggestions for misspelt names ("did you mean …?").

To compare names takes time, and hostile input could contain many misspelt ones, so their number is limited.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

from tiercel_engine import fields

MAX_SUGGESTIONS = 200
MAX_KNOWN = 1000
"""How many known names a misspelt one is compared with at most."""

_LONGEST_NAME = 100


class Suggester:
    """Gives hints, until ``left`` of them have been asked for. After that every hint is a general one or ``""``."""

    def __init__(self, left: int = MAX_SUGGESTIONS) -> None:
        self._left = left

    def field(self, name: str) -> str:
        """A hint for a field that does not exist. If the name begins with ``%``, the suggested one does too."""
        sign = "%" if name.startswith("%") else ""
        names = fields.similar(name.removeprefix("%"), 1) if self._take_one() else []
        return f"did you mean {sign}{names[0]}?" if names else "`tiercel fields` lists all fields"

    def similar(self, name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
        """A hint that names the one of ``known`` that is most like ``name``, or ``""``.

        ``cutoff`` (0 to 1) is how alike the two have to be at least.
        """
        if not self._take_one():
            return ""
        candidates = list(islice((other for other in known if len(other) <= _LONGEST_NAME), MAX_KNOWN))
        names = get_close_matches(name[:_LONGEST_NAME], candidates, n=1, cutoff=cutoff)
        return f"did you mean {names[0]}?" if names else ""

    def _take_one(self) -> bool:
        self._left -= 1
        return self._left >= 0
