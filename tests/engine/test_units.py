"""Durations, booleans and times as text."""

from __future__ import annotations

import pytest

from tiercel_engine.units import parse_boolean, parse_duration, parse_nanoseconds, rfc3339


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("90s", 90.0), ("1.5m", 90.0), ("1h30m", 5400.0), ("2d", 172800.0), ("0s", 0.0), ("1us", 1e-6)],
)
def test_a_duration_is_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


def test_nanoseconds_are_exact() -> None:
    assert parse_nanoseconds("999999999d1ns") == 999_999_999 * 86_400 * 10**9 + 1
    assert parse_nanoseconds("0.1s") == 100_000_000
    assert parse_nanoseconds("1.9ns") == 1


@pytest.mark.parametrize(
    "text", ["", "soon", "10", "-1s", "1 s", "1s\n", "1e3s", ".5s", "5.s", "1H", "٣s", "1" * 10 + "s"]
)
def test_other_texts_are_not_durations(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a duration \(write one such as 500ms, 90s, 10m or 1h30m\)"):
        parse_duration(text)


def test_an_error_shows_the_beginning_of_a_long_text() -> None:
    with pytest.raises(ValueError, match=f"^'{'x' * 40}' is not a duration"):
        parse_duration("x" * 1000)


@pytest.mark.parametrize("text", ["true", "yes", "on", "y", "True", "YES", "On"])
def test_what_is_true(text: str) -> None:
    assert parse_boolean(text) is True
    assert parse_boolean({"true": "false", "yes": "no", "on": "off", "y": "n"}[text.lower()].upper()) is False


@pytest.mark.parametrize("text", ["", "tRUE", "1", "0", " true", "maybe"])
def test_what_is_no_boolean(text: str) -> None:
    with pytest.raises(ValueError, match=r"is neither true nor false \(write true or false\)"):
        parse_boolean(text)


def test_times() -> None:
    assert rfc3339(1_764_500_000_123_456_789) == "2025-11-30T10:53:20.123456789Z"
    assert rfc3339(1_764_500_000_123_456_789, digits=6) == "2025-11-30T10:53:20.123456Z"
    assert rfc3339(-1) == "1969-12-31T23:59:59.999999999Z"
    assert rfc3339(10**21) == str(10**21)
