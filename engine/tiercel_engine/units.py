"""Durations, booleans, byte sizes and times as text: the one place that reads and writes them.

Constants in conditions are not read here: the rule language has its own forms (``language/constants.py``).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal

KIBIBYTE = 1 << 10
MEBIBYTE = 1 << 20
"""Bytes."""

SECOND = 1_000_000_000
"""Nanoseconds."""

_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3600 * SECOND,
    "d": 86400 * SECOND,
}
_PART = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ns|us|ms|s|m|h|d)")
_DURATION = re.compile(f"(?:{_PART.pattern})+")
_LONGEST_SHOWN = 40

_BOOLEANS = {
    spelling: value
    for value, words in ((True, ("true", "yes", "on", "y")), (False, ("false", "no", "off", "n")))
    for word in words
    for spelling in (word, word.capitalize(), word.upper())
}


def parse_nanoseconds(text: str) -> int:
    """The nanoseconds of a duration such as ``500ms``, ``1.5m`` or ``1h30m``; fractions of one are dropped.

    Units are ns, us, ms, s, m, h and d. Raises ValueError for a text that is not a duration.
    """
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text[:_LONGEST_SHOWN]!r} is not a duration (write one such as 500ms, 90s, 10m or 1h30m)")
    return int(sum(Decimal(number) * _NANOSECONDS[unit] for number, unit in _PART.findall(text)))


def parse_duration(text: str) -> float:
    """The seconds of a duration such as ``500ms``, ``1.5m`` or ``1h30m``.

    Units are ns, us, ms, s, m, h and d. Raises ValueError for a text that is not a duration.
    """
    return parse_nanoseconds(text) / SECOND


def parse_boolean(text: str) -> bool:
    """What ``true``, ``yes``, ``on``, ``y`` and their opposites mean, in the three spellings of YAML 1.1 (``true``,
    ``True``, ``TRUE``). Raises ValueError for any other text."""
    try:
        return _BOOLEANS[text]
    except KeyError:
        raise ValueError(f"{text[:_LONGEST_SHOWN]!r} is neither true nor false (write true or false)") from None


def rfc3339(time: int, digits: int = 9) -> str:
    """The time as RFC 3339 writes it, in UTC: ``2026-11-23T11:00:00.123456789Z``.

    ``time`` is in nanoseconds since the epoch; ``digits`` (1 to 9) of the fraction are written, the others dropped.
    A time beyond the year 9999 is written as the number itself.
    """
    seconds, nanoseconds = divmod(time, SECOND)
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{f'{nanoseconds:09d}'[:digits]}Z"
    except (ValueError, OverflowError, OSError):
        return str(time)
