"""Durations and times as text, as Kubernetes writes them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_PART = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(text: str) -> float:
    """What ``1h30m`` is. Raises ValueError for what isn't such a text."""
    if not re.fullmatch(r"(?:[0-9]{1,9}(?:ms|s|m|h|d))+", text):
        raise ValueError(f"{text[:40]!r} is no duration (write such as 90s, 10m or 1h30m)")
    return sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def rfc3339(time: int) -> str:
    """Nanoseconds since the epoch as ``2026-11-23T11:00:00.123456789Z``; beyond year 9999 the number itself."""
    seconds, nanoseconds = divmod(time, 1_000_000_000)
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"
    except (ValueError, OverflowError, OSError):
        return str(time)
