"""What became of the items that one worker was given, since the agent's start."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed; ``at`` is seconds since the epoch."""

    at: float
    message: str


@dataclass(frozen=True, slots=True)
class TestResult:
    """What became of a test alert: ``took`` is seconds until the destination had it, None as long as it hasn't."""

    __test__ = False

    id: str
    sent: float
    took: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Totals:
    """Of one sink. Times are seconds since the epoch."""

    delivered: int = 0
    retried: int = 0
    """Attempts that failed and were, or will be, made again."""
    lost: int = 0
    queued: int = 0
    failing: bool = False
    last_success: float | None = None
    last_failure: Failure | None = None
    test: TestResult | None = None
    trouble: str = ""
    """Why what waits is in memory although it should be on the disk."""
