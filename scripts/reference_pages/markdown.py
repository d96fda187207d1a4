"""Markdown that pages are put together from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

GENERATED = "<!-- Generated from the code by `make reference`. Do not edit. -->"

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|])")
_QUOTED = re.compile(r"(`[^`]*`)")


def code(text: str) -> str:
    """The text as code in a line of prose or a cell; nothing for an empty text."""
    return f"`{text}`".replace("|", r"\|") if text else ""


def prose(text: str) -> str:
    """Plain text with nothing in it that Markdown would take for markup; what is between backquotes is code."""
    parts = _QUOTED.split(" ".join(text.split()))
    return "".join(code(part[1:-1]) if part.startswith("`") else _SPECIAL.sub(r"\\\1", part) for part in parts)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
