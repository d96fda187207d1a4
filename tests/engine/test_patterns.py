"""Globs against the system's fnmatch(3), and patterns that try to be slow or to break out."""

from __future__ import annotations

import ctypes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tiercel_engine.patterns import compile_glob, compile_path_prefixes, compile_regex
from tiercel_engine.regexes import PatternError

LIBC = ctypes.CDLL(None)


def fnmatch(pattern: str, text: str, flags: int = 0) -> bool:
    return LIBC.fnmatch(pattern.encode(), text.encode(), flags) == 0


@given(st.text("ab*?[]!^-\\.:/", max_size=8), st.text("ab[]!^-\\./\n", max_size=8))
@example("[]a]", "]")
@example("[!]a]", "b")
@example("[a-]", "-")
@example("[[:alpha:]-z]", "-")
@example("[b-a]", "b")
@example("*[", "a[")
@example("[\\]]", "]")
@example("a\\", "a\\")
def test_globs_are_those_of_fnmatch(pattern: str, text: str) -> None:
    # A backslash at the very end, an empty range, half a class and half a collating symbol are left to the C library.
    if (
        pattern.endswith("\\")
        or "[:" in pattern
        or "[." in pattern
        or "-" in pattern.replace("[!-", "").replace("[-", "")
    ):
        return
    assert compile_glob(pattern)(text) == fnmatch(pattern, text), (pattern, text)


@given(st.text("aB*?", max_size=6), st.text("AbaB", max_size=6))
def test_globs_that_ignore_case(pattern: str, text: str) -> None:
    assert compile_glob(pattern, ignore_case=True)(text) == fnmatch(pattern, text, 16)


def test_classes_and_ranges() -> None:
    assert compile_glob("[[:digit:]x]")("5")
    assert compile_glob("[[:digit:]x]")("x")
    assert not compile_glob("[[:digit:]x]")("d")
    assert compile_glob("[a-c0-9]")("b")
    assert not compile_glob("[z-a]")("b")
    assert compile_glob("[!z-a]")("b")


def test_a_glob_of_many_stars_takes_linear_time() -> None:
    assert not compile_glob("*a" * 200 + "b")("a" * 50_000)


def test_nested_repetition_takes_linear_time() -> None:
    assert not compile_regex("(a+)+$b")("a" * 100_000)


@pytest.mark.parametrize("pattern", ["(", "a**", "[z-a]", r"(?=x)", r"\1", "a{1001}{1001}"])
def test_a_regex_that_is_none_is_refused_with_a_reason(pattern: str) -> None:
    with pytest.raises(PatternError) as error:
        compile_regex(pattern)
    assert str(error.value)


def covered(path: str, prefixes: list[str]) -> bool:
    """Path prefixes, the obvious way."""
    parts = [part for part in path.split("/") if part]
    for prefix in prefixes:
        wanted = [part for part in prefix.split("/") if part]
        if len(wanted) <= len(parts) and all(map(fnmatch, wanted, parts)):
            return True
    return False


@given(st.lists(st.text("ab/*", max_size=6), max_size=5), st.text("ab/", max_size=8))
def test_path_prefixes(prefixes: list[str], path: str) -> None:
    assert compile_path_prefixes(prefixes)(path) == covered(path, prefixes)


def test_ten_thousand_prefixes() -> None:
    covers = compile_path_prefixes(f"/srv/{number}/data" for number in range(10_000))
    assert covers("/srv/9999/data/x")
    assert not covers("/srv/9999/date")
