"""Durations as Kubernetes writes them."""

from __future__ import annotations

import re

_PART = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(text: str) -> float:
    """What ``1h30m`` is. Raises ValueError for what isn't such a text."""
    if not re.fullmatch(r"(?:[0-9]{1,9}(?:ms|s|m|h|d))+", text):
        raise ValueError(f"{text[:40]!r} is no duration (write such as 90s, 10m or 1h30m)")
    return sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text))
